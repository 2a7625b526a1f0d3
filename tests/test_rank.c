/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "tests/killer_roll.h"

TestSuite(rank, .timeout = 20);

#define G 1024u /* pages of a grain, with this much memory */
#define WHOLE (RANK_GRAIN * (G - 1))
#define FLOOR (WHOLE / RANK_FLOOR)

static struct standing standing[ROLL], sorted[ROLL];

/* --- the table --- */

enum { FIRST, TENTH, TENTH_TOO, TELL, OVER, MIDDLE, FAMILY, ACCOUNT, CGROUP, LAST, NEVER, RULES_N };

static const struct rule rules[RULES_N] = {
	[FIRST] = { .action = ACTION_KILL, .order = ORDER_FIRST },
	[TENTH] = { .action = ACTION_KILL, .order = 10 },
	[TENTH_TOO] = { .action = ACTION_FREEZE, .order = 10 },
	[TELL] = { .action = ACTION_NOTIFY, .order = 40 },
	[OVER] = { .action = ACTION_KILL, .order = ORDER_MIDDLE, .over = 30 * G },
	[MIDDLE] = { .action = ACTION_KILL, .order = ORDER_MIDDLE },
	[FAMILY] = { .action = ACTION_KILL, .order = ORDER_MIDDLE, .unit = UNIT_FAMILY },
	[ACCOUNT] = { .action = ACTION_KILL, .order = ORDER_MIDDLE, .unit = UNIT_ACCOUNT },
	[CGROUP] = { .action = ACTION_KILL, .order = ORDER_MIDDLE, .unit = UNIT_CGROUP },
	[LAST] = { .action = ACTION_KILL, .order = ORDER_LAST },
	[NEVER] = { .action = ACTION_NEVER },
};

static const struct stake stakes[] = {
	{ .guarantee = 10 * G },	      /* 1: holds 40 */
	{ .guarantee = 50 * G },	      /* 2: holds 50 */
	{ .shared = 12 * G },		      /* 3: and 10 beside */
	{ .guarantee = 5 * G, .shared = 10 * G }, /* 4: and 2 beside */
	{ .guarantee = 0 },		      /* 5: holds 7 */
	{ .guarantee = 8 * G },		      /* 6: a parent with 8, and a fork on credit with 1 */
	{ .guarantee = 0 },		      /* 7: 3, and 3 that are never taken */
	{ .guarantee = 100 * G },	      /* 8: holds 3 */
};

struct row {
	const char *name;
	uint8_t rule;
	struct candidate c; /* pid and start: what is not told is the row's, and the same for all */
	uint8_t reason;
	bool with; /* the row above goes, too */
	uint64_t also; /* other rules that match it */
};

#define ON(r, ...) .rule = r, .c = { __VA_ARGS__ }

