/* SPDX-License-Identifier: MIT */
/* What holds the parts together: the table of accounts against the configuration, and
 * what has to be done without being asked. */
#include "daemon/broker.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/alert.h"
#include "daemon/audit.h"
#include "daemon/births.h"
#include "daemon/credit.h"
#include "daemon/damage.h"
#include "daemon/funds.h"
#include "daemon/log.h"
#include "daemon/settle.h"
#include "daemon/sysv.h"
#include "reserve/purse.h"

uint64_t clock_ns(int clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

int broker_init(struct broker *b)
{
	purse_patience(PURSE_TRIES);
	b->uid = geteuid();
	killer_init(&b->killer, false, -1);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		b->account[i].member = b->member[i];
	b->start_ns = clock_ns(CLOCK_REALTIME);
	b->now_ns = clock_ns(CLOCK_MONOTONIC);
	int error = registry_init(&b->registry);
	return error ? error : books_create(&b->books_fd, &b->books);
}

struct account *broker_find(struct broker *b, const char *name)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b->account[i].ledger && strcmp(b->account[i].name, name) == 0)
			return &b->account[i];
	return NULL;
}

static const struct config_account *configured(const struct config *c, const char *name)
{
	for (uint32_t i = 0; i < c->accounts; i++)
		if (strcmp(c->account[i].name, name) == 0)
			return &c->account[i];
	return NULL;
}

static int account_place(struct broker *b)
{
	for (int i = 0; i < (int)BOOKS_ACCOUNTS; i++)
		if (!b->account[i].ledger)
			return i;
	return -ENOSPC;
}

static int account_configure(struct broker *b, const struct config_account *c)
{
	struct account *a = broker_find(b, c->name);
	if (!a) {
		int place = account_place(b);
		int error = place < 0 ? place : account_create(&b->account[place], &b->books->book[place], c->name,
							       &c->policy);
		if (error) {
			log_error("account \"%s\" could not be made: %s", c->name, strerror(-error));
			return error;
		}
		a = &b->account[place];
		b->places = (uint32_t)max_u64(b->places, (uint64_t)place + 1);
		b->keeper_stale = true;
	}
	a->retired = false;
	a->admission = c->admission;
	a->warning = c->warning;
	account_set_policy(a, &c->policy);
	if (a->policy.fork_percent == 100)
		credit_leave(b, a);
	a->unsettled = true;
	return 0;
}

static void account_end(struct broker *b, struct account *a)
{
	damage_forget(a);
	if (b->gone < BOOKS_ACCOUNTS)
		b->gone_inode[b->gone++] = a->inode;
	account_forget(a);
	b->keeper_stale = true;
}

/* An account without a configuration goes when its last member has gone. */
static void account_retire(struct broker *b, struct account *a)
{
	if (!a->retired)
		log_notice("account \"%s\" is no longer configured%s", a->name,
			   a->members > 0 ? "; it stays until its members are gone" : "");
	a->retired = true;
	if (!a->damaged && account_is_vacant(a))
		account_end(b, a);
}

int broker_configure(struct broker *b, const struct config *config)
{
	int result = 0;
	b->config = *config;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b->account[i].ledger && !configured(config, b->account[i].name))
			account_retire(b, &b->account[i]);
	for (uint32_t i = 0; i < config->accounts; i++) {
		int error = account_configure(b, &config->account[i]);
		result = result ? result : error;
	}
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b->account[i].ledger && b->account[i].unsettled && !b->account[i].damaged)
			funds_settle(b, &b->account[i]);
	killer_configure(b);
	return result;
}

/* Once a second. */
static void account_slow(struct broker *b, struct account *a)
{
	if (a->retired)
		account_retire(b, a);
	if (!a->ledger || a->damaged)
		return;
	if (a->unsettled)
		funds_settle(b, a);
	if (a->warned)
		alert_heaps(a);
	if (a->unchecked)
		settle_empty(b, a);
	if (!a->damaged && PURSE_USED(purse_read(&a->ledger->header.purse)) > 0)
		sysv_release(a);
	damage_absent(b, a);
}

bool is_due(uint64_t now, uint64_t *last, uint64_t every)
{
	if (now - *last < every)
		return false;
	*last = now;
	return true;
}

