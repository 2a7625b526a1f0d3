/* SPDX-License-Identifier: MIT */
/* Transfers, and the death of the actor at every point of every one of them. The crash
 * points of reserve/transfer.c become longjmps here: what has been stored stays stored,
 * nothing after it happens, as with SIGKILL. Then the settlement is cut at every one of
 * its own points too, and run again. */
#include <criterion/criterion.h>

#include "tests/crash_jump.h"
#include "tests/ledger_made.h"

#define transfer_fund crash_fund
#define transfer_charge crash_charge
#define transfer_return crash_return
#define transfer_to_object crash_to_object
#define transfer_from_object crash_from_object
#define transfer_shrink_object crash_shrink_object
#define transfer_reap crash_reap
#define transfer_shrink crash_shrink
#define transfer_settle crash_settle
#include "reserve/transfer.c"

#include "reserve/ledger.h"

TestSuite(transfer, .timeout = 60);

/* A is not the number of an object: nothing may take its slot for one. */
enum { A = LEDGER_SLOTS - 3, B = 7, OBJECT = 2, GRANT = 1000 };

static void scene_set(struct ledger *l)
{
	memset(l, 0, sizeof *l);
	l->header.purse.word = PURSE(GRANT, 0);
	l->slot[A].state = SLOT_WORD(0, 0, SLOT_LIVE);
	l->slot[B].state = SLOT_WORD(0, 0, SLOT_LIVE);
	crash_countdown = 0;
	cr_assert(crash_fund(l, A, A, 100));
	cr_assert(crash_fund(l, B, B, 200));
	cr_assert(purse_take(&l->slot[A].purse, 40));
	cr_assert(purse_take(&l->slot[B].purse, 50));
	cr_assert(purse_take(&l->slot[A].purse, 10));
	cr_assert(crash_to_object(l, A, OBJECT, 0, 10));
}

/* What the account's purse says its children hold, less what they do hold. */
static int64_t in_flight(const struct ledger *l)
{
	int64_t sum = PURSE_USED(l->header.purse.word);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		sum -= PURSE_GRANTED(l->slot[s].purse.word);
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		sum -= PURSE_GRANTED(l->object[o].purse.word);
	return sum;
}

static void do_fund(struct ledger *l) { crash_fund(l, A, A, 30); }
static void do_fund_embryo(struct ledger *l) { crash_fund(l, A, 9, 30); }
static void do_fund_too_much(struct ledger *l) { crash_fund(l, A, A, GRANT); }
static void do_charge(struct ledger *l) { crash_charge(l, A, A, 30); }
static void do_return(struct ledger *l) { crash_return(l, A, A, 20); }
static void do_return_sibling(struct ledger *l) { crash_return(l, A, B, 120); }
static void do_to_object(struct ledger *l) { crash_to_object(l, A, OBJECT, 10, 25); }
static void do_late_to_object(struct ledger *l) { crash_to_object(l, A, OBJECT, 9, 25); }
static void do_from_object(struct ledger *l) { crash_from_object(l, A, OBJECT); }
static void do_shrink_object(struct ledger *l) { crash_shrink_object(l, A, OBJECT, PAGES_MAX, 4); }
static void do_reap(struct ledger *l) { crash_reap(l, A, A); }
static void do_shrink(struct ledger *l) { crash_shrink(l, A, A, 15); }

static const struct {
	const char *name;
	void (*act)(struct ledger *l);
} acts[] = {
	{ "fund", do_fund },
	{ "fund an embryo", do_fund_embryo },
	{ "fund more than there is", do_fund_too_much },
	{ "charge in one step", do_charge },
	{ "return own slack", do_return },
	{ "return a sibling's slack", do_return_sibling },
	{ "charge an object", do_to_object },
	{ "uncharge an object", do_from_object },
	{ "uncharge a part of an object", do_shrink_object },
	{ "charge an object that another has", do_late_to_object },
	{ "reap", do_reap },
	{ "reap a part", do_shrink },
};

/* Runs `act` and dies at its n-th point. False: it ended before. */
static bool dies_at(struct ledger *l, void (*act)(struct ledger *), int n)
{
	crash_countdown = n;
	if (setjmp(crash_to) != 0)
		return true;
	act(l);
	crash_countdown = 0;
	return false;
}

/* Another member transfers over the dead one's signatures, on every purse it may have
 * signed: they must be confirmed, not lost. */
