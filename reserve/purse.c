/* SPDX-License-Identifier: MIT */
/* Why two widths. A charge moves only `used`, belongs to one process and needs no
 * witness: if the process dies its whole purse is settled at once. A transfer moves
 * pages between two purses and can be cut in two by SIGKILL; then somebody must be
 * able to say whether its first half happened. The signature beside the word answers:
 * it changes in the same 128-bit compare-and-swap as the word, and nobody overwrites
 * it before having confirmed it in the signer's slot. (The idea is that of detectable
 * operations: Friedman, Herlihy, Marathe, Petrank, "A persistent lock-free queue for
 * non-volatile memory", PPoPP 2018; Attiya, Ben-Baruch, Hendler, PODC 2018.)
 *
 * Mixed widths: a locked 8-byte and a locked 16-byte instruction on the same line are
 * ordered like any two locked instructions (Intel SDM vol. 3, 9.2.3), so a charge that
 * slips in between makes the transfer's compare fail and try again. */
#include "reserve/purse.h"

#include "reserve/crash.h"

#if !defined(__GCC_HAVE_SYNC_COMPARE_AND_SWAP_16)
#error "reserve/purse.c needs a 16-byte compare-and-swap: on x86-64 compile with -mcx16"
#endif

bool purse_take(struct purse *p, uint32_t pages)
{
	/* Relaxed: the value is only a guess for the exchange, which checks it. */
	uint64_t word = __atomic_load_n(&p->word, __ATOMIC_RELAXED);
	do {
		if (pages > purse_headroom(word))
			return false;
		/* Acquire on success: pairs with the release in purse_give, so pages given
		 * back were out of use before they are promised again. */
	} while (!__atomic_compare_exchange_n(&p->word, &word, word + pages, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	CRASH_POINT(PURSE_TAKEN);
	return true;
}

void purse_give(struct purse *p, uint32_t pages)
{
	uint64_t word = __atomic_load_n(&p->word, __ATOMIC_RELAXED), next;
	do {
		uint32_t used = PURSE_USED(word);
		next = PURSE(PURSE_GRANTED(word), pages < used ? used - pages : 0);
		/* Release: pairs with the acquire in purse_take. */
	} while (!__atomic_compare_exchange_n(&p->word, &word, next, true,
					      __ATOMIC_ACQ_REL, __ATOMIC_RELAXED));
	CRASH_POINT(PURSE_GIVEN);
}

/* Nobody lowers `confirmed`, so the order of two helpers does not matter. */
void signature_confirm(uint64_t by, struct ledger *ledger)
{
	if (SIGNATURE_SLOT(by) >= LEDGER_SLOTS)
		return;
	uint64_t *confirmed = &ledger->slot[SIGNATURE_SLOT(by)].confirmed;
	uint64_t step = SIGNATURE_STEP(by), seen = __atomic_load_n(confirmed, __ATOMIC_RELAXED);
	while (seen < step &&
	       !__atomic_compare_exchange_n(confirmed, &seen, step, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

static uint32_t patience = UINT32_MAX; /* endless */
static const struct ledger *given_up;

void purse_patience(uint32_t tries)
{
	patience = tries;
}

bool purse_is_tried_again(uint32_t tries, const struct ledger *ledger)
{
	if (tries == 0 || likely(patience == UINT32_MAX))
		return true;
	if (tries < patience && given_up != ledger)
		return true;
	purse_give_up(ledger);
	return false;
}

void purse_give_up(const struct ledger *ledger)
{
	if (patience != UINT32_MAX)
		given_up = ledger;
}

bool purse_gave_up(const struct ledger *ledger)
{
	bool gave_up = given_up == ledger;
	if (gave_up)
		given_up = NULL;
	return gave_up;
}

static unsigned __int128 pair(uint64_t word, uint64_t by)
{
	return (unsigned __int128)by << 64 | word;
}

bool purse_swap(struct purse *p, uint64_t expected, uint64_t expected_by, uint64_t word, uint64_t by,
		struct ledger *ledger)
{
	signature_confirm(expected_by, ledger);
	CRASH_POINT(SIGNATURE_CONFIRMED);
	/* A full barrier: the confirmation is visible before the signature is gone. Pairs
	 * with the two loads in purse_was_signed. */
	bool done = __sync_bool_compare_and_swap((unsigned __int128 *)p, pair(expected, expected_by),
						 pair(word, by));
	CRASH_POINT(PURSE_SWAPPED);
	return done;
}

static bool change_apply(uint64_t word, struct purse_change change, uint64_t *ret_word)
{
	int64_t granted = PURSE_GRANTED(word) + change.granted;
	int64_t used = PURSE_USED(word) + change.used;
	if (used < 0 || used > granted || granted > (int64_t)PAGES_MAX)
		return false;
	*ret_word = PURSE(granted, used);
	return true;
}

bool purse_transfer(struct purse *p, struct purse_change change, uint64_t by, struct ledger *ledger)
{
	for (uint32_t tries = 0; purse_is_tried_again(tries, ledger); tries++) {
		/* A torn pair of loads is harmless: the exchange compares both halves. */
		uint64_t old_by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE);
		uint64_t word = __atomic_load_n(&p->word, __ATOMIC_ACQUIRE), next;
		if (!change_apply(word, change, &next))
			return false;
		if (purse_swap(p, word, old_by, next, by, ledger))
			return true;
	}
	return false;
}

bool purse_was_signed(const struct purse *p, uint64_t by, const struct ledger *ledger)
{
	/* The purse first: if the signature was replaced between the two loads, the
	 * confirmation was made before that and the second load sees it. */
	if (__atomic_load_n(&p->by, __ATOMIC_ACQUIRE) == by)
		return true;
	return SIGNATURE_SLOT(by) < LEDGER_SLOTS &&
	       __atomic_load_n(&ledger->slot[SIGNATURE_SLOT(by)].confirmed, __ATOMIC_ACQUIRE) >= SIGNATURE_STEP(by);
}
