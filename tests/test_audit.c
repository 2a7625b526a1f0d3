/* SPDX-License-Identifier: MIT */
/* The comparison of a charge with the kernel's count, played on a script: what a busy
 * member, a dying one and a really uncharged one look like. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/audit.h"
#include "cli/smaps.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"

TestSuite(audit, .timeout = 20);

/* One row of charges and counts, each list read from left to right; its last value
 * stands for all that follow. */
#define MOVES 10
#define GONE UINT32_MAX
struct script {
	const char *name;
	uint32_t first;           /* the charge the caller saw */
	uint32_t charge[MOVES];   /* 0 repeats the one before */
	uint64_t kernel[MOVES];
	int error;
	enum verdict want;
	unsigned looked, counted, waited; /* how far it got */
	bool restless; /* every look finds another charge */
};

static bool script_member(void *context, struct member *ret)
{
	struct script *s = context;
	uint32_t i = s->looked < MOVES ? s->looked++ : MOVES - 1;
	while (i > 0 && s->charge[i] == 0)
		i--;
	uint32_t charge = s->charge[i] ? s->charge[i] : s->first;
	if (charge == GONE)
		return false;
	*ret = (struct member){ .pid = 42, .used = charge + (s->restless ? s->looked++ : 0) };
	return true;
}

static void script_wait(void *context)
{
	((struct script *)context)->waited++;
}

static int script_kernel(void *context, int32_t pid, uint64_t *ret_pages)
{
	struct script *s = context;
	cr_assert_eq(pid, 42);
	uint32_t i = s->counted < MOVES ? s->counted++ : MOVES - 1;
	while (i > 0 && s->kernel[i] == 0)
		i--;
	*ret_pages = s->kernel[i];
	return s->error;
}

static int script_statm(void *context, int32_t pid, uint64_t *ret_pages)
{
	(void)context;
	(void)pid;
	*ret_pages = 7;
	return 0;
}

static struct finding play(struct script *s)
{
	struct member m = { .pid = 42, .used = s->first };
	return audit_compare(&(struct audit_source){ script_member, script_wait, script_kernel, script_statm, s }, &m);
}