/* In the order that is expected. In brackets: grains over the guarantee, and that its end returns. */
static const struct row rows[] = {
	/* the rule's order */
	{ "a small fork on credit, first", ON(FIRST, .held = 300, .borrower = 1, .cpu_s = 9) },
	{ "first, and large [70 70]", ON(FIRST, .held = 70 * G, .cpu_s = 1000) },
	{ "first, and small [2 2]", ON(FIRST, .held = 2 * G) },
	{ "first, and as small, but worked [2 2]", ON(FIRST, .held = 2 * G, .cpu_s = 1) },
	{ "first, and in its guarantee [0 3]", ON(FIRST, .held = 3 * G, .account = 8) },
	{ "first, and in no grain [0 0]", ON(FIRST, .held = FLOOR) },
	{ "tenth, on credit", ON(TENTH, .held = G, .borrower = 1, .cpu_s = 77) },
	{ "tenth, of the other rule [9 9]", ON(TENTH_TOO, .held = 9 * G) },
	{ "tenth [8 8]", ON(TENTH, .held = 8 * G) },
	{ "tenth, of the other rule again [7 7]", ON(TENTH_TOO, .held = 7 * G) },
	{ "who is told before others are killed [1 1]", ON(TELL, .held = G) },
	/* forks on credit */
	{ "a large fork on credit [2 2]", ON(MIDDLE, .held = 2 * G, .borrower = 1, .cpu_s = 5) },
	{ "a fork of an account [1 1]", ON(MIDDLE, .held = G, .borrower = 1, .account = 6) },
	{ "a fork that worked [1 1]", ON(MIDDLE, .held = G, .borrower = 1, .cpu_s = 3) },
	{ "a fork that worked and is older [1 1]", ON(MIDDLE, .held = G, .borrower = 1, .cpu_s = 3, .start_ticks = 400) },
	{ "a fork on credit of a family [0 0]", ON(FAMILY, .held = 300, .borrower = 1, .image = 7) },
	{ "another, by itself, and older [0 0]", ON(FAMILY, .held = 300, .borrower = 1, .image = 7, .start_ticks = 450) },
	{ "a fork in no grain [0 0]", ON(MIDDLE, .held = 300, .borrower = 1, .cpu_s = 1) },
	/* how far over its guarantee */
	{ "the hog [60 60]", ON(MIDDLE, .held = 60 * G, .cpu_s = 99999) },
	{ "the forker [36 36]", ON(FAMILY, .held = 12 * G, .cpu_s = 9, .image = 8) },
	{ "its first child", ON(FAMILY, .held = 12 * G, .cpu_s = 9, .image = 8, .start_ticks = 501), .with = true },
	{ "its second child", ON(FAMILY, .held = 12 * G, .cpu_s = 9, .image = 8, .start_ticks = 502), .with = true },
	{ "who is over what a rule asks [31 31]", ON(OVER, .held = 31 * G), .also = 1u << LAST },
	{ "exactly what a rule asks [30 30]", ON(OVER, .held = 30 * G, .cpu_s = 49), .also = 1u << LAST },
	{ "as much over as an account [30 30]", ON(MIDDLE, .held = 30 * G, .cpu_s = 50) },
	{ "an account's largest [30 25]", ON(MIDDLE, .held = 25 * G, .account = 1, .cpu_s = 90) },
	{ "an account's smaller [30 15]", ON(MIDDLE, .held = 15 * G, .account = 1) },
	/* grains */
	{ "a page less than a grain more [29 29]", ON(MIDDLE, .held = 30 * G - 1) },
	{ "in the same grain, worked [29 29]", ON(MIDDLE, .held = 29 * G, .cpu_s = 1) },
	{ "in the same grain, worked more [29 29]", ON(MIDDLE, .held = 30 * G - 1, .cpu_s = 2) },
	{ "a page less than that grain [28 28]", ON(MIDDLE, .held = 29 * G - 1) },
	/* what goes together */
	{ "a whole account with what it shares [22 22]", ON(ACCOUNT, .held = 5 * G, .account = 3, .cpu_s = 2) },
	{ "its other member", ON(ACCOUNT, .held = 5 * G, .account = 3, .cpu_s = 2), .with = true },
	{ "as much, worked more [22 22]", ON(MIDDLE, .held = 22 * G, .cpu_s = 5) },
	{ "a control group, younger [20 20]", ON(CGROUP, .held = 10 * G, .cgroup = 3, .cpu_s = 3, .start_ticks = 700) },
	{ "its other member", ON(CGROUP, .held = 10 * G, .cgroup = 3, .cpu_s = 3, .start_ticks = 701), .with = true },
	{ "as much, older [20 20]", ON(MIDDLE, .held = 20 * G, .cpu_s = 6, .start_ticks = 699) },
	/* work lost */
	{ "younger [18 18]", ON(MIDDLE, .held = 18 * G, .cpu_s = 3, .start_ticks = 900) },
	{ "older, a higher pid [18 18]", ON(MIDDLE, .held = 18 * G, .cpu_s = 3, .pid = 9999) },
	{ "older, a lower pid [18 18]", ON(MIDDLE, .held = 18 * G, .cpu_s = 3, .pid = 77) },
	{ "youngest, worked more [18 18]", ON(MIDDLE, .held = 18 * G, .cpu_s = 4, .start_ticks = 99999) },
	/* what goes together, and what does not */
	{ "a family, one of whom is never taken [9 9]", ON(FAMILY, .held = 5 * G, .image = 9) },
	{ "its other member", ON(FAMILY, .held = 4 * G, .image = 9, .start_ticks = 502), .with = true },
	{ "what is larger than each of it [8 8]", ON(MIDDLE, .held = 8 * G) },
	{ "an account that is promised nothing [7 7]", ON(MIDDLE, .held = 7 * G, .account = 5, .cpu_s = 1) },
	{ "as much, of none [7 7]", ON(MIDDLE, .held = 7 * G, .cpu_s = 2) },
	{ "an account that shares it all [7 2]", ON(MIDDLE, .held = 2 * G, .account = 4) },
	{ "an account, one of whom is never taken [6 3]", ON(ACCOUNT, .held = 3 * G, .account = 7) },
	{ "an image nobody knows [5 5]", ON(FAMILY, .held = 5 * G) },
	{ "another one [5 5]", ON(FAMILY, .held = 5 * G, .cpu_s = 1) },
	{ "a control group nobody knows [5 5]", ON(CGROUP, .held = 5 * G, .cpu_s = 2) },
	{ "by account, and in none [5 5]", ON(ACCOUNT, .held = 5 * G, .cpu_s = 3) },
	{ "a family of one rule [5 5]", ON(FAMILY, .held = 5 * G, .image = 10, .cpu_s = 4) },
	{ "a control group of that number [5 5]", ON(CGROUP, .held = 5 * G, .cgroup = 10, .cpu_s = 5) },
	{ "that family by another rule [5 5]", ON(MIDDLE, .held = 5 * G, .image = 10, .cpu_s = 6) },
	/* what it has been through changes nothing */
	{ "who is frozen [4 4]", ON(MIDDLE, .held = 4 * G, .phase = PHASE_FROZEN) },
	{ "who was asked [4 4]", ON(MIDDLE, .held = 4 * G, .phase = PHASE_TOLD, .cpu_s = 1) },
	{ "this watch's own [4 4]", ON(MIDDLE, .held = 4 * G, .phase = PHASE_TOLD, .victim = 1, .cpu_s = 2) },
	{ "who was only told [4 4]", ON(MIDDLE, .held = 4 * G, .tried = 1u << ACTION_NOTIFY, .cpu_s = 3) },
	{ "who is in two watches [4 4]", ON(MIDDLE, .held = 4 * G, .watches = 3, .cpu_s = 4) },
	/* in and next to a guarantee */
	{ "the parent of a fork on credit [1 8]", ON(MIDDLE, .held = 8 * G, .account = 6) },
	{ "a page less than two grains [1 1]", ON(MIDDLE, .held = 2 * G - 1) },
	{ "one grain [1 1]", ON(MIDDLE, .held = G, .cpu_s = 1) },
	{ "all of its guarantee [0 50]", ON(MIDDLE, .held = 50 * G, .account = 2) },
	{ "less than a grain [0 0]", ON(MIDDLE, .held = G - 1) },
	{ "as little as matters [0 0]", ON(MIDDLE, .held = FLOOR, .cpu_s = 1) },
	{ "several of as little as matters [0 0]", ON(FAMILY, .held = FLOOR - 1, .image = 11, .cpu_s = 1) },
	{ "its other member", ON(FAMILY, .held = 1, .image = 11, .cpu_s = 1, .start_ticks = 501), .with = true },
	/* last */
	{ "a fork on credit, last", ON(LAST, .held = G, .borrower = 1) },
	{ "the largest of all, last [90 90]", ON(LAST, .held = 90 * G) },
	{ "less than a rule asks [29 29]", ON(LAST, .held = 30 * G - 1), .also = 1u << OVER },
	{ "in its guarantee, last [0 3]", ON(LAST, .held = 3 * G, .account = 8, .cpu_s = 5) },
	/* who is not ranked, by pid */
	{ "init", ON(FIRST, .pid = 1, .held = 90 * G, .exempt = EXEMPT_INIT), STANDING_INIT },
	{ "a kernel thread", ON(FIRST, .pid = 2, .exempt = EXEMPT_KERNEL), STANDING_KERNEL },
	{ "the broker", ON(FIRST, .pid = 3, .held = 90 * G, .exempt = EXEMPT_BROKER), STANDING_BROKER },
	{ "immune", ON(FIRST, .pid = 4, .held = 90 * G, .exempt = EXEMPT_IMMUNE), STANDING_IMMUNE },
	{ "another user's", ON(FIRST, .pid = 5, .held = 90 * G, .exempt = EXEMPT_BEYOND), STANDING_BEYOND },
	{ "who is elsewhere", ON(FIRST, .held = 90 * G, .watches = 2), STANDING_ELSEWHERE },
	{ "who is under no rule", ON(RULES_N, .held = 90 * G), STANDING_NO_RULE },
	{ "who is never taken", ON(NEVER, .held = 90 * G), STANDING_NEVER },
	{ "the family's that is never taken", ON(NEVER, .held = 5 * G, .image = 9), STANDING_NEVER },
	{ "the account's that is never taken", ON(NEVER, .held = 3 * G, .account = 7), STANDING_NEVER },
	{ "too little", ON(FIRST, .held = FLOOR - 1), STANDING_LITTLE },
	{ "too little together", ON(FAMILY, .held = FLOOR / 2, .image = 12), STANDING_LITTLE },
	{ "its other member", ON(FAMILY, .held = FLOOR / 2, .image = 12, .start_ticks = 501), STANDING_LITTLE, .with = true },
	{ "who was told", ON(TELL, .held = 9 * G, .tried = 1u << ACTION_NOTIFY), STANDING_DONE },
	{ "who was frozen", ON(TENTH_TOO, .held = 9 * G, .tried = 1u << ACTION_FREEZE, .phase = PHASE_FROZEN), STANDING_DONE },
	{ "who is killed", ON(MIDDLE, .held = 9 * G, .victim = 1, .phase = PHASE_KILLED), STANDING_DYING },
	{ "another watch's victim", ON(MIDDLE, .held = 9 * G, .victim = 2, .phase = PHASE_TOLD), STANDING_DYING },
	{ "who does not end", ON(MIDDLE, .held = 9 * G, .phase = PHASE_STUCK), STANDING_STUCK },
};

