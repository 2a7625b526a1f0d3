/* SPDX-License-Identifier: MIT */
/* An embryo that the broker gives up, and a broker that is killed when it has moved the slot and
 * not begun to reap it: what the next one makes of that. */
#include <setjmp.h>

#include "daemon/settle.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"

static jmp_buf killed;

static uint32_t no_reap(struct ledger *l, uint32_t s) __attribute__((noreturn));
static uint32_t no_reap(struct ledger *l, uint32_t s)
{
	(void)l;
	(void)s;
	longjmp(killed, 1);
}

#define member_reap no_reap
#define settle_account seized_account
#define settle_all seized_all
#define settle_deaths seized_deaths
#define settle_exec seized_exec
#define settle_empty seized_empty
#define account_is_vacant seized_is_vacant
void seized_account(struct broker *, struct account *, bool inherited);
void seized_all(struct broker *);
void seized_deaths(struct broker *);
void seized_exec(struct broker *, struct account *, uint32_t s);
void seized_empty(struct broker *, struct account *);
bool seized_is_vacant(const struct account *);
#include "daemon/settle.c"
#undef settle_all

#include "tests/broker_next.h"

#define CONFIG "account a { limit = 64M }"

enum { PAGES = 100 };

static void setup(void)
{
	broker_begin(CONFIG);
}

TestSuite(seized, .init = setup, .timeout = 30);

static void broker_dies(void)
{
	if (setjmp(killed) != 0)
		return;
	for (int i = 0; i < PATIENCE_TURNS; i++, pause_ms(1)) {
		b.now_ns = clock_ns(CLOCK_MONOTONIC);
		seized_all(&b);
	}
	cr_assert_fail("it gives nothing up");
}

/* Its parent says where it is so late that it has joined anew, into another slot. */
Test(seized, a_child_that_is_in_another_slot_is_not_in_this_one)
{
	struct peer_member p, c;
	pid_t parent = member("a", PAGES, &p), child = member("a", PAGES, &c);
	struct ledger *l = account("a")->ledger;
	struct gather g = { .ledger = l, .slot = p.slot, .generation = p.generation }; /* in its name */
	struct embryo e;
	cr_assert(embryo_conceive(&g, PAGES, &e) == REASON_NONE);
	embryo_born(l, g.slot, e, child);
	broker_dies();
	cr_assert_eq(SLOT_STATE(slot_read(l, e.slot)), SLOT_LIVE);
	embryo_born(l, g.slot, e, child); /* and later still */
	ledgers_leave();
	take_over(CONFIG);
	struct account *a = broker_find(&next, "a");
	cr_assert(!a->damaged && a->members == 2 && member_slot(a, registry_find(&next, a, child)) == c.slot);
	until(SLOT_STATE(slot_read(a->ledger, e.slot)) == SLOT_FREE, next_turns_ms);
	end_next(parent);
	end_next(child);
	cr_assert(!a->damaged && PURSE_USED(purse_read(&a->ledger->header.purse)) == 0);
}
