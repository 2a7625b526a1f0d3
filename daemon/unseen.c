/* SPDX-License-Identifier: MIT */
/* What a purse of ours uses is one number with the broker's copy of it, so whoever scribbles on
 * it is found; and we leave nothing idle there, so nobody's sweep takes from it. Slack in it is
 * what strayed there (reserve/gather.c), and anybody's. */
#include "daemon/unseen.h"

#include <errno.h>

#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/funds.h"
#include "reserve/crash.h"
#include "reserve/gather.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"

struct means {
	struct broker *broker;
	struct account *account;
};

static int grant_ask(void *context, uint32_t pages, enum refusal_reason *ret_reason)
{
	const struct means *m = context;
	uint32_t granted;
	*ret_reason = funds_extend(m->broker, m->account, pages, &granted);
	return *ret_reason == REASON_NONE ? 0 : -ENOMEM;
}

/* As much of `pages` as the account can pay; gathering for all of it has moved everybody's
 * idle slack to the account. */
static uint32_t pages_charge(struct broker *b, struct account *a, uint32_t s, uint32_t pages)
{
	struct means means = { b, a };
	struct gather g = { .ledger = a->ledger, .slot = s, .generation = SLOT_GEN(slot_read(a->ledger, s)),
			    .ask = grant_ask, .context = &means };
	if (gather_charge(&g, pages) == REASON_NONE)
		return pages;
	uint32_t rest = (uint32_t)min_u64(pages, purse_headroom(purse_read(&a->ledger->header.purse)));
	return rest != 0 && transfer_charge(a->ledger, s, s, rest) ? rest : 0;
}

/* Charges `pages` in slot `s`, where `held` are charged; returns how many are now. */
static uint32_t purse_hold(struct broker *b, struct account *a, uint32_t s, uint32_t held, uint32_t pages)
{
	if (pages > held)
		pages = held + pages_charge(b, a, s, pages - held);
	else
		transfer_shrink(a->ledger, s, s, pages);
	CRASH_POINT(UNSEEN_CHARGED);
	return pages;
}

static bool is_held(const struct account *a, uint32_t s, uint32_t pages)
{
	uint64_t word = purse_read(&a->ledger->slot[s].purse);
	return PURSE_USED(word) == pages && PURSE_GRANTED(word) >= pages &&
	       SLOT_STATE(slot_read(a->ledger, s)) == SLOT_UNATTACHED;
}

bool unseen_is_sound(const struct account *a, uint32_t s)
{
	return is_held(a, s, a->member[s].life == MEMBER_OURS ? a->unseen : a->member[s].unseen);
}

/* --- the slot of what is unseen --- */

static bool slot_open(struct broker *b, struct account *a)
{
	int s = a->unseen_slot ? 0 : registry_claim(b, a, SLOT_UNATTACHED);
	if (s < 0)
		return false;
	if (a->unseen_slot)
		return true;
	CRASH_POINT(UNSEEN_OPENED);
	a->member[s] = (struct member){ .pidfd = -1, .life = MEMBER_OURS };
	a->unseen_slot = (uint32_t)s + 1;
	return true;
}

static void slot_close(struct account *a)
{
	a->member[a->unseen_slot - 1].life = MEMBER_NONE;
	member_reap(a->ledger, a->unseen_slot - 1);
	a->unseen_slot = 0;
}

void unseen_sweep(struct broker *b, struct account *a, uint64_t pages)
{
	struct purse *all = &a->ledger->header.purse;
	if (!slot_open(b, a))
		return;
	struct gather g = { .ledger = a->ledger, .slot = a->unseen_slot - 1 };
	gather_sweep(&g, purse_headroom(purse_read(all)) + pages);
	if (a->unseen == 0)
		slot_close(a);
}

/* The sum of all members', `pages` of it for one whose share was `before`. Its new share. */
static uint32_t sum_move(struct broker *b, struct account *a, uint32_t before, uint32_t pages)
{
	if (pages == before || (pages > before && !slot_open(b, a)))
		return before;
	uint32_t s = a->unseen_slot - 1, others = a->unseen - before;
	if (!unseen_is_sound(a, s)) {
		damage_found(b, a, "what the broker charges for what is unseen has changed");
		return before;
	}
	uint64_t all = min_u64((uint64_t)others + pages, PAGES_MAX);
	a->unseen = purse_hold(b, a, s, a->unseen, (uint32_t)all);
	if (a->unseen == 0)
		slot_close(a);
	return a->unseen - others;
}

/* --- members --- */

/* Relaxed, all: figures for people. */
static void figures_write(struct account *a, uint32_t s)
{
	const struct member *m = &a->member[s];
	__atomic_store_n(&a->ledger->slot[s].unseen, m->unattached ? 0 : m->unseen + m->lent, __ATOMIC_RELAXED);
	__atomic_store_n(&a->ledger->slot[s].drift, m->drift, __ATOMIC_RELAXED);
	__atomic_store_n(&a->ledger->header.unseen, a->unseen, __ATOMIC_RELAXED);
	__atomic_store_n(&a->ledger->header.drift, a->drift, __ATOMIC_RELAXED);
}

void unseen_set(struct broker *b, struct account *a, uint32_t s, uint32_t pages)
{
	struct member *m = &a->member[s];
	if (m->unseen == pages && m->drift == 0)
		return;
	if (m->unattached && !unseen_is_sound(a, s)) {
		damage_found(b, a, "what the broker charges for an unattached process has changed");
		return;
	}
	m->unseen = m->unattached ? purse_hold(b, a, s, m->unseen, pages) : sum_move(b, a, m->unseen, pages);
	a->drift -= m->drift;
	m->drift = pages - m->unseen;
	a->drift += m->drift;
	if (!a->damaged)
		figures_write(a, s);
}

bool unseen_lend(struct broker *b, struct account *a, uint32_t s, uint32_t pages)
{
	struct member *m = &a->member[s];
	m->lent = sum_move(b, a, m->lent, pages);
	if (!a->damaged)
		figures_write(a, s);
	return m->lent == pages;
}

/* An unattached slot's own purse is reaped with the slot. */
void unseen_forget(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	if (m->lent != 0)
		unseen_lend(b, a, s, 0);
	if (!m->unattached)
		unseen_set(b, a, s, 0);
	a->drift -= m->drift;
	m->unseen = m->drift = m->found = 0;
	if (!a->damaged)
		figures_write(a, s);
}

/* Charges the slack of a member that left, which a sibling may be taking at this moment. How
 * much is charged then. */
static uint32_t slack_charge(struct ledger *l, uint32_t s)
{
	struct purse *p = &l->slot[s].purse;
	uint64_t word = purse_read(p);
	for (uint32_t tries = 0; !purse_take(p, purse_headroom(word)) && purse_is_tried_again(tries, l); tries++)
		word = purse_read(p);
	return PURSE_GRANTED(word);
}

void unseen_take_over(struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	transfer_settle(a->ledger, s);
	object_settle(a->ledger, s);
	object_drop_all(a->ledger, s, s);
	m->unseen = slack_charge(a->ledger, s);
	CRASH_POINT(UNSEEN_TAKEN_OVER);
	slot_turn_end(a->ledger, s);
	m->unattached = true;
	m->counted = m->looked_at = m->has_left = false;
	figures_write(a, s);
}

void unseen_hand_over(struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	a->drift -= m->drift;
	m->unseen = m->drift = m->found = 0;
	m->unattached = m->counted = m->looked_at = false;
	figures_write(a, s);
}
