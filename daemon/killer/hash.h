/* SPDX-License-Identifier: MIT */
/* A number for a text, or for some numbers: FNV-1a, 64 bits. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define HASH_BEGIN 0xcbf29ce484222325ull

/* Goes on from `h`. */
static inline uint64_t hash(uint64_t h, const void *bytes, size_t n)
{
	for (const unsigned char *at = bytes; n-- > 0; at++)
		h = (h ^ *at) * 0x100000001b3ull;
	return h;
}