static void bystander_acts(struct ledger *l)
{
	crash_countdown = 0;
	crash_fund(l, B, B, 1);
	crash_return(l, B, A, 1);
	crash_return(l, B, B, 1);
}

static void do_settle(struct ledger *l) { crash_settle(l, A); }
static void do_settle_high(struct ledger *l) { crash_settle(l, LEDGER_SLOTS - 1); }
static void do_to_object_high(struct ledger *l) { crash_to_object(l, LEDGER_SLOTS - 1, OBJECT, 10, 25); }

static void check_settled(struct ledger *l, const char *name, int n, int m)
{
	cr_assert_eq(in_flight(l), 0, "%s, died at %d, settlement at %d: %ld pages in flight", name, n, m,
		     (long)in_flight(l));
	cr_assert_eq(l->slot[A].intent_op, INTENT_NONE, "%s %d %d", name, n, m);
}

Test(transfer, every_transfer_alone_balances)
{
	struct ledger *l = ledger_made();
	for (size_t i = 0; i < ARRAY_N(acts); i++) {
		scene_set(l);
		acts[i].act(l);
		check_settled(l, acts[i].name, 0, 0);
	}
	free(l);
}

Test(transfer, no_death_at_any_point_loses_or_leaks_a_page)
{
	struct ledger *l = ledger_made();
	int deaths = 0;
	for (size_t i = 0; i < ARRAY_N(acts); i++)
		for (int bystander = 0; bystander < 2; bystander++)
			for (int n = 1;; n++) {
				scene_set(l);
				if (!dies_at(l, acts[i].act, n))
					break;
				cr_assert(in_flight(l) >= 0, "%s at %d: a child holds what was not debited",
					  acts[i].name, n);
				if (bystander)
					bystander_acts(l);
				crash_countdown = 0;
				crash_settle(l, A);
				check_settled(l, acts[i].name, n, 0);
				deaths++;
			}
	cr_assert(deaths >= 60, "only %d deaths tried", deaths);
	free(l);
}

/* Dies at n in the act and at m in the settlement, then settles again. False: the
 * settlement had no m-th point. */
static bool settles_twice(struct ledger *l, void (*act)(struct ledger *), int n, int m, bool bystander)
{
	scene_set(l);
	dies_at(l, act, n);
	bool died = dies_at(l, do_settle, m);
	if (bystander)
		bystander_acts(l);
	crash_countdown = 0;
	crash_settle(l, A);
	return died;
}

Test(transfer, a_settlement_cut_anywhere_is_finished_by_the_next)
{
	struct ledger *l = ledger_made();
	int deaths = 0;
	for (size_t i = 0; i < ARRAY_N(acts); i++)
		for (int n = 1;; n++) {
			scene_set(l);
			if (!dies_at(l, acts[i].act, n))
				break;
			for (int m = 1, more = 1; more; m++) {
				more = settles_twice(l, acts[i].act, n, m, false);
				check_settled(l, acts[i].name, n, m);
				settles_twice(l, acts[i].act, n, m, true);
				check_settled(l, acts[i].name, n, m);
				deaths += more;
			}
		}
	cr_assert(deaths >= 60, "only %d deaths tried", deaths);
	free(l);
}

/* A slot may have a number that no object has. */
Test(transfer, a_settlement_cut_anywhere_is_finished_whatever_the_slots_number)
{
	enum { HIGH = LEDGER_SLOTS - 1 };
	struct ledger *l = ledger_made();
	int deaths = 0;
	for (int n = 1, acted = 1; acted; n++)
		for (int m = 1, more = 1; more; m++) {
			scene_set(l);
			cr_assert(crash_fund(l, HIGH, HIGH, 50) && purse_take(&l->slot[HIGH].purse, 50));
			acted = dies_at(l, do_to_object_high, n);
			more = dies_at(l, do_settle_high, m);
			crash_countdown = 0;
			crash_settle(l, HIGH);
			cr_assert_eq(in_flight(l), 0, "died at %d, settlement at %d: %ld in flight", n, m,
				     (long)in_flight(l));
			deaths += more;
		}
	cr_assert(deaths >= 10, "only %d deaths tried", deaths);
	free(l);
}

Test(transfer, an_object_keeps_what_it_is_told_to_keep)
{
	struct ledger *l = ledger_made();
	scene_set(l);
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, PAGES_MAX, 10), 0, "it has no more");
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, PAGES_MAX, 11), 0);
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, PAGES_MAX, 4), 6);
	cr_assert_eq(l->object[OBJECT].purse.word, PURSE(4, 4));
	cr_assert_eq(PURSE_USED(l->header.purse.word), 100 + 200 - 6);
	check_settled(l, "shrink", 0, 0);
	cr_assert_eq(crash_from_object(l, A, OBJECT), 4);
	free(l);
}

