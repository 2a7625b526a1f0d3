/* SPDX-License-Identifier: MIT */
/* What is found of a member that is too large to be counted in full: any number the kernel says. */
#define audit_tick far_tick
#define audit_turn far_turn
#define audit_goes_on far_goes_on
#define audit_slot far_slot
#include "daemon/audit.c"

#include "tests/broker_fixture.h"

TestSuite(suspect, .timeout = 20);

/* A member that is larger than those who are counted, and what the kernel says of it. */
static uint32_t large_member(struct account *a)
{
	uint32_t s = (uint32_t)slot_claim(a->ledger, SLOT_LIVE, 0);
	a->member[s] = (struct member){ .pidfd = -1, .statm = -1, .life = MEMBER_WATCHED, .counted = true };
	return s;
}

static uint64_t owed_after(struct account *a, uint32_t s, int64_t apart)
{
	struct look look = { .low = apart, .high = apart, .resident = AUDIT_LARGE_PAGES + 1 };
	member_suspect(&b, a, s, &look);
	return owed(&a->member[s]);
}

Test(suspect, more_than_can_be_said_is_the_most_that_can)
{
	broker_begin("account a { limit = 64M }");
	struct account *a = account("a");
	uint32_t s = large_member(a);
	owed_after(a, s, ((int64_t)1 << 32) + 5);
	cr_assert_eq(owed_after(a, s, ((int64_t)1 << 32) + 5), PAGES_MAX);
	cr_assert(!a->damaged);
}

/* The second look at each is what is believed: what was there at both. */
Test(suspect, of_a_large_member_only_what_is_there_twice_is_believed)
{
	static const struct {
		int64_t apart;
		uint64_t owed;
	} looks[] = {
		{ 100, 0 },   { 100, 100 }, { 100, 100 }, /* there, and stays */
		{ 500, 100 }, { 100, 100 },               /* there once */
		{ 500, 100 }, { 300, 300 },               /* less of it the second time */
		{ 400, 300 }, { 600, 400 }, { 600, 600 }, /* more of it the second time */
	};
	broker_begin("account a { limit = 64M }");
	struct account *a = account("a");
	uint32_t s = large_member(a);
	for (size_t i = 0; i < ARRAY_N(looks); i++)
		cr_assert_eq(owed_after(a, s, looks[i].apart), looks[i].owed, "look %zu: %lu", i,
			     (unsigned long)owed(&a->member[s]));
}