static uint32_t random_seed = 1;

static uint32_t random_below(uint32_t n)
{
	random_seed = random_seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)random_seed * n >> 32);
}

static struct candidate row_candidate(uint32_t i)
{
	struct candidate c = rows[i].c;
	c.pid = c.pid ? c.pid : (int32_t)(1000 + i);
	c.start_ticks = c.start_ticks ? c.start_ticks : 500;
	c.watches = c.watches ? c.watches : 1;
	c.rules = (rows[i].rule < RULES_N ? 1ull << rows[i].rule : 0) | rows[i].also;
	return c;
}

/* In the order of the table, or in any, with places between them that are free. */
static void rows_place(bool shuffled)
{
	static uint32_t at[ARRAY_N(rows)];
	roll_clear();
	memcpy(roll.rule, rules, sizeof rules);
	roll.rules = RULES_N;
	for (uint32_t i = 0; i < ARRAY_N(stakes); i++)
		roll.stake[i] = (struct stake){ stakes[i].guarantee, stakes[i].shared, UINT64_MAX };
	for (uint32_t i = 0; i < ARRAY_N(rows); i++) {
		uint32_t j = shuffled ? random_below(i + 1) : i;
		at[i] = at[j];
		at[j] = i;
	}
	for (uint32_t i = 0; i < ARRAY_N(rows); i++)
		roll.candidate[shuffled ? 3 * i + at[i] % 3 : i] = row_candidate(at[i]);
	roll.n = shuffled ? 3 * ARRAY_N(rows) : ARRAY_N(rows);
}

