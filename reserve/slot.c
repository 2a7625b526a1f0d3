/* SPDX-License-Identifier: MIT */
/* A member's place in the ledger. One compare-and-swap on the state word moves a slot
 * from one life to the next; the generation in it keeps an old owner from acting on a
 * slot that has changed hands. */
#include <errno.h>
#include <string.h>

#include "reserve/ledger.h"
#include "reserve/purse.h"

static bool slot_move(struct ledger *l, uint32_t s, uint64_t from, uint64_t to)
{
	/* Release: what the mover wrote into the slot is seen by whoever reads the new
	 * state. Acquire: pairs with the release of the one who freed it. */
	return __atomic_compare_exchange_n(&l->slot[s].state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

static void slot_clear(struct slot *me)
{
	/* `step` and `confirmed` live on: signatures must never repeat. */
	me->peak = 0;
	me->pid = 0;
	me->flags = 0;
	me->start_ticks = 0;
	me->uid = 0;
	me->refusals = 0;
	me->embryos = 0;
	memset(me->comm, 0, sizeof me->comm);
	memset(me->category, 0, sizeof me->category);
}

void top_raise(uint32_t *top, uint32_t n)
{
	uint32_t seen = __atomic_load_n(top, __ATOMIC_RELAXED);
	/* Release: see ledger_slots. */
	while (seen < n && !__atomic_compare_exchange_n(top, &seen, n, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

static bool slot_take(struct ledger *l, uint32_t s, enum slot_state state, uint32_t owner)
{
	uint64_t word = slot_read(l, s);
	uint32_t owner1 = state == SLOT_EMBRYO ? owner + 1 : 0;
	if (SLOT_STATE(word) != SLOT_FREE)
		return false;
	top_raise(&l->header.slot_top, s + 1);
	return slot_move(l, s, word, SLOT_WORD(SLOT_GEN(word), owner1, state));
}

int slot_claim(struct ledger *l, enum slot_state state, uint32_t owner)
{
	/* The hint is where the lowest free slot may be, so that the top stays low. Relaxed:
	 * a wrong one costs a longer look. */
	uint32_t start = __atomic_load_n(&l->header.slot_hint, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < LEDGER_SLOTS; i++) {
		uint32_t s = (start + i) % LEDGER_SLOTS;
		if (!slot_take(l, s, state, owner))
			continue;
		__atomic_store_n(&l->header.slot_hint, s + 1, __ATOMIC_RELAXED);
		return (int)s;
	}
	return -EAGAIN;
}

bool slot_adopt(struct ledger *l, uint32_t s, uint32_t generation, int32_t pid)
{
	uint64_t word = slot_read(l, s);
	int32_t *at = &l->slot[s].pid, unknown = 0;
	if (SLOT_STATE(word) != SLOT_EMBRYO || SLOT_GEN(word) != generation)
		return false;
	/* Before the move, that no live slot be without one; and only where none is, because the
	 * slot may be somebody else's by now: then it is taken back. After the move it is ours,
	 * and what others guessed is overwritten. */
	bool wrote = __atomic_compare_exchange_n(at, &unknown, pid, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	if (slot_move(l, s, word, SLOT_WORD(generation, 0, SLOT_LIVE))) {
		__atomic_store_n(at, pid, __ATOMIC_RELEASE);
		return true;
	}
	if (wrote)
		__atomic_compare_exchange_n(at, &pid, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return false;
}

bool slot_seize(struct ledger *l, uint32_t s, uint64_t word)
{
	return SLOT_STATE(word) == SLOT_EMBRYO && slot_move(l, s, word, SLOT_WORD(SLOT_GEN(word), 0, SLOT_LIVE));
}

void slot_free(struct ledger *l, uint32_t s)
{
	uint64_t word = slot_read(l, s);
	slot_clear(&l->slot[s]);
	/* Release: pairs with the acquire in slot_claim's read; the next owner finds it clean. */
	__atomic_store_n(&l->slot[s].state, SLOT_WORD(SLOT_GEN(word) + 1, 0, SLOT_FREE), __ATOMIC_RELEASE);
	if (s < __atomic_load_n(&l->header.slot_hint, __ATOMIC_RELAXED))
		__atomic_store_n(&l->header.slot_hint, s, __ATOMIC_RELAXED);
}
