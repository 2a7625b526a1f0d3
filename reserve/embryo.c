/* SPDX-License-Identifier: MIT */
#include "reserve/embryo.h"

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/transfer.h"

static void bell_ring(struct ledger *l)
{
	/* Release: the slot is seen by the broker that sees the bell (daemon/births.c). Sequentially
	 * consistent: embryo_bell_is_unheard reads after it (include/ledger.h:calm). */
	__atomic_fetch_add(&l->header.births, 1, __ATOMIC_SEQ_CST);
}

bool embryo_bell_is_unheard(const struct ledger *l)
{
	return __atomic_load_n(&l->header.calm, __ATOMIC_SEQ_CST) != 0;
}

enum refusal_reason embryo_conceive(const struct gather *g, uint64_t pages, struct embryo *ret)
{
	struct ledger *l = g->ledger;
	/* Raised before the claim: whoever settles our death looks for embryos while it is
	 * not 0, and a count too high only makes it look once more. */
	__atomic_fetch_add(&l->slot[g->slot].embryos, 1, __ATOMIC_ACQ_REL);
	CRASH_POINT(EMBRYO_COUNTED);
	int s = slot_claim(l, SLOT_EMBRYO, g->slot); /* model: conceive */
	if (s < 0) {
		__atomic_fetch_sub(&l->slot[g->slot].embryos, 1, __ATOMIC_ACQ_REL);
		return REASON_SLOTS;
	}
	CRASH_POINT(EMBRYO_CLAIMED);
	struct embryo e = { .slot = (uint32_t)s, .generation = SLOT_GEN(slot_read(l, (uint32_t)s)) };
	enum refusal_reason reason = gather_fund(g, e.slot, pages);
	if (reason != REASON_NONE) {
		if (gather_may_act(g)) /* else the broker has settled it with our slot, or will */
			embryo_release(l, g->slot, e);
		return reason;
	}
	CRASH_POINT(EMBRYO_FUNDED);
	object_inherit(l, g->slot, e.slot); /* model: inherit, conceived */
	CRASH_POINT(EMBRYO_INHERITED);
	bell_ring(l);
	CRASH_POINT(EMBRYO_CONCEIVED);
	*ret = e;
	return REASON_NONE;
}

static void embryo_leave(struct ledger *l, uint32_t parent)
{
	__atomic_fetch_sub(&l->slot[parent].embryos, 1, __ATOMIC_ACQ_REL);
}

void embryo_born(struct ledger *l, uint32_t parent, struct embryo e, int32_t pid)
{
	/* The child writes the same number when it adopts. By now it may have adopted, died and
	 * been reaped, and the slot be somebody else's. */
	slot_name(l, e.slot, e.generation, pid > 0 ? pid : -1);
	CRASH_POINT(EMBRYO_TOLD);
	/* In this order: whoever settles our death finds the embryo by the count, or by the bell. */
	bell_ring(l);
	CRASH_POINT(EMBRYO_RUNG);
	embryo_leave(l, parent);
	CRASH_POINT(EMBRYO_BORN);
}

/* Charges exactly `pages` to the embryo. The state is read after the signature, which stays:
 * if the slot was buried since, its purse was signed for, and the swap fails. */
static bool embryo_settle(struct ledger *l, struct embryo e, uint32_t pages)
{
	struct purse *p = &l->slot[e.slot].purse;
	for (;;) {
		uint64_t by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		uint64_t state = slot_read(l, e.slot);
		if (SLOT_STATE(state) != SLOT_EMBRYO || SLOT_GEN(state) != e.generation || pages > PURSE_GRANTED(word))
			return false;
		if (purse_swap(p, word, by, PURSE(PURSE_GRANTED(word), pages), by, l))
			return true;
	}
}

bool embryo_adopt(struct ledger *l, struct embryo e, uint32_t pages, int32_t pid)
{
	if (!embryo_settle(l, e, pages)) /* model: adopt */
		return false;
	CRASH_POINT(EMBRYO_SETTLED);
	__atomic_fetch_add(&l->header.forks, 1, __ATOMIC_RELAXED);
	bool adopted = slot_adopt(l, e.slot, e.generation, pid);
	bell_ring(l);
	CRASH_POINT(EMBRYO_ADOPTED);
	return adopted;
}

void embryo_release(struct ledger *l, uint32_t parent, struct embryo e)
{
	object_drop_all(l, parent, e.slot); /* model: release */
	CRASH_POINT(EMBRYO_DROPPED);
	transfer_reap(l, parent, e.slot);
	CRASH_POINT(EMBRYO_EMPTIED);
	slot_free(l, e.slot);
	CRASH_POINT(EMBRYO_FREED);
	embryo_leave(l, parent);
	CRASH_POINT(EMBRYO_RELEASED);
}

/* A bit in a slot that nobody is in would keep the object until the next of that slot ends. */
static void slot_tidy(struct ledger *l, uint32_t parent, uint32_t s)
{
	__atomic_fetch_add(&l->slot[parent].embryos, 1, __ATOMIC_ACQ_REL);
	if (slot_claim_this(l, s, SLOT_EMBRYO, parent))
		embryo_release(l, parent, (struct embryo){ .slot = s });
	else
		embryo_leave(l, parent); /* that next one is there */
}

void embryo_hold(struct ledger *l, uint32_t parent, struct embryo e, uint32_t o)
{
	if (slot_read(l, e.slot) != SLOT_WORD(e.generation, parent + 1, SLOT_EMBRYO) || object_is_held_by(l, o, e.slot))
		return; /* it has been copied, and has it or not */
	object_hand_on(l, o, e.slot);
	/* Seen again after the bit is set: who emptied the slot before did not see it. A child that has
	 * adopted since may hold what it has not got until it ends: too much, never too little. */
	if (SLOT_STATE(slot_read(l, e.slot)) == SLOT_FREE)
		slot_tidy(l, parent, e.slot);
}
