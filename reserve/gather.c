/* SPDX-License-Identifier: MIT */
/* Every way of finding a page that does not take it from somebody who needs it. */
#include "reserve/gather.h"

#include <errno.h>

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/transfer.h"

/* How often the broker is asked for one charge. Once would do if nobody else ran; a
 * sibling may take what was granted before we come back, and then it is really used. */
#define ASK_TRIES 4

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

/* Without the broker. `spare` is the slot whose slack is already counted by the caller. */
static bool fund_from_account(const struct gather *g, uint32_t target, uint32_t spare, uint32_t pages)
{
	struct ledger *l = g->ledger;
	if (transfer_fund(l, g->slot, target, pages))
		return true;
	return sweep(g, spare, pages) && transfer_fund(l, g->slot, target, pages);
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

/* A grant that stands at the limit cannot grow; then silence of the broker is not why. */
static enum refusal_reason reason_for(const struct ledger *l, enum refusal_reason said)
{
	uint32_t granted = PURSE_GRANTED(purse_read(&l->header.purse));
	return said == REASON_BROKER && granted >= l->header.limit ? REASON_LIMIT : said;
}

enum refusal_reason gather_take(const struct gather *g, uint64_t pages)
{
	struct ledger *l = g->ledger;
	struct purse *own = &l->slot[g->slot].purse;
	if (pages > PAGES_MAX)
		return REASON_LIMIT;
	for (int asked = 0;; asked++) {
		/* A sibling may sweep our slack at any moment, so look, fund and take again. */
		for (int tries = 0; tries < 16; tries++) {
			if (purse_take(own, (uint32_t)pages))
				return REASON_NONE;
			uint32_t missing = (uint32_t)pages - purse_headroom(purse_read(own));
			if (missing > (uint32_t)pages) /* it came back meanwhile */
				continue;
			bool batch = missing <= PAGES_MAX - GATHER_BATCH &&
				     transfer_fund(l, g->slot, g->slot, missing + GATHER_BATCH);
			if (!batch && !fund_from_account(g, g->slot, g->slot, missing))
				break;
		}
		uint32_t headroom = purse_headroom(purse_read(own));
		if (headroom >= pages)
			continue;
		if (asked == ASK_TRIES)
			return reason_for(l, REASON_LIMIT);
		enum refusal_reason reason = broker_ask(g, (uint32_t)pages - headroom);
		if (reason != REASON_NONE)
			return purse_take(own, (uint32_t)pages) ? REASON_NONE : reason_for(l, reason);
	}
}

enum refusal_reason gather_fund(const struct gather *g, uint32_t embryo, uint64_t pages)
{
	if (pages > PAGES_MAX)
		return REASON_LIMIT;
	for (int asked = 0;; asked++) {
		/* Nobody's slack is spared here, our own neither. */
		if (fund_from_account(g, embryo, LEDGER_SLOTS, (uint32_t)pages))
			return REASON_NONE;
		if (asked == ASK_TRIES)
			return reason_for(g->ledger, REASON_LIMIT);
		enum refusal_reason reason = broker_ask(g, (uint32_t)pages);
		if (reason != REASON_NONE)
			return reason_for(g->ledger, reason);
	}
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
