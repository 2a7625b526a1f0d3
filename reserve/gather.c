/* SPDX-License-Identifier: MIT */
/* Every way of finding a page that does not take it from somebody who needs it. */
#include "reserve/gather.h"

#include <errno.h>

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/transfer.h"

/* How often the broker is asked for one charge. Once would do if nobody else ran; a sibling
 * may take what was granted before we come back, and then it is really used. */
#define ASK_TRIES 16

bool gather_may_act(const struct gather *g)
{
	return SLOT_GEN(slot_read(g->ledger, g->slot)) == g->generation;
}

/* Slot by slot, until the account's own headroom covers `pages`. Empty ones too: what a parent
 * gave an embryo that was being buried may have strayed there. */
static bool sweep(const struct gather *g, uint32_t spare, uint64_t pages)
{
	struct ledger *l = g->ledger;
	for (uint32_t s = 0; s < ledger_slots(l); s++) {
		uint32_t headroom = purse_headroom(purse_read(&l->header.purse));
		if (headroom >= pages)
			return true;
		if (s != spare)
			transfer_return(l, g->slot, s, (uint32_t)(pages - headroom));
		CRASH_POINT(SWEPT_ONE);
	}
	return purse_headroom(purse_read(&l->header.purse)) >= pages;
}

/* How pages come out of the account: as slack, or in use. */
typedef bool draw_fn(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages);

/* Where pages are wanted: drawn into the purse of `target`, nobody's slack spared; or, without
 * `draw`, in use in the actor's own, whose slack counts. */
struct want {
	draw_fn *draw;
	uint32_t target;
};

/* Without the broker. `spare` is the slot whose slack is already counted by the caller. */
static bool draw_nearby(const struct gather *g, struct want w, uint32_t spare, uint32_t pages)
{
	struct ledger *l = g->ledger;
	if (w.draw(l, g->slot, w.target, pages)) /* model: fund, gather */
		return true;
	return sweep(g, spare, pages) && w.draw(l, g->slot, w.target, pages);
}

static enum refusal_reason broker_ask(const struct gather *g, uint32_t pages)
{
	enum refusal_reason reason = REASON_LIMIT;
	int error = g->ask ? g->ask(g->context, pages, &reason) : -ENOTCONN;
	CRASH_POINT(BROKER_ASKED);
	if (error == 0)
		return REASON_NONE;
	return error == -ENOMEM ? reason : REASON_BROKER;
}

/* Is the account used so far that `pages` more do not fit? If they do, they lie where we did
 * not find them, in flight between two purses or in a batch that a sibling has just funded
 * itself with, and a no came a moment too early. */
static bool is_full(const struct ledger *l, uint64_t pages)
{
	return ledger_used(l) + pages > PURSE_GRANTED(purse_read(&l->header.purse));
}

/* A grant that stands at the limit cannot grow; then silence of the broker is not why. */
static enum refusal_reason reason_for(const struct ledger *l, enum refusal_reason said)
{
	uint32_t granted = PURSE_GRANTED(purse_read(&l->header.purse));
	return said == REASON_BROKER && granted >= l->header.limit ? REASON_LIMIT : said;
}

/* Into the own purse, from everywhere but the broker. */
static bool take_nearby(const struct gather *g, uint32_t pages)
{
	struct purse *own = &g->ledger->slot[g->slot].purse;
	struct want slack = { transfer_fund, g->slot };
	/* A sibling may sweep our slack at any moment, so look, fund and take again. */
	for (int tries = 0; tries < 16; tries++) {
		if (purse_take(own, pages)) /* model: take */
			return true;
		uint32_t missing = pages - purse_headroom(purse_read(own));
		if (missing > pages) /* it came back meanwhile */
			continue;
		bool batch = missing <= PAGES_MAX - GATHER_BATCH &&
			     transfer_fund(g->ledger, g->slot, g->slot, missing + GATHER_BATCH);
		if (!batch && !draw_nearby(g, slack, g->slot, missing))
			break;
	}
	return purse_take(own, pages);
}

static bool pages_find_nearby(const struct gather *g, struct want w, uint32_t pages)
{
	return w.draw ? draw_nearby(g, w, LEDGER_SLOTS, pages) : take_nearby(g, pages);
}

/* How much of what is wanted is there already. */
static uint32_t pages_at_hand(const struct gather *g, struct want w)
{
	return w.draw ? 0 : purse_headroom(purse_read(&g->ledger->slot[g->slot].purse));
}

static enum refusal_reason pages_find(const struct gather *g, struct want w, uint64_t pages)
{
	enum refusal_reason reason = REASON_LIMIT;
	if (pages > PAGES_MAX)
		return REASON_LIMIT;
	for (int asked = 0; gather_may_act(g); asked++) {
		if (pages_find_nearby(g, w, (uint32_t)pages))
			return REASON_NONE;
		if (asked == ASK_TRIES)
			return reason_for(g->ledger, reason == REASON_NONE ? REASON_LIMIT : reason);
		uint32_t own = pages_at_hand(g, w);
		if (own >= pages) /* it came back meanwhile */
			continue;
		reason = broker_ask(g, (uint32_t)pages - own); /* model: look */
		if (reason != REASON_NONE && is_full(g->ledger, pages))
			asked = ASK_TRIES - 1;
	}
	return REASON_BROKER;
}

enum refusal_reason gather_take(const struct gather *g, uint64_t pages)
{
	return pages_find(g, (struct want){ 0 }, pages);
}

enum refusal_reason gather_fund(const struct gather *g, uint32_t embryo, uint64_t pages)
{
	return pages_find(g, (struct want){ transfer_fund, embryo }, pages);
}

enum refusal_reason gather_charge(const struct gather *g, uint64_t pages)
{
	return pages_find(g, (struct want){ transfer_charge, g->slot }, pages);
}

void gather_sweep(const struct gather *g, uint64_t pages)
{
	sweep(g, LEDGER_SLOTS, pages);
}

void gather_trim(const struct gather *g)
{
	uint32_t headroom = purse_headroom(purse_read(&g->ledger->slot[g->slot].purse));
	if (headroom > GATHER_IDLE)
		transfer_return(g->ledger, g->slot, g->slot, headroom - GATHER_BATCH);
}

bool gather_is_over(const struct ledger *l)
{
	uint32_t limit = l->header.limit;
	/* The account's purse counts idle slack too, so it says no sooner than the truth. */
	if (PURSE_USED(purse_read(&l->header.purse)) <= limit)
		return false;
	return ledger_used(l) > limit;
}
