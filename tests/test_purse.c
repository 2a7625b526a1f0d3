/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "reserve/purse.h"
#include "tests/ledger_made.h"

TestSuite(purse, .timeout = 20);

Test(purse, takes_up_to_the_grant_and_not_a_page_more)
{
	struct purse p = { .word = PURSE(10, 0) };
	cr_assert(purse_take(&p, 7));
	cr_assert(!purse_take(&p, 4));
	cr_assert(purse_take(&p, 3));
	cr_assert(!purse_take(&p, 1));
	cr_assert_eq(p.word, PURSE(10, 10));
}

Test(purse, takes_nothing_from_nothing)
{
	struct purse p = { .word = 0 };
	cr_assert(purse_take(&p, 0));
	cr_assert(!purse_take(&p, 1));
}

Test(purse, holds_the_largest_quantity)
{
	struct purse p = { .word = PURSE(PAGES_MAX, 0) };
	cr_assert(purse_take(&p, PAGES_MAX));
	cr_assert(!purse_take(&p, 1));
	purse_give(&p, PAGES_MAX);
	cr_assert_eq(p.word, PURSE(PAGES_MAX, 0));
}

Test(purse, giving_more_than_used_stops_at_zero)
{
	struct purse p = { .word = PURSE(10, 3) };
	purse_give(&p, 5);
	cr_assert_eq(p.word, PURSE(10, 0));
}

Test(purse, refuses_to_take_from_a_word_that_is_nonsense)
{
	struct purse p = { .word = PURSE(3, 9) };
	cr_assert(!purse_take(&p, 1));
	cr_assert_eq(purse_headroom(p.word), 0);
}

/* {granted, used} before, change, allowed, {granted, used} after */
static const struct {
	const char *name;
	uint32_t granted, used;
	int64_t by_granted, by_used;
	bool allowed;
	uint64_t after;
} changes[] = {
	{ "grant more", 10, 4, 5, 0, true, PURSE(15, 4) },
	{ "grant less, down to used", 10, 4, -6, 0, true, PURSE(4, 4) },
	{ "grant less than used", 10, 4, -7, 0, false, PURSE(10, 4) },
	{ "use the rest", 10, 4, 0, 6, true, PURSE(10, 10) },
	{ "use one too many", 10, 4, 0, 7, false, PURSE(10, 4) },
	{ "use less than nothing", 10, 4, 0, -5, false, PURSE(10, 4) },
	{ "both down", 10, 4, -4, -4, true, PURSE(6, 0) },
	{ "both up", 10, 4, 4, 4, true, PURSE(14, 8) },
	{ "past the largest", PAGES_MAX, 0, 1, 0, false, PURSE(PAGES_MAX, 0) },
};

Test(purse, transfers_keep_used_within_granted)
{
	struct ledger *l = ledger_made();
	for (size_t i = 0; i < ARRAY_N(changes); i++) {
		struct purse p = { .word = PURSE(changes[i].granted, changes[i].used), .by = 7 };
		struct purse_change change = { changes[i].by_granted, changes[i].by_used };
		bool done = purse_transfer(&p, change, SIGNATURE(3, 99), l);
		cr_assert_eq(done, changes[i].allowed, "%s", changes[i].name);
		cr_assert_eq(p.word, changes[i].after, "%s", changes[i].name);
		cr_assert_eq(p.by, done ? SIGNATURE(3, 99) : 7, "%s", changes[i].name);
	}
	free(l);
}

Test(purse, a_signature_is_confirmed_before_it_is_replaced)
{
	struct ledger *l = ledger_made();
	struct purse p = { .word = PURSE(10, 0) };
	struct purse_change one = { .granted = 1 };
	cr_assert(!purse_was_signed(&p, SIGNATURE(5, 41), l));
	cr_assert(purse_transfer(&p, one, SIGNATURE(5, 41), l));
	cr_assert(purse_was_signed(&p, SIGNATURE(5, 41), l));
	cr_assert_eq(l->slot[5].confirmed, 0);
	cr_assert(purse_transfer(&p, one, SIGNATURE(6, 1), l));
	cr_assert_eq(l->slot[5].confirmed, 41);
	cr_assert(purse_was_signed(&p, SIGNATURE(5, 41), l));
	cr_assert(!purse_was_signed(&p, SIGNATURE(5, 42), l));
	free(l);
}

Test(purse, the_brokers_signature_confirms_nowhere)
{
	struct ledger *l = ledger_made();
	struct purse p = { .word = PURSE(10, 0), .by = SIGNATURE(SIGNATURE_BROKER_SLOT, 3) };
	struct purse_change one = { .granted = 1 };
	cr_assert(purse_transfer(&p, one, SIGNATURE(0, 1), l));
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		cr_assert_eq(l->slot[s].confirmed, 0);
	free(l);
}