Test(audit, calls_only_a_real_shortfall_under)
{
	struct script rows[] = {
		{ "exact", 10, { 10 }, { 10 }, 0, .want = VERDICT_OK },
		{ "over", 10, { 10 }, { 3 }, 0, .want = VERDICT_OK },
		{ "under and still", 10, { 10 }, { 11 }, 0, .want = VERDICT_UNDER },
		{ "grew while it was counted", 10, { 20 }, { 20 }, 0, .want = VERDICT_OK },
		{ "shrank while it was counted", 20, { 10 }, { 20 }, 0, .want = VERDICT_OK },
		{ "a page seen twice, then right", 10, { 10 }, { 11, 10 }, 0, .want = VERDICT_OK },
		{ "never holds still", 10, { 11 }, { 999 }, 0, .want = VERDICT_UNSETTLED, .restless = true },
		{ "held still once", 10, { 11, 11, 11, 12, 13, 14, 15, 16 }, { 99 }, 0, .want = VERDICT_UNDER },
		{ "left at once", 10, { GONE }, { 99 }, 0, .want = VERDICT_GONE },
		{ "left between two counts", 10, { 10, GONE }, { 99 }, 0, .want = VERDICT_GONE },
		{ "died unreaped", 10, { 10 }, { 0 }, -ESRCH, .want = VERDICT_GONE },
		{ "not ours to read", 10, { 10 }, { 0 }, -EACCES, .want = VERDICT_UNREADABLE },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		cr_expect_eq(play(&rows[i]).verdict, rows[i].want, "row: %s", rows[i].name);
}

Test(audit, gives_up_after_a_few_counts)
{
	struct script s = { "under", 10, { 10 }, { 11 }, 0, .want = VERDICT_UNDER };
	struct finding f = play(&s);
	cr_assert_eq(s.counted, MOVES);
	cr_assert_eq(s.waited, AUDIT_TRIES - AUDIT_TRIES_AT_ONCE);
	cr_assert_eq(f.member.used, 10);
	cr_assert_eq(f.kernel, 11);
	cr_assert_eq(f.statm, 7);
}

Test(audit, names_what_is_not_charged)
{
	struct member m = { .used = 10, .soft = 3, .credit = 4 };
	cr_assert_eq(audit_covered(&m), 17);
}

Test(audit, does_not_count_what_has_no_process_here)
{
	struct script s = { .first = 10 };
	struct audit_source source = { script_member, script_wait, script_kernel, script_statm, &s };
	struct member rows[] = {
		{ .embryo = true, .pid = 42 }, { .flags = SLOT_FOREIGN_PID, .pid = 42 }, { .pid = 0 }, { .pid = -1 },
	};
	enum verdict want[] = { VERDICT_EMBRYO, VERDICT_FOREIGN, VERDICT_FOREIGN, VERDICT_FOREIGN };
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		cr_expect_eq(audit_compare(&source, &rows[i]).verdict, want[i], "row %zu", i);
	cr_assert_eq(s.counted, 0);
}

/* --- against a ledger and /proc --- */

/* A ledger in which this process is slot 5, charged for `pages`. */
static struct ledger *ledger_with_us(uint32_t pages)
{
	struct ledger *l;
	int fd = ledger_create("test");
	cr_assert_eq(ledger_map(fd, true, &l), 0);
	close(fd);
	struct slot *s = &l->slot[5];
	s->purse.word = PURSE(pages + 100, pages);
	s->pid = getpid();
	s->state = SLOT_WORD(3, 0, SLOT_LIVE);
	return l;
}

Test(audit, counts_a_foreign_member_that_the_broker_has_looked_up)
{
	struct ledger *l = ledger_with_us(PAGES_MAX / 2);
	struct member m;
	uint64_t ticks;
	l->slot[5].flags = SLOT_FOREIGN_PID;
	cr_assert(start_ticks_of(getpid(), &ticks) == 0 && member_read(l, 5, &m));
	cr_assert_eq(audit_member(l, &m).verdict, VERDICT_FOREIGN, "nobody has");
	l->slot[5].start_ticks = ticks;
	cr_assert(member_read(l, 5, &m));
	cr_assert_eq(audit_member(l, &m).verdict, VERDICT_OK);
	l->slot[5].start_ticks = ticks + 1;
	cr_assert(member_read(l, 5, &m));
	cr_assert_eq(audit_member(l, &m).verdict, VERDICT_FOREIGN, "its number is another's here");
}

static struct finding audit_us(const struct ledger *l)
{
	struct member m;
	cr_assert(member_read(l, 5, &m));
	return audit_member(l, &m);
}

Test(audit, compares_a_real_process)
{
	uint64_t pages;
	cr_assert_eq(smaps_of(getpid(), &pages), 0);
	struct ledger *l = ledger_with_us((uint32_t)pages + 10000);
	struct finding f = audit_us(l);
	cr_assert_eq(f.verdict, VERDICT_OK);
	cr_assert(f.kernel >= pages / 2 && f.kernel <= pages * 2, "%llu pages against %llu",
		  (unsigned long long)f.kernel, (unsigned long long)pages);
	purse_give(&l->slot[5].purse, (uint32_t)pages + 9999);
	cr_assert_eq(audit_us(l).verdict, VERDICT_UNDER);
	ledger_unmap(l);
}

Test(audit, does_not_take_a_stranger_for_the_member)
{
	struct ledger *l = ledger_with_us(1);
	struct member m;
	cr_assert(member_read(l, 5, &m));
	l->slot[5].start_ticks = 1; /* its pid was somebody else's, long ago */
	cr_assert_eq(audit_member(l, &m).verdict, VERDICT_GONE);
	l->slot[5].start_ticks = 0;
	l->slot[5].state = SLOT_WORD(4, 0, SLOT_LIVE); /* the slot has changed hands */
	cr_assert_eq(audit_member(l, &m).verdict, VERDICT_GONE);
	ledger_unmap(l);
}
