/* SPDX-License-Identifier: MIT */
#include "daemon/killer/tally.h"

#include <string.h>

void tally_begin(struct tally *t, uint32_t n)
{
	t->places = 64;
	while (t->places < 4 * n && t->places < TALLY_PLACES)
		t->places *= 2;
	if (++t->round == 0) {
		memset(t->sum, 0, sizeof t->sum);
		t->round = 1;
	}
}

/* Open addressing, linear. Fibonacci hashing: the keys are hashes or small numbers. */
static uint32_t place_of(const struct tally *t, uint64_t key)
{
	uint32_t i = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 32) & (t->places - 1);
	while (t->sum[i].round == t->round && t->sum[i].key != key)
		i = (i + 1) & (t->places - 1);
	return i;
}

struct sum *tally_at(struct tally *t, uint64_t key, uint32_t head)
{
	struct sum *s = &t->sum[place_of(t, key)];
	if (s->round != t->round)
		*s = (struct sum){ .key = key, .round = t->round, .head = head };
	return s;
}

const struct sum *tally_find(const struct tally *t, uint64_t key)
{
	const struct sum *s = &t->sum[place_of(t, key)];
	return s->round == t->round ? s : NULL;
}