/* The row of the k-th unit. */
static uint32_t unit_row(uint32_t k)
{
	for (uint32_t i = 0; i < ARRAY_N(rows); i++)
		if (!rows[i].with && k-- == 0)
			return i;
	return ARRAY_N(rows);
}

static void is_as_written(uint32_t n)
{
	cr_assert(unit_row(n) == ARRAY_N(rows) && unit_row(n - 1) < ARRAY_N(rows), "%u units", n);
	for (uint32_t k = 0; k < n; k++) {
		struct candidate c = row_candidate(unit_row(k));
		const struct row *r = &rows[unit_row(k)];
		cr_assert(sorted[k].pid == c.pid, "%u: pid %d, not \"%s\"", k, sorted[k].pid, r->name);
		cr_assert(sorted[k].reason == r->reason, "%s: reason %d", r->name, sorted[k].reason);
		cr_assert(sorted[k].rule == (r->rule < RULES_N ? r->rule : RULES), "%s: rule %d", r->name, sorted[k].rule);
		cr_assert(roll.candidate[sorted[k].candidate].pid == c.pid, "%s", r->name);
	}
}

static uint32_t rank_and_sort(uint32_t whole)
{
	uint32_t n = rank(&roll, 0, whole, standing);
	memcpy(sorted, standing, n * sizeof *sorted);
	rank_sort(sorted, n);
	return n;
}

Test(rank, is_as_written)
{
	rows_place(false);
	uint32_t n = rank_and_sort(WHOLE);
	cr_assert(n >= 70);
	is_as_written(n);
}

Test(rank, puts_one_before_another_exactly_when_it_stands_before)
{
	rows_place(false);
	uint32_t n = rank_and_sort(WHOLE);
	/* Row by row, where each stands in what rank() gave, which is in no order. */
	static struct standing of[ARRAY_N(rows)];
	for (uint32_t k = 0; k < n; k++)
		for (uint32_t i = 0; i < n; i++)
			if (standing[i].pid == row_candidate(unit_row(k)).pid)
				of[k] = standing[i];
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t j = 0; j < n; j++) {
			int found = standing_compare(&of[i], &of[j]);
			cr_assert(i < j ? found < 0 : i > j ? found > 0 : found == 0, "\"%s\" and \"%s\": %d",
				  rows[unit_row(i)].name, rows[unit_row(j)].name, found);
		}
}

Test(rank, is_the_same_whatever_the_order_of_the_roll)
{
	for (int pass = 0; pass < 1000; pass++) {
		rows_place(true);
		uint32_t n = rank_and_sort(WHOLE);
		is_as_written(n);
		cr_assert(rank_first(standing, n)->pid == sorted[0].pid && rank_first(sorted, n) == &sorted[0]);
	}
}

Test(rank, has_nobody_first_where_nobody_is_ranked)
{
	roll_clear();
	cr_assert(rank_and_sort(WHOLE) == 0 && !rank_first(standing, 0));
	roll_add("alone", 5, 9 * G);
	cr_assert(rank_and_sort(WHOLE) == 1 && !rank_first(standing, 1), "there is no rule");
	cr_assert(standing[0].reason == STANDING_NO_RULE && standing[0].rule == RULES);
}

