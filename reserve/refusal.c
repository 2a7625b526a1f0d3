/* SPDX-License-Identifier: MIT */
/* The ring of refusals: many writers in many processes, each of which may be killed half
 * way, and readers who cannot make any of them wait.
 *
 * A number gives a writer its place; the sequence word says what stands there. That would
 * do for readers if a place had one writer at a time. It may have two: one that slept for a
 * whole round of the ring goes on writing where another has written since. So a record also
 * carries a sum of itself and of its number, in `reserved0`, and a mixture of two does not
 * add up. A place that a dead writer left unfinished is simply written over. */
#include "reserve/refusal.h"

#include <string.h>

#define RECORD_WORDS (sizeof(struct refusal) / sizeof(uint64_t))

#define SEQ_BUSY(number) (2 * (number) + 1)
#define SEQ_WHOLE(number) (2 * (number) + 2)

/* A record as the words that travel: a struct may not be copied while others write it. */
union record {
	struct refusal refusal;
	uint64_t word[RECORD_WORDS];
};

_Static_assert(offsetof(struct refusal, seq) == 0, "the first word is the sequence");

/* Any sum that sees which word is where; this one is FNV-1a by words, folded. */
static uint32_t record_sum(const union record *r, uint64_t number)
{
	uint64_t sum = 0xcbf29ce484222325ull ^ number;
	for (size_t i = 1; i < RECORD_WORDS; i++) {
		sum ^= r->word[i];
		sum *= 0x100000001b3ull;
		sum ^= sum >> 29;
	}
	return (uint32_t)(sum ^ sum >> 32);
}

void refusal_count(struct ledger *l, uint32_t slot, uint64_t pages, bool observed)
{
	/* Relaxed: figures, nobody decides by them. */
	if (observed) {
		__atomic_fetch_add(&l->header.observed_count, 1, __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&l->header.refusal_count, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&l->header.refused_pages, pages, __ATOMIC_RELAXED);
	__atomic_fetch_add(&l->slot[slot].refusals, 1, __ATOMIC_RELAXED);
}

/* Marks the place as being written, unless somebody newer has it. */
static bool place_take(struct refusal *place, uint64_t number)
{
	uint64_t seen = __atomic_load_n(&place->seq, __ATOMIC_RELAXED);
	do {
		/* By distance, so that a scribbled word loses its place to the next round. */
		if (seen >= SEQ_BUSY(number) && seen - SEQ_BUSY(number) < (uint64_t)1 << 32)
			return false;
	} while (!__atomic_compare_exchange_n(&place->seq, &seen, SEQ_BUSY(number), false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return true;
}

void refusal_push(struct ledger *l, const struct refusal *r)
{
	/* Release: pairs with a reader's acquire of the head; nothing is promised by it. */
	uint64_t number = __atomic_fetch_add(&l->header.refusal_head, 1, __ATOMIC_RELEASE);
	union record *place = (union record *)&l->refusal[number % LEDGER_REFUSALS];
	union record mine = { .refusal = *r };
	mine.refusal.reserved0 = 0;
	mine.refusal.reserved0 = record_sum(&mine, number);
	if (!place_take(&place->refusal, number))
		return;
	/* Release, each: pairs with the acquire of each word in refusal_read. Whoever sees
	 * one of them then sees the odd sequence too, or a newer one. */
	for (size_t i = 1; i < RECORD_WORDS; i++)
		__atomic_store_n(&place->word[i], mine.word[i], __ATOMIC_RELEASE);
	uint64_t busy = SEQ_BUSY(number);
	__atomic_compare_exchange_n(&place->word[0], &busy, SEQ_WHOLE(number), false, __ATOMIC_RELEASE,
				    __ATOMIC_RELAXED);
}

bool refusal_read(const struct ledger *l, uint64_t number, struct refusal *ret)
{
	const union record *place = (const union record *)&l->refusal[number % LEDGER_REFUSALS];
	union record copy;
	copy.word[0] = __atomic_load_n(&place->word[0], __ATOMIC_ACQUIRE);
	if (copy.word[0] != SEQ_WHOLE(number))
		return false;
	for (size_t i = 1; i < RECORD_WORDS; i++)
		copy.word[i] = __atomic_load_n(&place->word[i], __ATOMIC_ACQUIRE);
	if (__atomic_load_n(&place->word[0], __ATOMIC_RELAXED) != copy.word[0])
		return false;
	uint32_t sum = copy.refusal.reserved0;
	copy.refusal.reserved0 = 0;
	if (record_sum(&copy, number) != sum)
		return false;
	*ret = copy.refusal;
	return true;
}
