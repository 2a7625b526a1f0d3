/* SPDX-License-Identifier: MIT */
/* Between the arithmetic of the pool and the words of the ledgers: reads the table, asks
 * it, does what it says. Nobody else changes a grant. */
#include "daemon/funds.h"

#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/unseen.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"

/* The pool as it is now; one line for each place in the broker's table. */
struct table {
	struct pool pool;
	struct pool_account line[BOOKS_ACCOUNTS];
};

static void table_read(struct broker *b, struct table *t)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		struct account *a = &b->account[i];
		t->line[i] = a->ledger ? account_in_pool(a) : (struct pool_account){ 0 };
	}
	t->pool = (struct pool){ .limit = b->config.pool, .accounts = BOOKS_ACCOUNTS, .account = t->line };
}

uint64_t funds_promised(struct broker *b)
{
	struct table t;
	table_read(b, &t);
	return pool_promised(&t.pool);
}

/* Takes up to `pages` of idle grant back from accounts other than `i`. */
static uint64_t reclaim(struct broker *b, const struct table *t, uint32_t i, uint64_t pages)
{
	uint64_t taken = 0;
	for (uint32_t j = 0; j < BOOKS_ACCOUNTS && taken < pages; j++) {
		uint64_t n = min_u64(pages - taken, j == i ? 0 : pool_reclaimable(&t->line[j]));
		if (n > 0)
			taken += account_reclaim(&b->account[j], (uint32_t)n);
	}
	return taken;
}

/* As much, or nothing. */
static bool reclaim_all(struct broker *b, const struct table *t, uint32_t i, uint64_t pages)
{
	uint64_t there = 0;
	for (uint32_t j = 0; j < BOOKS_ACCOUNTS; j++)
		there += j == i ? 0 : pool_reclaimable(&t->line[j]);
	return there >= pages && reclaim(b, t, i, pages) >= pages;
}

/* What an account would count for less if its members' idle slack were its own. */
static uint64_t slack_of(const struct pool_account *line, const struct account *a)
{
	struct pool_account without = *line;
	without.used = (uint32_t)min_u64(line->used, ledger_used(a->ledger));
	return line->observe ? pool_share(line) - pool_share(&without) :
			       pool_reclaimable(&without) - pool_reclaimable(line);
}

/* Makes that so where it helps account `i`, which misses so many pages. */
static void slack_gather(struct broker *b, const struct table *t, uint32_t i, uint64_t missing)
{
	for (uint32_t j = 0; j < BOOKS_ACCOUNTS; j++) {
		struct account *a = &b->account[j];
		uint64_t pages = j == i || !a->ledger || a->damaged ? 0 : slack_of(&t->line[j], a);
		if (pages > 0)
			unseen_sweep(b, a, min_u64(pages, missing));
	}
}

static enum refusal_reason decide_now(struct broker *b, struct table *t, uint32_t i, uint64_t need,
				      uint32_t *ret_pages, uint64_t *ret_missing)
{
	table_read(b, t);
	return pool_extend(&t->pool, i, need, ret_pages, ret_missing); /* model: decide */
}

/* Decides and, where the pool is short, makes room and decides again: from idle grant, and when
 * that is not enough from idle slack, too. */
static enum refusal_reason decide(struct broker *b, uint32_t i, uint64_t need, uint32_t *ret_pages)
{
	struct table t;
	uint64_t missing = 0;
	enum refusal_reason reason = decide_now(b, &t, i, need, ret_pages, &missing);
	if (reason == REASON_POOL && !reclaim_all(b, &t, i, missing)) {
		slack_gather(b, &t, i, missing);
		reason = decide_now(b, &t, i, need, ret_pages, &missing);
		if (reason == REASON_POOL && !reclaim_all(b, &t, i, missing))
			return reason;
	}
	return reason == REASON_POOL ? decide_now(b, &t, i, need, ret_pages, &missing) : reason;
}

enum refusal_reason funds_extend(struct broker *b, struct account *a, uint32_t asked, uint32_t *ret_pages)
{
	uint32_t headroom = purse_headroom(purse_read(&a->ledger->header.purse)), pages;
	if (headroom >= asked) {
		*ret_pages = 0;
		return REASON_NONE;
	}
	enum refusal_reason reason = decide(b, (uint32_t)(a - b->account), asked - headroom, &pages);
	if (reason != REASON_NONE)
		return reason;
	if (!account_grant(a, pages)) {
		damage_found(b, a, "its grant is not what the broker wrote");
		return REASON_LIMIT;
	}
	*ret_pages = pages;
	return REASON_NONE;
}

/* A raised guarantee is paid from what is free, and from what others hold and do not use; the
 * rest when they give it up. In observe mode a grant is not a promise. */
static void guarantee_raise(struct broker *b, struct table *t, uint32_t i, uint64_t missing)
{
	uint64_t room = pool_room(&t->pool, i);
	if (!t->line[i].observe && room < missing && reclaim(b, t, i, missing - room) > 0) {
		table_read(b, t);
		room = pool_room(&t->pool, i);
	}
	account_grant(&b->account[i], (uint32_t)(t->line[i].observe ? missing : min_u64(missing, room)));
}

static void grant_shrink(struct broker *b, struct account *a, uint32_t pages)
{
	if (!a->damaged && purse_headroom(purse_read(&a->ledger->header.purse)) < pages)
		unseen_sweep(b, a, pages);
	account_reclaim(a, pages);
}

void funds_settle(struct broker *b, struct account *a)
{
	struct table t;
	uint32_t i = (uint32_t)(a - b->account);
	table_read(b, &t);
	uint32_t target = pool_target(&t.line[i]);
	if (target > a->granted)
		guarantee_raise(b, &t, i, target - a->granted);
	else if (target < a->granted)
		grant_shrink(b, a, a->granted - target);
	a->unsettled = a->granted != target;
}
