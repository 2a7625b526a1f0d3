/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* xorshift64 (Marsaglia, Journal of Statistical Software 8, 2003). The seed is not 0. */
static inline uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}
