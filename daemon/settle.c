/* SPDX-License-Identifier: MIT */
/* The order matters. A dead parent's embryos refer to it by its slot's number, so they are
 * settled while the slot is still its own; and before an embryo is given up, the newborn
 * must have had their chance to be known, or a living child would be buried. */
#include "daemon/settle.h"

#include <time.h>

#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/orphans.h"
#include "daemon/sysv.h"
#include "daemon/unseen.h"
#include "reserve/crash.h"
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
 * moves the slot out of the embryo state first has it; an embryo given up that is live now
 * was the child's already. It is nobody's then, whoever was named in it: were we killed before it is
 * reaped, he may be in another slot, and the next broker would find him in two. */
static bool embryo_seize(struct account *a, uint32_t s, uint64_t word)
{
	if (SLOT_STATE(word) != SLOT_EMBRYO)
		return !a->member[s].embryo;
	return slot_adopt(a->ledger, s, SLOT_GEN(word), -1);
}

/* Its embryos, when no thread of it is left to give birth: what is not born is an orphan;
 * a child that was named is looked for by its name. They say whose they are by the number of
 * its slot, so this is done before that is another's. */
static void embryos_settle(struct broker *b, struct account *a, uint32_t s)
{
	for (uint32_t e = 0; (e = embryo_next(a->ledger, s, e)) < LEDGER_SLOTS; e++) {
		if (a->member[e].life == MEMBER_WATCHED || a->member[e].life == MEMBER_DYING)
			continue;
		if (births_pid(a, e, slot_read(a->ledger, e)) > 0)
			a->doubts++;
		else
			orphan_add(a, e);
	}
	/* One that is an embryo no more may have been adopted since we looked at it, by a child
	 * that has not rung the bell and never may. */
	a->doubts++;
	orphans_place(b, a);
}

/* May it own embryos? slot.embryos is raised before one is claimed, and lowered when the
 * child is on its own, of which the bell was rung: then we have seen it, or not looked yet. */
static bool is_parent(const struct account *a, uint32_t s)
{
	return __atomic_load_n(&a->ledger->slot[s].embryos, __ATOMIC_ACQUIRE) != 0 ||
	       (a->parent[s / 64] >> s % 64 & 1) ||
	       (births_have_rung(a) && embryo_next(a->ledger, s, 0) < LEDGER_SLOTS);
}

static void dying_reap(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	uint64_t word = slot_read(a->ledger, s);
	m->life = MEMBER_NONE; /* model: reap */
	orphans_seek(a); /* its children were not lost before */
	if (SLOT_STATE(word) == SLOT_FREE || SLOT_GEN(word) != m->generation)
		damage_found(b, a, "a slot was emptied by somebody else");
	else if (guess_is_wrong(a, s, word) || !embryo_seize(a, s, word))
		a->doubts++; /* it was another's, who lives: births_look finds out */
	else {
		if (is_parent(a, s))
			embryos_settle(b, a, s);
		sysv_name(a, s);
		member_reap(a->ledger, s);
	}
}

/* All who are dying, or as many as there is time for. True if there were any. Whom the ledger
 * alone knew may have been invented; then this is not the end of a process, which costs somebody
 * something, but a store, and the account pays for its share. */
static bool dying_reap_all(struct broker *b, struct account *a)
{
	uint64_t n = 0, alleged = 0, begun_ns = a->dying ? clock_ns(CLOCK_THREAD_CPUTIME_ID) : 0, took_ns = 0;
	for (uint32_t s; !a->damaged && took_ns <= DEATHS_NS + n * DEATH_NS && (s = dying_take(a)) < LEDGER_SLOTS; n++) {
		alleged += a->member[s].alleged;
		dying_reap(b, a, s);
		if (purse_gave_up(a->ledger))
			damage_found(b, a, "a word of it never holds still");
		took_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
	}
	if (alleged > 0)
		attention_pay(a, took_ns * alleged / n);
	if (a->dying != 0)
		b->busy_ns = b->now_ns; /* the next tick comes soon */
	return n > 0;
}

static void dying_strike(struct account *a)
{
	for (uint32_t s; (s = dying_take(a)) < LEDGER_SLOTS;)
		a->member[s].life = MEMBER_NONE;
}