Test(rank, has_words_for_every_reason)
{
	bool seen[STANDING_REASON_N] = { false };
	for (uint32_t i = 0; i < ARRAY_N(rows); i++)
		seen[rows[i].reason] = true;
	for (uint8_t reason = 0; reason < STANDING_REASON_N; reason++) {
		cr_assert(seen[reason], "%d is in no row", reason);
		const char *words = standing_explain(&(struct standing){ .reason = reason, .grain = 1 }, NULL);
		cr_assert(words && strlen(words) > 5, "%d", reason);
	}
}

/* --- the keys --- */

/* From the first to the last: a standing that this key puts first, and one that it puts after. */
static void key_set(struct standing *s, int key, bool before)
{
	switch (key) {
	case 0:
		s->order = before ? 20 : 30;
		break;
	case 1:
		s->borrower = before;
		break;
	case 2:
		s->over = before ? 6 * G : 5 * G;
		break;
	case 3:
		s->returns = before ? 4 * G : 3 * G;
		break;
	case 4:
		s->cpu_s = before ? 1 : 2;
		break;
	case 5:
		s->start_ticks = before ? 9 : 8;
		break;
	default:
		s->pid = before ? 200 : 100;
	}
}

/* All earlier keys are equal; all later ones too, but for the pid, or all of them say the contrary. */
Test(rank, decides_by_one_key_after_another)
{
	for (int key = 0; key <= 6; key++)
		for (int contrary = 0; contrary < 2; contrary++) {
			struct standing one = { .grain = G, .pid = 7 }, other = one;
			other.pid = key < 6 ? one.pid : 8;
			key_set(&one, key, true);
			key_set(&other, key, false);
			for (int later = key + 1; contrary && later <= 6; later++) {
				key_set(&one, later, false);
				key_set(&other, later, true);
			}
			cr_assert(standing_compare(&one, &other) < 0 && standing_compare(&other, &one) > 0, "key %d, %d", key,
				  contrary);
		}
}

Test(rank, is_transitive)
{
	static struct standing some[300];
	for (uint32_t i = 0; i < ARRAY_N(some); i++)
		some[i] = (struct standing){ .grain = G, .pid = (int32_t)i + 1, .order = (uint8_t)random_below(2),
					     .borrower = (uint8_t)random_below(2), .over = random_below(3 * G),
					     .returns = random_below(3 * G), .cpu_s = random_below(2),
					     .start_ticks = random_below(2), .reason = (uint8_t)(random_below(4) == 0) };
	rank_sort(some, ARRAY_N(some));
	for (uint32_t i = 0; i < ARRAY_N(some); i++)
		for (uint32_t j = i + 1; j < ARRAY_N(some); j++)
			cr_assert(standing_compare(&some[i], &some[j]) < 0 && standing_compare(&some[j], &some[i]) > 0);
}

Test(rank, counts_in_grains_of_what_is_watched)
{
	static const struct {
		uint32_t whole, larger, smaller;
		bool same;
	} table[] = {
		{ WHOLE, 2 * G, 2 * G - 1, false }, { WHOLE, 3 * G - 1, 2 * G, true }, { 64 * GIB, GIB + 4, GIB + 3, false },
		{ 64 * GIB, GIB + 9 * MIB, GIB + 2 * MIB, true }, { 0, 2, 1, false }, { PAGES_MAX, PAGES_MAX, PAGES_MAX - 1, true },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		roll_clear();
		roll_rule(ACTION_KILL, UNIT_PROCESS);
		/* Where the grain is the same, the smaller goes, because it did no work. */
		roll_add("larger", 5, table[i].larger)->cpu_s = 1;
		roll_add("smaller", 4, table[i].smaller);
		uint32_t n = rank_and_sort(table[i].whole);
		cr_assert(rank_first(standing, n)->pid == (table[i].same ? 4 : 5), "row %zu", i);
	}
}

/* --- rules --- */

Test(rank, goes_by_the_first_rule_that_matches)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS)->managed = MANAGED_YES;
	roll_rule(ACTION_FREEZE, UNIT_PROCESS)->managed = MANAGED_NO;
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	struct candidate *of = roll_add("managed", 4, 2 * G);
	of->account = 1;
	of = roll_add("managed, but by no rule of its account", 5, 2 * G);
	of->account = 2;
	roll.stake[1].rules = 4;
	roll_add("unmanaged", 6, 2 * G);
	of = roll_add("not what the first is about", 7, 2 * G);
	of->rules = 4;
	static const uint8_t found[] = { 0, 2, 1, 2 };
	cr_assert(rank(&roll, 0, WHOLE, standing) == 4);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert(standing[i].rule == found[i], "%u: %d", i, standing[i].rule);
	roll.unmanaged_rules = 1;
	rank(&roll, 0, WHOLE, standing);
	cr_assert(standing[2].rule == RULES && standing[3].rule == RULES);
	roll.rules = 2;
	rank(&roll, 0, WHOLE, standing);
	cr_assert(standing[1].rule == RULES, "a rule that is there no more");
}

