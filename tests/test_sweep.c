/* SPDX-License-Identifier: MIT */
/* A sweep of an empty ledger that is cut short at every one of its steps: whoever comes next
 * can still be told to have done a step or not. As in tests/test_transfer.c the crash points
 * are longjmps. */
#include <criterion/criterion.h>

#include "tests/crash_jump.h"
#include "tests/ledger_made.h"

#define ledger_create crash_create
#define ledger_map crash_map
#define ledger_unmap crash_unmap
#define ledger_is_sound crash_is_sound
#define ledger_format crash_format
#define ledger_sweep crash_sweep
#define ledger_used crash_used
#include "reserve/ledger.c"

#include "reserve/reap.h"
#include "reserve/transfer.h"

TestSuite(sweep, .timeout = 60);

enum { A, B, GRANT = 1000 };

static struct ledger *l;

/* Two came, signed for pages in the account's purse and in each other's, and are gone. */
static void scene(void)
{
	memset(l, 0, sizeof *l);
	l->header.purse.word = PURSE(GRANT, 0);
	for (uint32_t s = A; s <= B; s++)
		cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)s);
	for (int i = 0; i < 10; i++) {
		cr_assert(transfer_fund(l, A, A, 10) && transfer_fund(l, B, B, 10));
		cr_assert_eq(transfer_return(l, A, B, 5), 5);
		cr_assert_eq(transfer_return(l, B, A, 5), 5);
	}
	member_reap(l, B);
	member_reap(l, A);
	cr_assert_eq(l->header.purse.word, PURSE(GRANT, 0));
}

static bool dies_at(int n)
{
	crash_countdown = n;
	if (setjmp(crash_to) != 0)
		return true;
	ledger_sweep(l, SIGNATURE(SIGNATURE_BROKER_SLOT, 1));
	crash_countdown = 0;
	return false;
}

/* `s` pays for pages of its own and is killed before it has them. */
static void fund_and_die(uint32_t s, uint32_t pages)
{
	struct slot *me = &l->slot[s];
	me->intent_step = me->step + 1;
	me->step += 2;
	me->intent_pages = pages;
	me->intent_target = s;
	me->intent_op = INTENT_FUND;
	struct purse_change more = { .used = pages };
	cr_assert(purse_transfer(&l->header.purse, more, SIGNATURE(s, me->intent_step), l));
}

static void live_again(int n)
{
	for (uint32_t s = A; s <= B; s++)
		cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)s);
	for (uint32_t s = A; s <= B; s++) {
		uint32_t other = A + B - s;
		cr_assert(transfer_fund(l, other, other, 10));
		cr_assert(transfer_fund(l, other, s, 10));
		fund_and_die(s, 30);
		transfer_settle(l, s);
		cr_assert_eq(PURSE_USED(l->header.purse.word), 20, "cut at %d: %u", n, PURSE_USED(l->header.purse.word));
		cr_assert_eq(transfer_reap(l, other, s), 10);
		cr_assert_eq(transfer_reap(l, other, other), 10);
	}
}

Test(sweep, cut_anywhere_leaves_no_step_that_counts_as_done)
{
	int n = 1;
	l = ledger_made();
	for (bool died = true; died; n++) {
		scene();
		died = dies_at(n);
		crash_countdown = 0;
		live_again(n);
	}
	cr_assert(n > 2 * B, "only %d deaths", n);
	free(l);
}
