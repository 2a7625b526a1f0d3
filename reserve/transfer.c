/* SPDX-License-Identifier: MIT */
/* What each transfer is made of:
 *
 *   op       debit (step)               credit (step + 1)        cut in between, settled by
 *   FUND     account.used += n          target.granted += n      account.used -= n
 *   RETURN   target.granted -= n        account.used -= n        account.used -= n
 *   OBJECT   own.granted,used -= n      object.both += n         account.used -= n
 *   DESTROY  object.both -= n           account.used -= n        account.used -= n
 *
 * The account's `used` counts what its children hold, so adding to it is the debit of
 * FUND: promised before it is given. Whatever is cut in two, the pages are in the
 * account's `used` and in no child's purse, and the one repair is to take them out of
 * `used`. That repair is written as the second step of a RETURN whose first step is
 * known done, so cutting the repair in two needs no case of its own. */
#include "reserve/transfer.h"

#include "reserve/crash.h"
#include "reserve/ledger.h"

/* transfer_settle takes an object's number for a slot's. */
_Static_assert(LEDGER_OBJECTS <= LEDGER_SLOTS, "every object's number is a slot's");

static uint64_t sign(uint32_t s, uint64_t step)
{
	return SIGNATURE(s, step);
}

/* Opens an intent and returns its first step. Only the actor writes these fields; the
 * release on intent_op publishes the rest to whoever settles after our death. */
static uint64_t intent_open(struct ledger *l, uint32_t s, enum intent_op op, uint32_t target, uint32_t pages)
{
	struct slot *me = &l->slot[s];
	uint64_t step = (me->step + 1) & SIGNATURE_STEP_MASK;
	__atomic_store_n(&me->step, step + 1, __ATOMIC_RELAXED);
	CRASH_POINT(INTENT_NUMBERED);
	me->intent_step = step;
	me->intent_pages = pages;
	me->intent_target = target;
	CRASH_POINT(INTENT_WRITTEN);
	__atomic_store_n(&me->intent_op, op, __ATOMIC_RELEASE);
	CRASH_POINT(INTENT_OPENED);
	return step;
}

static void intent_close(struct ledger *l, uint32_t s)
{
	__atomic_store_n(&l->slot[s].intent_op, INTENT_NONE, __ATOMIC_RELEASE);
	CRASH_POINT(INTENT_CLOSED);
}

static bool step_apply(struct ledger *l, struct purse *p, int64_t granted, int64_t used, uint64_t by)
{
	struct purse_change change = { .granted = granted, .used = used };
	return purse_transfer(p, change, by, l);
}

/* The credit that ends RETURN, DESTROY and every repair. It can only
 * be refused by a ledger somebody scribbled on; the broker finds that by its own means. */
static void account_release(struct ledger *l, uint32_t s, uint64_t step, uint32_t pages)
{
	CRASH_POINT(RELEASE_DEBITED);
	step_apply(l, &l->header.purse, 0, -(int64_t)pages, sign(s, step + 1)); /* model: ACCOUNT_RELEASE */
	CRASH_POINT(RELEASE_CREDITED);
}

