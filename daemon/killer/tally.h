/* SPDX-License-Identifier: MIT */
/* Sums by key, in a table that is never full, and no larger than it must be: it is touched all
 * over, and what is touched is locked. */
#pragma once

#include "daemon/killer/candidate.h"

#define TALLY_PLACES (4 * ROLL) /* a power of two */

struct tally {
	uint32_t round; /* entries of another round are empty: clearing costs nothing */
	uint32_t places;
	struct sum {
		uint64_t key;
		uint32_t round;
		uint32_t pages, cpu_s, count;
		uint32_t head; /* the candidate that stands for them */
	} sum[TALLY_PLACES];
};

/* Empties it, for at most twice `n` keys. */
void tally_begin(struct tally *t, uint32_t n);

/* The sum with that key; a new one is all zero but for its head. */
struct sum *tally_at(struct tally *t, uint64_t key, uint32_t head);

/* Or NULL. */
const struct sum *tally_find(const struct tally *t, uint64_t key);
