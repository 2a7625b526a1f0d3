/* SPDX-License-Identifier: MIT */
/* What is found of a member that is too large to be counted in full, any number the kernel says; and how
 * often it is asked of one that has just come. */
#define audit_tick far_tick
#define audit_turn far_turn
#define audit_goes_on far_goes_on
#define audit_slot far_slot
#define count_quick scripted_quick
#define count_whole scripted_whole
#include "daemon/audit.c"

#include "tests/broker_fixture.h"

static uint32_t quick_n, whole_n;

int scripted_quick(int32_t pid, int fd, struct count *ret)
{
	(void)pid, (void)fd;
	quick_n++;
	*ret = (struct count){ .size = 200, .data = 100, .resident = 100 };
	return 0;
}

int scripted_whole(int32_t pid, uint64_t *ret_pages)
{
	(void)pid;
	whole_n++;
	*ret_pages = 0;
	return 0;
}

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

/* Joined, and never looked at; it lives as long as we do. */
static struct member *newcomer(struct account *a, uint32_t *ret_slot)
{
	struct member *m;
	*ret_slot = (uint32_t)slot_claim(a->ledger, SLOT_LIVE, 0);
	m = &a->member[*ret_slot];
	*m = (struct member){ .pid = getpid(), .pidfd = -1, .statm = -1, .life = MEMBER_WATCHED };
	return m;
}

Test(suspect, who_is_counted_for_the_first_time_costs_two_looks)
{
	broker_begin("account a { limit = 64M }");
	uint32_t s;
	struct account *a = account("a");
	struct member *m = newcomer(a, &s);
	b.counting_ns = AUDIT_COUNT_NS;
	audit_slot(&b, a, s);
	cr_assert(m->counted && whole_n == 1);
	cr_assert_eq(quick_n, 2);
	cr_assert(m->statm >= 0, "and its file is opened once");
	close(m->statm);
}

/* Where many come nobody can be counted at once; those in whom nothing moves cost less and less. */
Test(suspect, a_newcomer_that_holds_still_until_its_turn_is_calm)
{
	broker_begin("account a { limit = 64M }");
	uint32_t s;
	struct account *a = account("a");
	struct member *m = newcomer(a, &s);
	for (uint32_t i = 0; i < AUDIT_QUIETER; i++) {
		b.counted_ns = b.now_ns;
		b.counting_ns = -1;
		audit_slot(&b, a, s);
	}
	cr_assert(!m->counted && quick_n == AUDIT_QUIETER);
	cr_assert_eq(rest_of(m), AUDIT_CALMER);
	m->apart++; /* now it has moved */
	audit_slot(&b, a, s);
	cr_assert_eq(rest_of(m), 1);
	close(m->statm);
}
