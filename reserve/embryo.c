/* SPDX-License-Identifier: MIT */
#include "reserve/embryo.h"

#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "reserve/transfer.h"

static void bell_ring(struct ledger *l)
{
	/* Release: the slot is seen by the broker that sees the bell (daemon/registry.c). */
	__atomic_fetch_add(&l->header.births, 1, __ATOMIC_RELEASE);
}

enum refusal_reason embryo_conceive(const struct gather *g, uint64_t pages, struct embryo *ret)
{
	struct ledger *l = g->ledger;
	/* Raised before the claim: whoever settles our death looks for embryos while it is
	 * not 0, and a count too high only makes it look once more. */
	__atomic_fetch_add(&l->slot[g->slot].embryos, 1, __ATOMIC_ACQ_REL);
	int s = slot_claim(l, SLOT_EMBRYO, g->slot);
	if (s < 0) {
		__atomic_fetch_sub(&l->slot[g->slot].embryos, 1, __ATOMIC_ACQ_REL);
		return REASON_SLOTS;
	}
	struct embryo e = { .slot = (uint32_t)s, .generation = SLOT_GEN(slot_read(l, (uint32_t)s)) };
	enum refusal_reason reason = gather_fund(g, e.slot, pages);
	if (reason != REASON_NONE) {
		embryo_release(l, g->slot, e);
		return reason;
	}
	object_inherit(l, g->slot, e.slot);
	bell_ring(l);
	*ret = e;
	return REASON_NONE;
}

static void embryo_leave(struct ledger *l, uint32_t parent)
{
	__atomic_fetch_sub(&l->slot[parent].embryos, 1, __ATOMIC_ACQ_REL);
}

/* The child writes the same number when it adopts. By now it may have adopted, died and been
 * reaped, and the slot be somebody else's: what was written there is taken back. Until then
 * a stranger's embryo shows a pid that is gone, which the broker doubts for a while. */
static void pid_write(struct ledger *l, struct embryo e, int32_t pid)
{
	int32_t *at = &l->slot[e.slot].pid, unknown = 0;
	if (SLOT_GEN(slot_read(l, e.slot)) != e.generation)
		return;
	if (__atomic_compare_exchange_n(at, &unknown, pid, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) &&
	    SLOT_GEN(slot_read(l, e.slot)) != e.generation)
		__atomic_compare_exchange_n(at, &pid, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

void embryo_born(struct ledger *l, uint32_t parent, struct embryo e, int32_t pid)
{
	if (pid > 0)
		pid_write(l, e, pid);
	/* The bell before the count: killed in between, we are one or the other's reason to look. */
	bell_ring(l);
	embryo_leave(l, parent);
}

/* Charges exactly `pages`, whatever was charged before. The state is read after the
 * signature: if the broker has buried the embryo since, and the slot is somebody else's, the
 * signature is another and the swap fails. */
static bool charge_settle(struct ledger *l, struct embryo e, uint32_t pages)
{
	struct purse *p = &l->slot[e.slot].purse;
	for (;;) {
		uint64_t by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		uint64_t state = slot_read(l, e.slot), next = PURSE(PURSE_GRANTED(word), pages);
		if (SLOT_STATE(state) != SLOT_EMBRYO || SLOT_GEN(state) != e.generation)
			return false;
		if (pages > PURSE_GRANTED(word))
			return false;
		if (purse_swap(p, word, by, next, by, l))
			return true;
	}
}

bool embryo_adopt(struct ledger *l, struct embryo e, uint32_t pages, int32_t pid)
{
	if (!charge_settle(l, e, pages))
		return false;
	__atomic_fetch_add(&l->header.forks, 1, __ATOMIC_RELAXED);
	bool adopted = slot_adopt(l, e.slot, e.generation, pid);
	bell_ring(l);
	return adopted;
}

void embryo_release(struct ledger *l, uint32_t parent, struct embryo e)
{
	object_drop_all(l, parent, e.slot);
	transfer_reap(l, parent, e.slot);
	slot_free(l, e.slot);
	embryo_leave(l, parent);
}
