/* SPDX-License-Identifier: MIT */
/* Numbers for one step. They depend on the seed and on the number of the step and on nothing
 * else, so that any part of a sequence can be played again without the rest. */
#pragma once

#include "include/base.h"

struct dice {
	uint64_t seed;
	uint64_t step;
	uint64_t rolls; /* so far */
};

/* splitmix64 (Steele, Lea, Flood, OOPSLA 2014): one round. */
static inline uint64_t dice_mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
	x = (x ^ x >> 27) * 0x94d049bb133111eb;
	return x ^ x >> 31;
}

/* 0 .. below - 1; 0 when `below` is 0. */
static inline uint64_t roll(struct dice *d, uint64_t below)
{
	uint64_t number = dice_mix(dice_mix(d->seed ^ dice_mix(d->step)) + d->rolls++);
	return below ? number % below : 0;
}

static inline bool chance(struct dice *d, unsigned percent)
{
	return roll(d, 100) < percent;
}

#define PICK(dice, list) ((list)[roll(dice, ARRAY_N(list))])
