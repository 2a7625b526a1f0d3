/* SPDX-License-Identifier: MIT */
/* The order matters. A dead parent's embryos refer to it by its slot's number, so they are
 * settled while the slot is still its own; and before an embryo is given up, the newborn
 * must have had their chance to be known, or a living child would be buried. */
#include "daemon/settle.h"

#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/orphans.h"
#include "daemon/sysv.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"

static uint32_t dying_take(struct account *a)
{
	if (a->dying == 0)
		return LEDGER_SLOTS;
	uint32_t s = a->dying - 1;
	a->dying = a->member[s].queue;
	return s;
}

/* A child that the walk through /proc did not reach may adopt its slot this instant. Who
 * moves the slot out of the embryo state first has it. */
static bool embryo_seize(struct account *a, uint32_t s, uint64_t word)
{
	return SLOT_STATE(word) != SLOT_EMBRYO || slot_seize(a->ledger, s, word);
}

static void dying_reap(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	uint64_t word = slot_read(a->ledger, s);
	m->life = MEMBER_NONE;
	if (SLOT_STATE(word) == SLOT_FREE || SLOT_GEN(word) != m->generation)
		damage_found(b, a, "a slot was emptied by somebody else");
	else if (guess_is_wrong(a, s, word) || !embryo_seize(a, s, word))
		a->doubts++; /* it was another's, who lives: births_look finds out */
	else
		member_reap(a->ledger, s);
}

static void dying_strike(struct account *a)
{
	for (uint32_t s; (s = dying_take(a)) < LEDGER_SLOTS;)
		a->member[s].life = MEMBER_NONE;
}

/* Must every slot be looked at? Deaths alone do not ask for it, unless one of the dead was
 * in the middle of a fork (slot.embryos is raised before an embryo is claimed). */
static bool look_is_due(const struct account *a)
{
	bool due = births_are_due(a);
	for (uint32_t at = a->dying; at && !due; at = a->member[at - 1].queue)
		due = __atomic_load_n(&a->ledger->slot[at - 1].embryos, __ATOMIC_ACQUIRE) != 0;
	return due;
}

void settle_empty(struct broker *b, struct account *a)
{
	if (a->members > 0 || births_are_due(a))
		return;
	a->unchecked = false;
	if (!account_is_clean(a))
		damage_found(b, a, "its books do not add up although nobody is left in it");
}

void settle_account(struct broker *b, struct account *a, bool inherited)
{
	bool reaped = false;
	if (a->damaged) {
		dying_strike(a);
		return;
	}
	if (inherited || look_is_due(a))
		births_look(b, a, inherited);
	if (!a->damaged)
		orphans_place(b, a);
	for (uint32_t s; !a->damaged && (s = dying_take(a)) < LEDGER_SLOTS; reaped = true)
		dying_reap(b, a, s);
	if (a->damaged) {
		dying_strike(a);
		return;
	}
	if (!reaped)
		return;
	sysv_release(a);
	/* Looking through everything is dear: at once only when something is still charged,
	 * else when it has stayed empty for a while (daemon/broker.c). */
	a->unchecked = true;
	if (PURSE_USED(purse_read(&a->ledger->header.purse)) != 0)
		settle_empty(b, a);
}

void settle_all(struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		struct account *a = &b->account[i];
		if (a->ledger && (a->dying > 0 || (!a->damaged && births_are_due(a))))
			settle_account(b, a, false);
	}
}

/* No thread of the old image is left to give birth: what is not born is an orphan. */
static void embryos_settle(struct broker *b, struct account *a, uint32_t s)
{
	for (uint32_t e = 0; (e = embryo_next(a->ledger, s, e)) < LEDGER_SLOTS; e++) {
		uint64_t bit = 1ull << e % 64, word = slot_read(a->ledger, e);
		if (a->member[e].life == MEMBER_WATCHED || births_pid(a, e, word) > 0)
			continue;
		a->orphans += (a->orphan[e / 64] & bit) == 0;
		a->orphan[e / 64] |= bit;
	}
	orphans_place(b, a);
}

void settle_exec(struct broker *b, struct account *a, uint32_t s)
{
	embryos_settle(b, a, s);
	transfer_settle(a->ledger, s);
	object_settle(a->ledger, s);
	object_drop_all(a->ledger, s, s);
	__atomic_store_n(&a->ledger->slot[s].embryos, 0, __ATOMIC_RELAXED);
	settle_account(b, a, false);
}