static bool has_unfinished(const struct account *a)
{
	return a->dying > 0 || a->doubts > 0 || a->orphans > 0;
}

static bool has_life(const struct account *a)
{
	return a->members > 0 || has_unfinished(a) || (!a->damaged && births_have_rung(a));
}

/* Does its charge move, or is there somebody whose death only looking will show? */
static bool is_restless(const struct account *a)
{
	return has_unfinished(a) || a->polled > 0 ||
	       (!a->damaged && a->counted != PURSE_USED(purse_read(&a->ledger->header.purse)));
}

static bool is_busy(const struct broker *b)
{
	return b->now_ns - b->busy_ns < CALM_NS;
}

static uint64_t tick_every(const struct broker *b)
{
	if (is_busy(b))
		return TICK_NS;
	for (uint32_t i = 0; i < b->places; i++)
		if (b->account[i].ledger && is_restless(&b->account[i]))
			return QUIET_TICK_NS;
	return CALM_TICK_NS;
}

/* Written before the bell is looked at: who rings it later reads this, and knocks. */
static void calm_say(const struct broker *b, struct account *a)
{
	uint32_t calm = b->every_ns == CALM_TICK_NS;
	if (!a->damaged && __atomic_load_n(&a->ledger->header.calm, __ATOMIC_RELAXED) != calm)
		__atomic_store_n(&a->ledger->header.calm, calm, __ATOMIC_SEQ_CST);
}

/* Every 25 ms while there are members and something happens. */
static void account_tick(struct broker *b, struct account *a)
{
	calm_say(b, a);
	if (a->polled > 0)
		registry_poll(b, a);
	if (!damage_absent(b, a) || births_are_due(a) || a->dying > 0)
		settle_account(b, a, false);
	if (!a->damaged)
		alert_budget(b, a);
	if (!a->damaged)
		a->counted = PURSE_USED(purse_read(&a->ledger->header.purse));
}

/* Whoever came or went, or knocked, is looked after at once, and what was begun is gone on with. */
static uint64_t tick_next(const struct broker *b)
{
	uint64_t every = is_busy(b) ? TICK_NS : b->every_ns;
	return b->tick_ns + (b->unattached.walking ? min_u64(every, QUIET_TICK_NS) : every);
}

static bool tick_is_due(struct broker *b)
{
	if (b->now_ns < tick_next(b))
		return false;
	b->tick_ns = b->now_ns;
	b->every_ns = tick_every(b);
	return true;
}

void broker_tick(struct broker *b)
{
	bool tick = tick_is_due(b);
	bool slow = is_due(b->now_ns, &b->slow_ns, tick ? SLOW_NS - early_by(SLOW_NS) : SLOW_NS);
	bool look = is_due(b->now_ns, &b->look_ns, LOOK_NS);
	for (uint32_t i = 0; i < b->places; i++) {
		struct account *a = &b->account[i];
		if (a->ledger && tick && has_life(a))
			account_tick(b, a);
		if (a->ledger && look && a->damaged)
			damage_look(b, a);
		if (a->ledger && slow)
			account_slow(b, a);
	}
	if (tick) {
		credit_tick(b);
		audit_tick(b);
		unattached_tick(b);
	}
	credit_turn(b);
	killer_tick(b);
	audit_turn(b);
	peers_expire(b);
}

/* An idle account needs no looking after, unless something of it is still charged. */
static bool needs_slow(const struct account *a)
{
	if (a->retired || a->unsettled || (a->unchecked && a->members == 0))
		return true;
	return !a->damaged && PURSE_USED(purse_read(&a->ledger->header.purse)) > 0;
}

uint64_t broker_next_ns(const struct broker *b)
{
	uint64_t next = min_u64(peers_next_ns(&b->peers), min_u64(killer_next_ns(b), credit_next_ns(b)));
	/* Done by the tick. */
	next = min_u64(next, max_u64(unattached_next_ns(b), tick_next(b)));
	for (uint32_t i = 0; i < b->places; i++) {
		const struct account *a = &b->account[i];
		if (!a->ledger)
			continue;
		if (has_life(a))
			next = min_u64(next, tick_next(b));
		if (a->damaged)
			next = min_u64(next, b->look_ns + LOOK_NS);
		if (needs_slow(a))
			next = min_u64(next, b->slow_ns + SLOW_NS);
	}
	return next;
}
