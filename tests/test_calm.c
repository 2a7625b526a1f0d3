/* SPDX-License-Identifier: MIT */
/* How often the broker looks around: often while somebody comes or goes, seldom when nothing
 * moves; and who rings while it sleeps long knows that he must knock. */
#include <pthread.h>

#include "tests/broker_fixture.h"

static struct peer_member member;

static void begin(void)
{
	broker_begin("account a { limit = 64M }\n");
	audit_stop(&b);
}

TestSuite(calm, .timeout = 30, .init = begin);

/* What a member does in a thread of its own, for the broker must be turned meanwhile; in a child
 * that ends at once it would not be a member any more. */
static void meanwhile(void *(*act)(void *))
{
	pthread_t thread;
	void *result;
	cr_assert(pthread_create(&thread, NULL, act, NULL) == 0);
	while (pthread_tryjoin_np(thread, &result) != 0)
		turn();
	cr_assert(result == NULL);
}

static void *join(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)peer_join(door_name, "a", &member);
}

static void *take(void *arg)
{
	(void)arg;
	return (void *)(intptr_t)peer_take(&member, 10);
}

/* As if nothing had happened for so long, and the tick were due. */
static void rest(uint64_t ns)
{
	b.now_ns = clock_ns(CLOCK_MONOTONIC);
	b.busy_ns = b.now_ns - ns;
	b.tick_ns = b.now_ns - ns;
	broker_tick(&b);
}

static uint64_t sleeps_ns(void)
{
	return broker_next_ns(&b) - b.tick_ns;
}

Test(calm, the_rate_follows_what_happens)
{
	meanwhile(join);
	const struct ledger *l = account("a")->ledger;
	rest(0);
	cr_assert(!embryo_bell_is_unheard(l) && sleeps_ns() <= TICK_NS);
	rest(2 * CALM_NS);
	rest(2 * CALM_NS);
	cr_assert(embryo_bell_is_unheard(l) && sleeps_ns() > QUIET_TICK_NS && sleeps_ns() <= CALM_TICK_NS);
	/* Its charge moves: nobody came or went, but somebody may have to be warned. */
	meanwhile(take);
	rest(2 * CALM_NS);
	cr_assert(!embryo_bell_is_unheard(l) && sleeps_ns() <= QUIET_TICK_NS);
	rest(2 * CALM_NS);
	cr_assert(embryo_bell_is_unheard(l));
}

Test(calm, a_knock_ends_it)
{
	meanwhile(join);
	const struct ledger *l = account("a")->ledger;
	rest(2 * CALM_NS);
	rest(2 * CALM_NS);
	cr_assert(embryo_bell_is_unheard(l));
	uint64_t births = l->header.births;
	int fd = peer_connect(door_name);
	cr_assert(fd >= 0 && close(fd) == 0);
	turn();
	cr_assert(b.peers.n == 0 && broker_next_ns(&b) <= b.tick_ns + TICK_NS);
	turn_until(!embryo_bell_is_unheard(l));
	cr_assert_eq(l->header.births, births);
}

/* What was rung before it fell asleep it has heard. */
Test(calm, the_bell_is_looked_at_after_it_was_said)
{
	meanwhile(join);
	struct account *a = account("a");
	rest(2 * CALM_NS);
	__atomic_fetch_add(&a->ledger->header.births, 1, __ATOMIC_SEQ_CST);
	rest(2 * CALM_NS);
	cr_assert_eq(a->births, a->ledger->header.births);
}

static uint64_t wakes_next_ns(void)
{
	b.now_ns = clock_ns(CLOCK_MONOTONIC);
	broker_tick(&b);
	return broker_next_ns(&b);
}

Test(calm, an_account_without_members_is_looked_for_by_its_control_group_only)
{
	b.unattached.next_ns = 0;
	cr_assert(wakes_next_ns() == NEVER);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M cgroup = \"/solvent-test\" }\n")) == 0);
	cr_assert(broker_next_ns(&b) <= b.now_ns + CALM_TICK_NS);
	turn_until(b.unattached.round > 0 && !b.unattached.walking);
	uint64_t next = broker_next_ns(&b), now = b.now_ns; /* of the last turn, however long ago that is */
	cr_assert(next > now && next <= now + UNATTACHED_NS + CALM_TICK_NS);
	b.unattached.hears = true;
	b.unattached.next_ns = now + UNATTACHED_CALM_NS;
	cr_assert(wakes_next_ns() >= now + UNATTACHED_CALM_NS - CALM_TICK_NS);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M }\n")) == 0);
	cr_assert(wakes_next_ns() == NEVER);
}
