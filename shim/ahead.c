/* SPDX-License-Identifier: MIT */
/* Committing ahead. jemalloc commits each small extent by itself, 4 or 8 KiB at a time and mostly
 * one behind the other: a call into the kernel each, 70 of them in the life of a PostgreSQL
 * connection. So it is given 64 KiB, or where the process has more a thirty-second of that, of
 * which it keeps what it asked for; the rest goes the way of pages that were freed (its dirty
 * extents), serves the next ones without a call, and is charged and purged like all of them. Near
 * the limit it gets just what it asked for. */
#include <stdbool.h>
#include <stddef.h>

#include "include/base.h"
#include "shim/charge.h"
#include "shim/heap.h"

#define AHEAD_LEAST_BYTES ((size_t)64 << 10)
#define AHEAD_MOST_BYTES ((size_t)256 << 10)
#define AHEAD_PARTS 32

/* What a struct pac_s begins with: 5.3.0, include/jemalloc/internal/pai.h. */
struct pai {
	void *alloc, *alloc_batch, *expand;
	/* Cuts the end of an extent off, to be a dirty one. True: it could not. */
	bool (*shrink)(void *tsdn, struct pai *pai, void *extent, size_t old_bytes, size_t new_bytes, bool *ret_work);
	void (*dalloc)(void *tsdn, struct pai *pai, void *extent, bool *ret_work);
};

/* An extent from addresses that are reserved and not committed (src/extent.c), right behind
 * `beside` if that is not NULL. */
extern void *__real_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside,
					 size_t bytes, size_t alignment, bool zero, bool guarded)
	__attribute__((weak));
void *__wrap_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside, size_t bytes,
				  size_t alignment, bool zero, bool guarded);

static size_t ahead_bytes(void)
{
	uint64_t part = bytes_of(charge_mine() / AHEAD_PARTS);
	return min_u64(max_u64(part, AHEAD_LEAST_BYTES), AHEAD_MOST_BYTES);
}

/* NULL: there is not as much, or not as jemalloc wanted it. */
static void *alloc_ahead(void *tsdn, struct pai *pai, void *hooks, void *cache, size_t ahead, size_t bytes,
			 bool zero)
{
	bool work = false;
	void *extent = __real_je_ecache_alloc_grow(tsdn, pai, hooks, cache, NULL, ahead, PAGE_BYTES, zero, false);
	if (!extent)
		heap_forgive();
	else if (pai->shrink(tsdn, pai, extent, ahead, bytes, &work)) {
		pai->dalloc(tsdn, pai, extent, &work);
		extent = NULL;
	}
	return extent;
}

void *__wrap_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside, size_t bytes,
				  size_t alignment, bool zero, bool guarded)
{
	void *extent = NULL;
	size_t ahead = ahead_bytes();
	if (!beside && !guarded && bytes <= ahead / 2 && alignment <= PAGE_BYTES)
		extent = alloc_ahead(tsdn, pai, hooks, cache, ahead, bytes, zero);
	return extent ? extent :
			__real_je_ecache_alloc_grow(tsdn, pai, hooks, cache, beside, bytes, alignment, zero, guarded);
}