/* Two with half of it each: who matches over = SIZE depends on what the rule takes. */
Test(rank, asks_how_much_a_unit_holds)
{
	static const struct {
		const char *name;
		enum rule_unit unit;
		bool image, cgroup, account; /* is the same for both */
		uint32_t over, shared;
		bool matches;
	} table[] = {
		{ "a process, as much", UNIT_PROCESS, true, true, true, 4 * G, 0, true },
		{ "a process, more", UNIT_PROCESS, true, true, true, 4 * G + 1, 0, false },
		{ "a family, as much", UNIT_FAMILY, true, false, false, 8 * G, 0, true },
		{ "a family, more", UNIT_FAMILY, true, true, true, 8 * G + 1, 0, false },
		{ "two families", UNIT_FAMILY, false, true, true, 4 * G + 1, 0, false },
		{ "an account, as much", UNIT_ACCOUNT, false, false, true, 8 * G, 0, true },
		{ "an account, more", UNIT_ACCOUNT, true, true, true, 8 * G + 1, 0, false },
		{ "an account that shares, as much", UNIT_ACCOUNT, false, false, true, 9 * G, G, true },
		{ "an account that shares, more", UNIT_ACCOUNT, false, false, true, 9 * G + 1, G, false },
		{ "two accounts", UNIT_ACCOUNT, true, true, false, 4 * G + 1, 0, false },
		{ "a control group, as much", UNIT_CGROUP, false, true, false, 8 * G, 0, true },
		{ "a control group, more", UNIT_CGROUP, true, true, true, 8 * G + 1, 0, false },
		{ "two control groups", UNIT_CGROUP, true, false, true, 4 * G + 1, 0, false },
		{ "any", UNIT_PROCESS, false, false, false, 0, 0, true },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		roll_clear();
		roll_rule(ACTION_KILL, table[i].unit)->over = table[i].over;
		struct candidate *one = roll_add("one", 4, 4 * G), *other = roll_add("other", 5, 4 * G);
		one->account = 1;
		other->account = table[i].account ? 1 : 2;
		other->image = table[i].image ? one->image : other->image;
		other->cgroup = table[i].cgroup ? one->cgroup : other->cgroup;
		roll.stake[0].shared = table[i].shared;
		rank(&roll, 0, WHOLE, standing);
		cr_assert(standing[0].rule == (table[i].matches ? 0 : RULES), "%s", table[i].name);
	}
}

Test(rank, counts_who_belongs_to_nobody_once)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_FAMILY)->over = 5 * G;
	roll_rule(ACTION_KILL, UNIT_CGROUP)->over = 5 * G;
	roll_rule(ACTION_KILL, UNIT_ACCOUNT)->over = 5 * G;
	struct candidate *c = roll_add("unknown", 4, 4 * G);
	c->image = c->cgroup = 0;
	rank(&roll, 0, WHOLE, standing);
	cr_assert(standing[0].reason == STANDING_NO_RULE);
	c->held = 5 * G;
	rank(&roll, 0, WHOLE, standing);
	cr_assert(standing[0].reason == STANDING_RANKED && standing[0].rule == 0);
}

/* --- units --- */

static const struct standing *standing_of(int32_t pid)
{
	uint32_t n = rank(&roll, 0, WHOLE, standing);
	for (uint32_t i = 0; i < n; i++)
		if (standing[i].pid == pid)
			return &standing[i];
	return NULL;
}

/* Four of one family, account and control group, and an innocent; the third is the eldest. */
static void four_place(enum rule_unit unit)
{
	roll_clear();
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	roll_rule(ACTION_KILL, unit);
	for (int32_t i = 0; i < 4; i++) {
		struct candidate *c = roll_add("four", 10 + i, 2 * G);
		c->image = 77;
		c->cgroup = 78;
		c->account = 1;
		c->rules = 2;
		c->start_ticks = i == 2 ? 5 : 9;
		c->cpu_s = 10;
	}
	roll.stake[0].shared = 100;
	roll_add("innocent", 20, 3 * G)->rules = 2;
}