static void peak_raise(struct ledger *l)
{
	uint32_t used = PURSE_USED(purse_read(&l->header.purse));
	uint32_t seen = __atomic_load_n(&l->header.peak, __ATOMIC_RELAXED);
	while (seen < used && !__atomic_compare_exchange_n(&l->header.peak, &seen, used, true,
							   __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

/* `used` of the pages arrive in use. */
static bool account_draw(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages, uint32_t used)
{
	if (purse_headroom(purse_read(&l->header.purse)) < pages)
		return false;
	uint64_t step = intent_open(l, s, INTENT_FUND, target, pages);
	bool ok = step_apply(l, &l->header.purse, 0, pages, sign(s, step)); /* model: FUND_DEBIT */
	if (ok) {
		CRASH_POINT(FUND_DEBITED);
		step_apply(l, &l->slot[target].purse, pages, used, sign(s, step + 1)); /* model: FUND_CREDIT */
		CRASH_POINT(FUND_CREDITED);
	}
	intent_close(l, s);
	if (ok)
		peak_raise(l);
	return ok;
}

bool transfer_fund(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages)
{
	return account_draw(l, s, target, pages, 0);
}

bool transfer_charge(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages)
{
	return account_draw(l, s, target, pages, pages);
}

uint32_t transfer_return(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages)
{
	struct purse *p = &l->slot[target].purse;
	for (uint32_t tries = 0; purse_is_tried_again(tries, l); tries++) {
		uint64_t by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		uint32_t n = (uint32_t)min_u64(pages, purse_headroom(word));
		/* An embryo's slack is its child's. The state is read after the signature: if
		 * the slot changed hands since, so did the signature, and the swap fails. */
		if (n == 0 || SLOT_STATE(slot_read(l, target)) == SLOT_EMBRYO) /* model: RETURN_STATE */
			return 0;
		/* The amount must be in the intent before the step can happen, so each try
		 * opens the intent anew. */
		uint64_t step = intent_open(l, s, INTENT_RETURN, target, n);
		uint64_t next = PURSE(PURSE_GRANTED(word) - n, PURSE_USED(word));
		bool ok = purse_swap(p, word, by, next, sign(s, step), l); /* model: RETURN_DEBIT */
		if (ok)
			account_release(l, s, step, n);
		intent_close(l, s);
		if (ok)
			return n;
	}
	return 0;
}

/* An object's pages are all in use. */
static bool object_credit(struct ledger *l, struct purse *p, uint32_t has, uint32_t pages, uint64_t by)
{
	for (uint32_t tries = 0; purse_is_tried_again(tries, l); tries++) {
		uint64_t old_by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		if (word != PURSE(has, has) || has > PAGES_MAX - pages)
			return false;
		if (purse_swap(p, word, old_by, PURSE(has + pages, has + pages), by, l)) /* model: OBJECT_CREDIT */
			return true;
	}
	return false;
}

bool transfer_to_object(struct ledger *l, uint32_t s, uint32_t object, uint32_t has, uint32_t pages)
{
	uint64_t step = intent_open(l, s, INTENT_OBJECT, object, pages);
	bool ok = step_apply(l, &l->slot[s].purse, -(int64_t)pages, -(int64_t)pages, sign(s, step)); /* model: OBJECT_DEBIT */
	CRASH_POINT(OBJECT_DEBITED);
	ok = ok && object_credit(l, &l->object[object].purse, has, pages, sign(s, step + 1));
	CRASH_POINT(OBJECT_CREDITED);
	/* What did not come is in flight, as if we had died: it is settled as that is. */
	transfer_settle(l, s);
	return ok;
}

/* What is to go out of a purse, used and granted: at most `most` pages, so that `keep` stay. */
struct cut {
	uint32_t most, keep;
};

static uint64_t cut_word(uint64_t word, struct cut cut)
{
	uint32_t granted = PURSE_GRANTED(word);
	uint64_t stay = max_u64(cut.keep, granted > cut.most ? granted - cut.most : 0);
	return PURSE(min_u64(granted, stay), min_u64(PURSE_USED(word), stay));
}

/* Takes the pages out of a purse, back to the account. How many go is worked out anew in each
 * try: what was added since the last stays. */
static uint32_t purse_empty(struct ledger *l, uint32_t s, enum intent_op op, struct purse *p, uint32_t target,
			    struct cut cut)
{
	for (uint32_t tries = 0; purse_is_tried_again(tries, l); tries++) {
		uint64_t by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		uint64_t next = cut_word(word, cut);
		if (word == next)
			return 0;
		uint32_t n = PURSE_GRANTED(word) - PURSE_GRANTED(next);
		uint64_t step = intent_open(l, s, op, target, n);
		bool ok = purse_swap(p, word, by, next, sign(s, step), l); /* model: EMPTY_DEBIT */
		if (ok)
			account_release(l, s, step, n);
		intent_close(l, s);
		if (ok)
			return n;
	}
	return 0;
}

static const struct cut whole = { .most = PAGES_MAX };

uint32_t transfer_from_object(struct ledger *l, uint32_t s, uint32_t object)
{
	return purse_empty(l, s, INTENT_DESTROY, &l->object[object].purse, object, whole);
}

uint32_t transfer_shrink_object(struct ledger *l, uint32_t s, uint32_t object, uint32_t most, uint32_t keep)
{
	return purse_empty(l, s, INTENT_DESTROY, &l->object[object].purse, object, (struct cut){ most, keep });
}

uint32_t transfer_reap(struct ledger *l, uint32_t s, uint32_t target)
{
	return transfer_shrink(l, s, target, 0);
}

uint32_t transfer_shrink(struct ledger *l, uint32_t s, uint32_t target, uint32_t keep)
{
	return purse_empty(l, s, INTENT_RETURN, &l->slot[target].purse, target, (struct cut){ PAGES_MAX, keep });
}

/* The purse whose debit is the first step of an intent, and the one of its credit;
 * NULL when the intent is nonsense. */
static struct purse *debit_side(struct ledger *l, uint32_t s, uint64_t op, uint32_t target)
{
	switch (op) {
	case INTENT_FUND:
		return &l->header.purse;
	case INTENT_RETURN:
		return target < LEDGER_SLOTS ? &l->slot[target].purse : NULL;
	case INTENT_OBJECT:
		return &l->slot[s].purse;
	case INTENT_DESTROY:
		return target < LEDGER_OBJECTS ? &l->object[target].purse : NULL;
	default:
		return NULL;
	}
}

static struct purse *credit_side(struct ledger *l, uint64_t op, uint32_t target)
{
	switch (op) {
	case INTENT_FUND:
		return target < LEDGER_SLOTS ? &l->slot[target].purse : NULL;
	case INTENT_OBJECT:
		return target < LEDGER_OBJECTS ? &l->object[target].purse : NULL;
	case INTENT_RETURN:
	case INTENT_DESTROY:
		return &l->header.purse;
	default:
		return NULL;
	}
}

void transfer_settle(struct ledger *l, uint32_t s)
{
	struct slot *me = &l->slot[s];
	/* Acquire: pairs with the release in intent_open. */
	uint64_t op = __atomic_load_n(&me->intent_op, __ATOMIC_ACQUIRE);
	uint64_t step = me->intent_step & SIGNATURE_STEP_MASK;
	uint32_t target = me->intent_target, pages = me->intent_pages;
	struct purse *debit = debit_side(l, s, op, target), *credit = credit_side(l, op, target);

	if (debit && credit && purse_was_signed(debit, sign(s, step), l) && /* model: DEBIT_CONFIRMED */
	    !purse_was_signed(credit, sign(s, step + 1), l)) { /* model: CREDIT_SIGNED, CREDIT_CONFIRMED */
		/* In flight: in the account's `used`, in no child. The repair signs as
		 * step + 1 on the account; from RETURN and DESTROY it is their own credit,
		 * from the others it becomes a RETURN first, so that a second settlement
		 * looks for the signature where the repair puts it. The debit is confirmed
		 * before that, because a RETURN would look for it in another purse: that of
		 * slot `target`, which there is, whatever the target was. */
		if (op != INTENT_RETURN && op != INTENT_DESTROY) {
			signature_confirm(sign(s, step), l);
			CRASH_POINT(REPAIR_CONFIRMED);
			__atomic_store_n(&me->intent_op, INTENT_RETURN, __ATOMIC_RELEASE);
			CRASH_POINT(REPAIR_TURNED);
		}
		account_release(l, s, step, pages); /* model: SETTLE_REPAIR */
	}
	intent_close(l, s); /* model: SETTLE_CLOSE */
}
