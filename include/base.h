/* SPDX-License-Identifier: MIT */
/* Units and the few macros every room uses. Pages are the unit of every stored
 * number; bytes appear only at the edges (command line, configuration, libc doors). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The reference machine has 4 KiB pages; a ledger says so in its header and a
 * process with other pages refuses to join it. */
#define PAGE_SHIFT 12
#define PAGE_BYTES ((size_t)1 << PAGE_SHIFT)

/* The largest quantity a purse can hold: 2^32 - 1 pages, one page short of 16 TiB.
 * As a limit it means "infinity". */
#define PAGES_MAX UINT32_MAX

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ARRAY_N(a) (sizeof(a) / sizeof((a)[0]))

/* Bytes to pages, rounded up once, here. Most of it does not fit in a purse: always compare in 64
 * bits. The last page before 2^64 counts too, so this is 2^52 at most, of which bytes_of is 0. */
static inline uint64_t pages_of(uint64_t bytes)
{
	return (bytes >> PAGE_SHIFT) + ((bytes & (PAGE_BYTES - 1)) != 0);
}

static inline uint64_t bytes_of(uint64_t pages)
{
	return pages << PAGE_SHIFT;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}