Test(rank, takes_whom_the_rule_says_together)
{
	static const enum rule_unit units[] = { UNIT_FAMILY, UNIT_ACCOUNT, UNIT_CGROUP };
	for (size_t i = 0; i < ARRAY_N(units); i++) {
		four_place(units[i]);
		const struct standing *s = standing_of(12);
		cr_assert(s && s->count == 4 && s->candidate == 2 && s->start_ticks == 5 && s->cpu_s == 40, "%s",
			  unit_name[units[i]]);
		cr_assert(s->returns == 8 * G + (units[i] == UNIT_ACCOUNT ? 100 : 0), "what is shared comes back once: %u",
			  s->returns);
		cr_assert(s->over == 8 * G + 100 && !s->borrower);
		for (uint32_t j = 0; j < 5; j++)
			cr_assert(standing_takes(&roll, s, j) == (j < 4), "%s %u", unit_name[units[i]], j);
		cr_assert(!standing_takes(&roll, standing_of(20), 0));
	}
	four_place(UNIT_PROCESS);
	for (uint32_t j = 0; j < 5; j++)
		cr_assert(standing_takes(&roll, standing_of(11), j) == (j == 1));
}

Test(rank, does_not_take_who_is_never_taken)
{
	static const enum rule_unit units[] = { UNIT_FAMILY, UNIT_ACCOUNT, UNIT_CGROUP };
	for (size_t i = 0; i < ARRAY_N(units); i++) {
		four_place(units[i]);
		roll.candidate[1].rules = 3;
		roll.candidate[3].exempt = EXEMPT_BROKER;
		const struct standing *s = standing_of(12);
		cr_assert(s && s->count == 2 && s->cpu_s == 20 && s->reason == STANDING_RANKED);
		for (uint32_t j = 0; j < 5; j++)
			cr_assert(standing_takes(&roll, s, j) == (j == 0 || j == 2), "%s %u", unit_name[units[i]], j);
		cr_assert(standing_of(11)->reason == STANDING_NEVER && standing_of(13)->reason == STANDING_BROKER);
	}
}

Test(rank, takes_no_other_process_of_that_pid)
{
	static const enum rule_unit units[] = { UNIT_PROCESS, UNIT_FAMILY, UNIT_CGROUP, UNIT_ACCOUNT };
	for (size_t i = 0; i < ARRAY_N(units); i++) {
		roll_clear();
		roll_rule(ACTION_KILL, units[i]);
		struct candidate *c = roll_add("victim", 4, 4 * G);
		c->image = c->cgroup = 0;
		static struct standing s;
		s = *standing_of(4);
		cr_assert(standing_takes(&roll, &s, 0));
		c->start_ticks++;
		rank(&roll, 0, WHOLE, standing);
		cr_assert(!standing_takes(&roll, &s, 0), "%s", unit_name[units[i]]);
		c->pid = 0;
		cr_assert(!standing_takes(&roll, &s, 0));
	}
}

Test(rank, borrowers_go_before_their_parents)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	struct candidate *redis = roll_add("redis", 4, 40 * G), *saving = roll_add("redis", 5, G);
	redis->account = saving->account = 1;
	saving->image = redis->image;
	saving->borrower = 1;
	saving->cpu_s = 100;
	roll_add("hog", 6, 60 * G);
	uint32_t n = rank_and_sort(WHOLE);
	cr_assert(n == 3 && sorted[0].pid == 5 && sorted[1].pid == 6 && sorted[2].pid == 4);
}

/* --- the five goals that Linux's killer once had --- */

static int32_t first_pid(void)
{
	const struct standing *first = rank_first(standing, rank(&roll, 0, WHOLE, standing));
	return first ? first->pid : 0;
}

/* Of two that hold as much, the simulation of a week goes on. */
Test(rank, goal_1_loses_the_least_work)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	struct candidate *week = roll_add("simulation", 9, 20 * G + 10), *new = roll_add("started", 4, 20 * G);
	week->cpu_s = 7 * 86400;
	new->cpu_s = 1;
	cr_assert(first_pid() == 4);
	new->cpu_s = week->cpu_s;
	week->start_ticks = 1;
	cr_assert(first_pid() == 4, "who worked as much and began later");
}

/* What is shared, and what is reserved and untouched, does not come back. */
Test(rank, goal_2_recovers_much)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	roll_add("maps 60 grains, shared", 4, 2 * G);
	roll_add("holds 10", 5, 10 * G);
	roll_add("holds 20", 6, 20 * G);
	cr_assert(first_pid() == 6);
	roll_add("shell", 7, 200);
	roll.candidate[0].pid = roll.candidate[1].pid = roll.candidate[2].pid = 0;
	cr_assert(first_pid() == 0, "nobody dies for next to nothing");
}

/* Who keeps to what it was promised is innocent, however much that is; and so is who is larger
 * than each child of a forker. */