#define DYING_FEW 8u /* of more, each is not worth a look at all slots: then these are looked at once */

/* Was one of the dead a parent, or may one have been? Then the newborn must be known before its embryos
 * are given up. */
static bool parent_is_dying(const struct account *a)
{
	uint32_t n = 0;
	for (uint32_t at = a->dying; at; at = a->member[at - 1].queue)
		if ((n++ == DYING_FEW && births_have_rung(a)) || is_parent(a, at - 1))
			return true;
	return false;
}

/* Pages that a parent gave an embryo which was being buried, and then died (reserve/gather.c
 * takes them back while somebody lives). A transfer is made in the name of a slot. */
static void strays_return(struct ledger *l)
{
	int actor = -1;
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		if (SLOT_STATE(slot_read(l, s)) != SLOT_FREE || purse_read(&l->slot[s].purse) == 0)
			continue;
		if (actor < 0 && (actor = slot_claim(l, SLOT_LIVE, 0)) < 0)
			return;
		CRASH_POINT(STRAY_FOUND);
		transfer_reap(l, (uint32_t)actor, s);
	}
	if (actor < 0)
		return;
	transfer_reap(l, (uint32_t)actor, (uint32_t)actor);
	slot_free(l, (uint32_t)actor);
}

bool account_is_vacant(const struct account *a)
{
	return a->members == 0 && a->dying == 0 && !births_are_due(a);
}

void settle_empty(struct broker *b, struct account *a)
{
	if (!account_is_vacant(a)) /* model: vacant */
		return;
	a->unchecked = false;
	/* Noticed now, so that it is healed before somebody joins and is turned away for it. */
	if (!damage_absent(b, a))
		return;
	strays_return(a->ledger);
	/* What does not show in the books may still be a snare for those who come: a bit of
	 * a holder that is gone, a step that counts as done before it is made. */
	const char *wrong = account_unclean(a);
	if (wrong)
		damage_found(b, a, wrong);
	else
		account_sweep(a);
}

/* Must every slot be looked at? Deaths alone do not ask for it; births do, where they are `awaited`. */
static void account_settle(struct broker *b, struct account *a, bool awaited, bool inherited)
{
	if (a->damaged) {
		dying_strike(a);
		return;
	}
	if (inherited || (awaited && births_are_due(a)) || parent_is_dying(a))
		births_look(b, a, inherited); /* model: look */
	if (!a->damaged)
		orphans_place(b, a);
	bool reaped = dying_reap_all(b, a);
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

void settle_account(struct broker *b, struct account *a, bool inherited)
{
	account_settle(b, a, true, inherited);
}

void settle_all(struct broker *b)
{
	for (uint32_t i = 0; i < b->places; i++) {
		struct account *a = &b->account[i];
		if (a->ledger && (a->dying > 0 || (!a->damaged && births_are_due(a))))
			settle_account(b, a, false);
	}
}

void settle_deaths(struct broker *b)
{
	for (uint32_t i = 0; i < b->places; i++) {
		struct account *a = &b->account[i];
		if (a->ledger && a->dying > 0)
			account_settle(b, a, false, false);
	}
}

void settle_exec(struct broker *b, struct account *a, uint32_t s)
{
	unseen_forget(b, a, s);
	a->member[s].counted = a->member[s].looked_at = false;
	if (is_parent(a, s))
		embryos_settle(b, a, s); /* model: renewal */
	CRASH_POINT(EXEC_EMBRYOS);
	transfer_settle(a->ledger, s);
	CRASH_POINT(EXEC_SETTLED);
	object_settle(a->ledger, s);
	CRASH_POINT(EXEC_LET_GO);
	sysv_name(a, s);
	object_drop_all(a->ledger, s, s);
	CRASH_POINT(EXEC_DROPPED);
	/* In the middle of a fork: nobody need have rung for the child, whatever became of it. */
	if (__atomic_exchange_n(&a->ledger->slot[s].embryos, 0, __ATOMIC_ACQ_REL) != 0)
		a->doubts++;
	CRASH_POINT(EXEC_DONE);
	settle_account(b, a, false);
}