Test(transfer, an_object_loses_no_more_than_it_is_told_to_lose)
{
	struct ledger *l = malloc(sizeof *l);
	scene_set(l);
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, 3, 4), 3);
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, 5, 4), 3);
	cr_assert_eq(crash_shrink_object(l, A, OBJECT, 0, 0), 0);
	cr_assert_eq(l->object[OBJECT].purse.word, PURSE(4, 4));
	check_settled(l, "shrink by", 0, 0);
	free(l);
}

Test(transfer, what_an_object_had_got_already_is_the_accounts)
{
	struct ledger *l = malloc(sizeof *l);
	scene_set(l);
	uint32_t used = PURSE_USED(l->header.purse.word);
	cr_assert_not(crash_to_object(l, A, OBJECT, 9, 25));
	cr_assert_eq(l->object[OBJECT].purse.word, PURSE(10, 10));
	cr_assert_eq(PURSE_USED(l->header.purse.word), used - 25);
	check_settled(l, "too late", 0, 0);
	cr_assert(crash_to_object(l, A, OBJECT, 10, 15));
	cr_assert_eq(l->object[OBJECT].purse.word, PURSE(25, 25));
	cr_assert_not(crash_to_object(l, A, OBJECT, 25, 25), "it has none left");
	cr_assert_eq(l->object[OBJECT].purse.word, PURSE(25, 25));
	check_settled(l, "more", 0, 0);
	free(l);
}

/* What the broker holds for others is in use from the first moment to the last. */
Test(transfer, what_is_charged_in_one_step_is_never_slack)
{
	struct ledger *l = ledger_made();
	scene_set(l);
	cr_assert(crash_charge(l, A, 9, 30));
	cr_assert_eq(l->slot[9].purse.word, PURSE(30, 30));
	cr_assert_eq(crash_return(l, B, 9, 30), 0);
	cr_assert_eq(crash_shrink(l, A, 9, 30), 0, "it has no more");
	cr_assert_eq(crash_shrink(l, A, 9, 12), 18);
	cr_assert_eq(l->slot[9].purse.word, PURSE(12, 12));
	cr_assert_not(crash_charge(l, A, 9, GRANT));
	check_settled(l, "charge and shrink", 0, 0);
	free(l);
}

Test(transfer, an_embryos_slack_is_left_alone)
{
	struct ledger *l = ledger_made();
	scene_set(l);
	l->slot[9].state = SLOT_WORD(0, A + 1, SLOT_EMBRYO);
	cr_assert(crash_fund(l, A, 9, 30));
	cr_assert_eq(crash_return(l, B, 9, 30), 0);
	cr_assert_eq(l->slot[9].purse.word, PURSE(30, 0));
	free(l);
}

Test(transfer, nonsense_in_an_intent_is_closed_and_moves_nothing)
{
	struct ledger *l = ledger_made();
	for (uint64_t op = 0; op < 40; op++) {
		scene_set(l);
		uint64_t before = l->header.purse.word;
		l->slot[A].intent_op = op < 20 ? op : op * 0x123456789abcdefull;
		l->slot[A].intent_target = 0xffffffff - (uint32_t)op;
		l->slot[A].intent_pages = 77;
		l->slot[A].intent_step = l->slot[A].step + 5;
		crash_settle(l, A);
		cr_assert_eq(l->header.purse.word, before, "op %lu", op);
		cr_assert_eq(l->slot[A].intent_op, INTENT_NONE, "op %lu", op);
	}
	free(l);
}

/* Somebody writes to the ledger without end: the broker has patience, and only so much of it. */
Test(transfer, is_given_up_when_a_purse_never_holds_still)
{
	struct ledger *l = ledger_made();
	scene_set(l);
	purse_patience(100);
	crash_restless = &l->slot[B].purse.by;
	cr_assert_eq(crash_return(l, A, B, 120), 0);
	cr_assert_eq(crash_reap(l, A, B), 0);
	crash_restless = NULL;
	cr_assert(purse_gave_up(l));
	cr_assert(!purse_gave_up(l));
	cr_assert_eq(crash_return(l, A, B, 120), 120, "and is begun anew");
	cr_assert(!purse_gave_up(l) && in_flight(l) == 0);
	purse_patience(UINT32_MAX);
	free(l);
}