Test(rank, goal_3_kills_nobody_innocent)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_FAMILY);
	roll.stake[0].guarantee = 40 * G;
	roll_add("database", 4, 40 * G)->account = 1;
	roll_add("service", 5, 7 * G);
	for (int32_t i = 0; i < 16; i++) {
		struct candidate *c = roll_add("forker", 100 + i, 2 * G);
		c->image = 5;
		c->cpu_s = 1000;
	}
	cr_assert(first_pid() == 100);
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	roll.stake[0].guarantee = 40 * G;
	roll_add("database", 4, 40 * G)->account = 1;
	roll_add("hog", 5, 3 * G)->cpu_s = 1000;
	cr_assert(first_pid() == 5);
}

/* One large one, and not the many small ones that would do, too. */
Test(rank, goal_4_kills_one)
{
	roll_clear();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	for (int32_t i = 0; i < 100; i++)
		roll_add("small", 10 + i, 300);
	roll_add("large", 500, 30 * G)->cpu_s = 1000;
	uint32_t n = rank_and_sort(WHOLE);
	cr_assert(n == 101 && sorted[0].pid == 500 && sorted[0].count == 1);
}

/* Whoever said so beforehand is right, whatever the figures are. */
Test(rank, goal_5_kills_whom_the_user_expects)
{
	roll_clear();
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	roll_rule(ACTION_KILL, UNIT_PROCESS)->order = ORDER_FIRST;
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	roll_add("protected", 4, 60 * G);
	roll_add("batch", 5, G)->rules = 6;
	roll_add("editor", 6, 50 * G)->rules = 4;
	uint32_t n = rank_and_sort(WHOLE);
	cr_assert(n == 3 && sorted[0].pid == 5 && sorted[1].pid == 6 && sorted[2].reason == STANDING_NEVER);
}

/* --- many --- */

static void crowd_place(void)
{
	static const enum rule_unit units[] = { UNIT_PROCESS, UNIT_FAMILY, UNIT_CGROUP, UNIT_ACCOUNT };
	roll_clear();
	for (size_t i = 0; i < ARRAY_N(units); i++)
		roll_rule(ACTION_KILL, units[i])->over = 1;
	for (int32_t i = 0; i < (int32_t)ROLL; i++) {
		struct candidate *c = roll_add("crowd", 300 + i, FLOOR + 1 + random_below(9 * G));
		c->rules = 1ull << random_below(4);
		c->image = i % 3 ? c->image : 1 + random_below(500);
		c->cgroup = i % 5 ? c->cgroup : 1 + random_below(500);
		c->account = (uint16_t)random_below(BOOKS_ACCOUNTS + 1);
	}
}

Test(rank, knows_as_many_as_the_roll_holds)
{
	crowd_place();
	uint32_t n = rank_and_sort(WHOLE), processes = 0, checked = 0;
	uint64_t pages = 0, held = 0;
	for (uint32_t k = 0; k < n; k++) {
		processes += sorted[k].count;
		if (sorted[k].rule != 3)
			pages += sorted[k].returns;
		cr_assert(k == 0 || standing_compare(&sorted[k - 1], &sorted[k]) < 0, "%u", k);
	}
	for (uint32_t i = 0; i < ROLL; i++)
		if (roll.candidate[i].rules != 8 || roll.candidate[i].account == 0)
			held += roll.candidate[i].held;
	for (uint32_t k = 0; k < n; k++)
		if (sorted[k].rule == 3 && roll.candidate[sorted[k].candidate].account == 0)
			pages += sorted[k].returns;
	cr_assert(processes == ROLL && pages == held, "%u processes, %lu of %lu pages", processes, pages, held);
	cr_assert(rank_first(standing, n)->pid == sorted[0].pid);
	for (uint32_t k = 0; k < n; k += 97, checked++) {
		uint32_t taken = 0;
		for (uint32_t i = 0; i < ROLL; i++)
			taken += standing_takes(&roll, &sorted[k], i);
		cr_assert(taken == sorted[k].count, "%u: %u of %u", k, taken, sorted[k].count);
	}
	cr_assert(checked > 10);
}

Test(rank, takes_a_fork_on_credit_without_its_parent)
{
	static const enum rule_unit units[] = { UNIT_FAMILY, UNIT_ACCOUNT, UNIT_CGROUP };
	for (size_t i = 0; i < ARRAY_N(units); i++) {
		roll_clear();
		roll_rule(ACTION_KILL, units[i]);
		struct candidate *parent = roll_add("parent", 4, 20 * G), *child = roll_add("child", 5, 2 * G);
		parent->image = child->image = 77;
		parent->cgroup = child->cgroup = 78;
		parent->account = child->account = 1;
		child->borrower = 1;
		uint32_t n = rank_and_sort(WHOLE);
		const struct standing *first = rank_first(standing, n);
		cr_assert(n == 2 && first->pid == 5 && first->count == 1 && first->returns == 2 * G, "unit %d", units[i]);
		cr_assert(!standing_takes(&roll, first, 0) && standing_takes(&roll, first, 1));
	}
}
