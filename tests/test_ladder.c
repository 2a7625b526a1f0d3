/* SPDX-License-Identifier: MIT */
#include <signal.h>

#include "tests/killer_world.h"

TestSuite(ladder, .timeout = 20);

#define ACT (24 * GIB / 20) /* pages */

/* Bystanders of many sizes, whom a rule gives up like everybody. */
static void bystanders_add(void)
{
	for (int32_t i = 0; i < 12; i++)
		world_innocent("bystander", 100 + i, (uint32_t)(50 + 60 * i) * MIB);
}

/* --- one hog --- */

/* It crosses after two seconds. */
static struct being *hog_begin(uint32_t mib_s)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	bystanders_add();
	struct being *hog = world_add("hog", 500, GIB);
	hog->mib_s = mib_s;
	world_fill(ACT + 2 * mib_s * MIB);
	return hog;
}

Test(ladder, basic)
{
	hog_begin(500);
	world_run(5000);
	const struct event *warn = event_of(DEED_WARN, 0), *signal = event_of(DEED_SIGNAL, 0);
	cr_assert(signal && signal->pid == 500 && signal->ms >= 2000 && signal->ms <= 2003, "%s", world.said);
	cr_assert(signal->signal == SIGTERM && events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 0);
	cr_assert(warn && warn->signal == PRESSURE_WARN && warn->ms < signal->ms && events_of(DEED_WARN) == 2);
	cr_assert(signal[1].kind == DEED_WARN && signal[1].signal == PRESSURE_ACT && signal[1].ms == signal->ms);
	cr_assert(times_said("hog[500] is gone") == 1 && times_said("is there again") == 1, "%s", world.said);
	cr_assert(world.ladder[0].step == LADDER_REST);
}

Test(ladder, fast)
{
	hog_begin(8000);
	world_run(3000);
	const struct event *kill = event_of(DEED_KILL, 0);
	cr_assert(kill && kill->pid == 500 && kill->ms <= 2003 && events_of(DEED_KILL) == 1, "%s", world.said);
	cr_assert(events_of(DEED_SIGNAL) == 0 && times_said("does not last for its grace") == 1, "%s", world.said);
	cr_assert(kill[1].kind == DEED_WARN && kill[1].ms == kill->ms, "it is killed before anybody is warned");
}

Test(ladder, a_rule_may_ask_nobody)
{
	hog_begin(100);
	roll.rule[0].signal = SIGKILL;
	world_run(3000);
	cr_assert(events_of(DEED_SIGNAL) == 0 && events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500)->ms <= 2003);
}

Test(ladder, ignores_term)
{
	hog_begin(100)->term_ms = 0;
	world_run(6000);
	const struct event *signal = event_of(DEED_SIGNAL, 500), *kill = event_of(DEED_KILL, 500);
	cr_assert(signal && kill && kill->ms >= signal->ms + 1999 && kill->ms <= signal->ms + 2003, "%s", world.said);
	cr_assert(events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 1 && times_said("its grace is over") == 1);
}

Test(ladder, a_grace_ends_when_memory_does)
{
	hog_begin(500)->term_ms = 0;
	world_run(6000);
	const struct event *signal = event_of(DEED_SIGNAL, 500), *kill = event_of(DEED_KILL, 500);
	cr_assert(signal && kill && kill->ms > signal->ms + 1000 && kill->ms < signal->ms + 1400, "%s", world.said);
	cr_assert(events_of(DEED_KILL) == 1 && times_said("half of act is gone") == 1);
}

Test(ladder, plateau)
{
	struct being *hog = hog_begin(500);
	hog->most = GIB + 1010 * MIB;
	hog->term_ms = 0;
	world_run(6000);
	cr_assert(events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500), "it falls no longer, and is short: %s", world.said);
}

Test(ladder, right_above_act_nobody_is_touched)
{
	hog_begin(500)->most = GIB + 999 * MIB;
	world_run(6000);
	cr_assert(events_of(DEED_SIGNAL) == 0 && events_of(DEED_KILL) == 0 && events_of(DEED_WARN) == 1, "%s", world.said);
}

Test(ladder, many)
{
	struct being *hog = hog_begin(1000);
	for (int32_t i = 0; i < 4000; i++)
		world_innocent("small", 1000 + i, 100);
	hog->term_ms = 0;
	world_fill(ACT + 100 * MIB);
	world_run(4000);
	cr_assert(events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500), "%s", world.said);
}

Test(ladder, what_is_decided_is_decided_again)
{
	static struct event event[8192];
	static char said[sizeof world.said];
	static uint32_t events;
	for (int pass = 0; pass < 2; pass++) {
		hog_begin(500)->term_ms = 0;
		world_run(5000);
		if (pass == 0) {
			memcpy(event, world.event, sizeof event);
			memcpy(said, world.said, sizeof said);
			events = world.events;
		}
	}
	cr_assert(events > 2 && world.events == events && memcmp(event, world.event, sizeof event) == 0);
	cr_assert(memcmp(said, world.said, sizeof said) == 0);
}

/* --- where swap is free, and nothing gets on --- */

/* Two hogs of 4 GiB, and hardly anything available but in swap, which is large. What the machine
 * has less (`short_of`) it will not have when the first is gone, either. */
static void thrash_begin(uint32_t stall_percent, uint32_t short_of)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	bystanders_add();
	world_add("hog", 500, 4 * GIB)->back_ms = 60;
	world_add("hog", 501, 4 * GIB)->back_ms = 60; /* the younger goes first */
	world.swap = 64 * GIB;
	world.policy[0].swap_act.ppm = 50000;
	world.policy[0].swap_warn.ppm = 100000;
	world.policy[0].stall_ppm = 500000;
	world.stall_percent = stall_percent;
	world_fill(100 * MIB);
	world.total[0] -= short_of;
}

Test(ladder, a_machine_that_only_swaps_loses_its_hog_and_nobody_else)
{
	thrash_begin(80, 0);
	world_run(8000);
	const struct event *kill = event_of(DEED_KILL, 501);
	cr_assert(kill && kill->ms >= 1000 && kill->ms <= 1200, "after a second of it: %s", world.said);
	cr_assert(events_of(DEED_KILL) == 1 && events_of(DEED_SIGNAL) == 0, "%s", world.said);
	cr_assert(times_said("80 % of the time is lost") == 1 && times_said("hog[501] is gone") == 1, "%s", world.said);
	cr_assert(times_said("is there again") == 1, "%s", world.said);
}

Test(ladder, a_machine_that_swaps_and_gets_on_loses_nobody)
{
	thrash_begin(40, 0);
	world_run(20000);
	cr_assert(events_of(DEED_KILL) + events_of(DEED_SIGNAL) + events_of(DEED_WARN) == 0, "%s", world.said);
}

Test(ladder, the_next_goes_only_for_time_lost_after_the_first)
{
	thrash_begin(80, 4 * GIB);
	world_run(8000);
	const struct event *first = event_of(DEED_KILL, 501), *second = event_of(DEED_KILL, 500);
	cr_assert(first && second && second->ms >= first->ms + 1000, "a second of its own: %s", world.said);
	cr_assert(second->ms <= first->ms + 1300 && events_of(DEED_KILL) == 2, "%s", world.said);
}

Test(ladder, who_gave_nothing_back_is_not_asked_again_while_time_is_lost)
{
	thrash_begin(80, 0);
	roll.rule[0].action = ACTION_RECLAIM; /* for the bystanders, before the hogs are killed */
	roll.rule[0].order = ORDER_FIRST;
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	for (uint32_t i = 0; i < roll.n; i++)
		if (roll.candidate[i].rules != 0)
			roll.candidate[i].rules = roll.candidate[i].pid < 500 ? 1 : 2;
	world_run(30000);
	cr_assert(events_of(DEED_RECLAIM) == 12 && events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 501), "%s", world.said);
}

Test(ladder, who_was_frozen_for_lost_time_stays_so_while_memory_is_short)
{
	thrash_begin(80, 0);
	roll.rule[0].action = ACTION_FREEZE;
	world_run(1500);
	world.stall_percent = 0;
	world_run(10000);
	cr_assert(events_of(DEED_FREEZE) == 1 && events_of(DEED_THAW) == 0, "%s", world.said);
	cr_assert(times_said("is waited for no longer") == 1, "%s", world.said);
	world.total[0] += 4 * GIB;
	world_run(14000);
	cr_assert(events_of(DEED_FREEZE) == 1 && events_of(DEED_THAW) == 1, "%s", world.said);
}

/* --- more than one --- */

/* Two must go; a third holds a little less. Their memory comes back late. */
static void two_begin(uint32_t left, uint32_t each)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	world_add("hog", 500, each + 20 * MIB)->back_ms = 60;
	world_add("hog", 501, each + 10 * MIB)->back_ms = 60;
	world_innocent("third", 600, each)->back_ms = 60;
	for (uint32_t i = 0; i < 3; i++)
		roll.candidate[i].cpu_s = i;
	world_fill(left);
}

Test(ladder, two_hogs_are_killed_and_nobody_else)
{
	two_begin(28 * MIB, 800 * MIB);
	roll.rule[0].signal = SIGKILL;
	world_run(3000);
	cr_assert(events_of(DEED_KILL) == 2 && events_of(DEED_SIGNAL) == 0, "%s", world.said);
	cr_assert(event_of(DEED_KILL, 501)->ms >= event_of(DEED_KILL, 500)->ms + 80, "its memory is waited for");
	cr_assert(event_of(DEED_KILL, 501)->ms <= event_of(DEED_KILL, 500)->ms + 84, "and no longer");
}

Test(ladder, two_hogs_end_when_asked_and_nobody_else)
{
	two_begin(ACT - 150 * MIB, 110 * MIB);
	world_run(3000);
	cr_assert(events_of(DEED_KILL) == 0 && events_of(DEED_SIGNAL) == 2, "%s", world.said);
	cr_assert(event_of(DEED_SIGNAL, 501)->ms >= event_of(DEED_SIGNAL, 500)->ms + 65);
}

Test(ladder, memory_that_does_not_come_back_is_waited_for_as_long_as_settle)
{
	two_begin(28 * MIB, 800 * MIB);
	world.being[0].back_ms = 2000;
	world.being[2].innocent = false;
	world_run(1000);
	const struct event *one = event_of(DEED_KILL, 500), *other = event_of(DEED_KILL, 501);
	cr_assert(one && other && other->ms >= one->ms + 120 && other->ms <= one->ms + 126, "%s", world.said);
}

Test(ladder, two_hogs_that_grow)
{
	hog_begin(400);
	struct being *other = world_add("hog", 501, GIB / 2);
	other->mib_s = 300;
	candidate_of(&world.being[roll.n - 2])->held -= GIB / 2; /* the filler makes room for it */
	world_run(15000);
	/* Together they are too fast for a grace; the second alone is not. */
	cr_assert(events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500), "%s", world.said);
	cr_assert(events_of(DEED_SIGNAL) == 1 && event_of(DEED_SIGNAL, 501), "%s", world.said);
}

Test(ladder, never_dies)
{
	two_begin(28 * MIB, 800 * MIB);
	world.being[0].kill_ms = 0;
	world.being[2].innocent = false;
	roll.rule[0].deadline_ns = 700 * MS;
	world_run(3000);
	const struct event *one = event_of(DEED_KILL, 500), *other = event_of(DEED_KILL, 501);
	cr_assert(one && other && other->ms >= one->ms + 700 && other->ms <= one->ms + 703, "%s", world.said);
	cr_assert(times_said("is waited for no longer") == 1 && roll.candidate[0].phase == PHASE_STUCK);
	cr_assert(events_of(DEED_KILL) == 2 && event_of(DEED_SIGNAL, 600), "two others for it, and it only once: %s", world.said);
}

/* --- memory comes back --- */

/* Somebody else gives back so much. */
static void filler_gives(int64_t pages)
{
	for (uint32_t i = 0; i < roll.n; i++)
		if (roll.candidate[i].pid == 2) {
			cr_assert(roll.candidate[i].held >= pages);
			roll.candidate[i].held = (uint32_t)(roll.candidate[i].held - pages);
		}
}

/* And takes it again, at 200 MiB a second. */
static void filler_takes(uint32_t pages)
{
	for (uint32_t taken = 0; taken < pages; taken += 10 * MIB) {
		filler_gives(-(int64_t)(10 * MIB));
		world_run(world.now_ns / MS - 10000 + 50);
	}
}

Test(ladder, spares_who_was_asked_when_memory_is_back)
{
	struct being *hog = hog_begin(100);
	hog->term_ms = 0;
	hog->most = GIB + 250 * MIB;
	world_run(2500);
	cr_assert(events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 0);
	filler_gives(4 * GIB);
	world_run(8000);
	cr_assert(events_of(DEED_KILL) == 0 && times_said("is not killed") == 1, "%s", world.said);
	filler_takes(4 * GIB);
	cr_assert(events_of(DEED_SIGNAL) == 2 && events_of(DEED_KILL) == 0, "it is asked anew: %s", world.said);
	world_run(32000);
	cr_assert(events_of(DEED_KILL) == 1);
}

/* A page above act and a page below, by turns. */
Test(ladder, a_page_more_is_no_memory_that_is_back)
{
	hog_begin(0)->term_ms = 0;
	filler_gives(-1);
	for (uint64_t ms = 0; ms < 3000; ms += 5) {
		filler_gives(ms / 5 % 2 ? -2 : 2);
		world_run(ms + 5);
	}
	const struct event *signal = event_of(DEED_SIGNAL, 500), *kill = event_of(DEED_KILL, 500);
	cr_assert(signal && kill && kill->ms >= signal->ms + 1999 && events_of(DEED_SIGNAL) == 1, "%s", world.said);
}

Test(ladder, who_had_all_of_its_grace_is_not_asked_again)
{
	hog_begin(0)->term_ms = 0;
	world_run(1000);
	filler_gives(MIB);
	world_run(4000);
	cr_assert(events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 0 && times_said("is not killed") == 1, "%s", world.said);
	filler_gives(-2 * (int64_t)MIB);
	world_run(4010);
	cr_assert(events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 1 && times_said("was asked before") == 1);
}

/* --- units --- */

static void forker_begin(uint32_t left)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_FAMILY);
	bystanders_add();
	for (int32_t i = 0; i < 16; i++) {
		struct being *b = world_add("forker", 500 + i, 200 * MIB);
		candidate_of(b)->image = 77;
		candidate_of(b)->start_ticks = i == 7 ? 1 : (uint64_t)(100 - i); /* the eighth is the eldest, then the last */
		b->term_ms = 0;
		b->gasp = i == 3 ? 2 : 0;
	}
	world_fill(left);
}

Test(ladder, forker)
{
	forker_begin(100 * MIB);
	world_run(2000);
	cr_assert(events_of(DEED_KILL) == 18, "%u:\n%s", events_of(DEED_KILL), world.said);
	cr_assert(event_of(DEED_KILL, 0)->pid == 507 && event_of(DEED_KILL, 0)[1].pid == 515, "the eldest first");
	cr_assert(event_of(DEED_KILL, 20000) && event_of(DEED_KILL, 20001), "and who is born meanwhile, too");
	cr_assert(times_said("forker[507] and 15 more is killed") == 1 && times_said("first is") == 1, "%s", world.said);
}

Test(ladder, forker_is_asked_as_a_whole)
{
	forker_begin(ACT - MIB);
	world_run(2500);
	cr_assert(events_of(DEED_SIGNAL) == 16 && event_of(DEED_SIGNAL, 0)->pid == 507, "%s", world.said);
	cr_assert(events_of(DEED_KILL) == 18 && event_of(DEED_KILL, 0)->pid == 507);
}

/* More than a script has room for. */
Test(ladder, a_large_family_goes_in_several_looks)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_FAMILY);
	for (int32_t i = 0; i < 2500; i++)
		candidate_of(world_add("forker", 3000 + i, MIB))->image = 77;
	world_fill(MIB);
	world_run(200);
	cr_assert(events_of(DEED_KILL) == 2500 && times_said("first is") == 1, "%u", events_of(DEED_KILL));
}

Test(ladder, whole_account)
{
	world_begin();
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	roll_rule(ACTION_KILL, UNIT_ACCOUNT);
	bystanders_add();
	for (int32_t i = 0; i < 5; i++) {
		struct being *b = world_add("member", 500 + i, 400 * MIB);
		candidate_of(b)->account = 3;
		b->innocent = i == 2; /* is never taken */
	}
	for (uint32_t i = 0; i < roll.n; i++)
		roll.candidate[i].rules = roll.candidate[i].pid == 502 ? 3 : 2;
	world_fill(MIB);
	world_run(2000);
	cr_assert(events_of(DEED_KILL) == 4 && !event_of(DEED_KILL, 502), "%s", world.said);
}

/* --- other than to kill --- */

static void batch_begin(enum rule_action action)
{
	world_begin();
	roll_rule(action, UNIT_PROCESS);
	roll.rule[0].order = ORDER_FIRST;
	for (int32_t i = 0; i < 3; i++) {
		struct being *b = world_innocent("batch", 500 + i, GIB);
		b->mib_s = 100;
		candidate_of(b)->rules = 1;
	}
	world_fill(ACT + 300 * MIB);
}

Test(ladder, freezes_and_thaws_one_by_one)
{
	batch_begin(ACTION_FREEZE);
	world_run(5000);
	cr_assert(events_of(DEED_FREEZE) == 3 && events_of(DEED_THAW) == 0, "%s", world.said);
	filler_gives(6 * GIB);
	for (uint32_t i = 0; i < 3; i++)
		world.being[i].mib_s = 0;
	world_run(12000);
	cr_assert(events_of(DEED_THAW) == 3 && times_said("goes on") == 3, "%s", world.said);
	const struct event *thaw = event_of(DEED_THAW, 0);
	cr_assert(thaw[0].ms >= 6000 && thaw[1].ms >= thaw[0].ms + 1000 && thaw[2].ms >= thaw[1].ms + 1000);
	cr_assert(roll.candidate[0].phase == PHASE_ALIVE);
}

Test(ladder, freezes_again_in_the_next_shortage)
{
	batch_begin(ACTION_FREEZE);
	world_run(5000);
	filler_gives(3 * GIB);
	world_run(60000);
	cr_assert(events_of(DEED_FREEZE) > 3 && events_of(DEED_THAW) >= 3, "%s", world.said);
}

Test(ladder, tells_once_in_a_shortage)
{
	static const enum rule_action actions[] = { ACTION_NOTIFY, ACTION_RECLAIM };
	for (size_t i = 0; i < ARRAY_N(actions); i++) {
		enum deed_kind kind = actions[i] == ACTION_NOTIFY ? DEED_NOTIFY : DEED_RECLAIM;
		batch_begin(actions[i]);
		for (uint32_t j = 0; j < 3; j++)
			world.being[j].most = GIB + 101 * MIB;
		world_run(5000);
		cr_assert(events_of(kind) == 3, "%s", world.said);
		filler_gives(4 * GIB);
		world_run(8000);
		filler_gives(-4 * (int64_t)GIB);
		world_run(12000);
		cr_assert(events_of(kind) == 6, "once more in the next: %s", world.said);
	}
}

Test(ladder, nobody_follows_where_it_helped_to_tell)
{
	batch_begin(ACTION_NOTIFY);
	world.being[0].cache = world.being[1].cache = world.being[2].cache = GIB / 2;
	for (uint32_t j = 0; j < 3; j++)
		world.being[j].most = GIB + 101 * MIB;
	world_run(5000);
	cr_assert(events_of(DEED_NOTIFY) == 1, "%s", world.said);
}

Test(ladder, a_child_is_told_without_its_family)
{
	batch_begin(ACTION_NOTIFY);
	roll.rule[0].unit = UNIT_FAMILY;
	for (uint32_t i = 0; i < 3; i++) {
		roll.candidate[i].image = 77;
		world.being[i].most = GIB + 101 * MIB;
	}
	world_run(3000);
	cr_assert(events_of(DEED_NOTIFY) == 3);
	being_bear(0, 200 * MIB);
	world_run(4000);
	cr_assert(events_of(DEED_NOTIFY) == 4 && event_of(DEED_NOTIFY, 20000), "%s", world.said);
}

Test(ladder, who_is_told_comes_before_who_is_killed)
{
	batch_begin(ACTION_RECLAIM);
	roll_rule(ACTION_KILL, UNIT_PROCESS);
	world_add("hog", 700, GIB / 4);
	candidate_of(&world.being[roll.n - 1])->rules = 2;
	world_run(3000);
	const struct event *reclaim = event_of(DEED_RECLAIM, 0), *signal = event_of(DEED_SIGNAL, 700);
	cr_assert(events_of(DEED_RECLAIM) == 3 && signal && signal->ms >= reclaim->ms + 300, "%s", world.said);
}

/* --- nobody, and nothing --- */

Test(ladder, nobody_left_is_said_once)
{
	world_begin();
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	world_innocent("protected", 500, 4 * GIB);
	world_fill(MIB);
	world_run(5000);
	cr_assert(times_said("nobody is left") == 1 && times_said("its rule says never (line 1)") == 1, "%s", world.said);
	filler_gives(4 * GIB);
	world_run(6000);
	filler_gives(-4 * (int64_t)GIB);
	world_run(7500);
	cr_assert(times_said("nobody is left") == 2, "and once more in the next shortage: %s", world.said);
}

Test(ladder, dry_run_decides_the_same_and_nobody_follows)
{
	static const uint32_t rates[] = { 500, 8000 };
	for (size_t i = 0; i < ARRAY_N(rates); i++) {
		static struct event real;
		hog_begin(rates[i]);
		world_run(2100);
		real = *event_of(rates[i] == 500 ? DEED_SIGNAL : DEED_KILL, 0);
		hog_begin(rates[i]);
		world.dry = true;
		world_run(8000);
		const struct event *dry = event_of((enum deed_kind)real.kind, 0);
		cr_assert(dry && dry->pid == real.pid && dry->ms == real.ms && dry->signal == real.signal, "%s", world.said);
		for (uint32_t j = 0; j < world.events; j++)
			cr_assert(world.event[j].kind == DEED_WARN || world.event[j].pid == 500);
		cr_assert(events_of(DEED_KILL) == 1 && times_said("first is") == 1, "%s", world.said);
	}
}

Test(ladder, dry_run_begins_anew_when_memory_is_back)
{
	hog_begin(3000)->most = 7500 * MIB;
	world.dry = true;
	world_run(4000);
	cr_assert(events_of(DEED_KILL) == 1 && world.ladder[0].step == LADDER_KILLED);
	filler_gives(3 * GIB);
	world_run(5000);
	const struct candidate *hog = &roll.candidate[12];
	cr_assert(world.ladder[0].step == LADDER_REST && hog->phase == PHASE_ALIVE && !hog->victim, "%d %d %d %u:\n%s",
		  world.ladder[0].step, hog->phase, hog->victim, world_available(0) / MIB, world.said);
	filler_gives(-3 * (int64_t)GIB);
	world_run(7000);
	cr_assert(events_of(DEED_KILL) + events_of(DEED_SIGNAL) >= 2 && times_said("first is") == 2, "%s", world.said);
}

/* --- two watches --- */

/* A group of 4 GiB beside the machine: both are at a MiB below act. */
static void group_begin(void)
{
	world_begin();
	world.total[WORLD_GROUP] = 4 * GIB;
	roll_rule(ACTION_KILL, UNIT_PROCESS);
}

static void group_join(struct being *b)
{
	candidate_of(b)->watches = 3;
}

Test(ladder, one_hog_is_one_victim_of_two_watches)
{
	for (int ask = 0; ask < 2; ask++)
		for (uint32_t back = 0; back < 90; back += 30) {
			group_begin();
			struct being *hog = world_add("hog", 500, 3 * GIB / 2);
			struct being *other = world_innocent("other", 501, GIB / 2);
			struct being *rest = world_innocent("rest", 502, 2 * GIB - (ask ? 4 * GIB / 20 - MIB : MIB));
			candidate_of(rest)->rules = 0;
			group_join(hog);
			group_join(other);
			group_join(rest);
			hog->back_ms = back;
			world_fill(ask ? ACT - MIB : MIB);
			world_run(3000);
			cr_assert(events_of(ask ? DEED_SIGNAL : DEED_KILL) == 1 && event_of(ask ? DEED_SIGNAL : DEED_KILL, 500), "%s",
				  world.said);
		}
}

Test(ladder, a_group_that_is_short_takes_one_of_its_own)
{
	group_begin();
	world_innocent("larger, elsewhere", 600, 10 * GIB);
	group_join(world_innocent("small", 501, GIB));
	group_join(world_add("hog", 500, 3 * GIB - MIB));
	world_fill(6 * GIB);
	world_run(3000);
	cr_assert(events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500)->watch == WORLD_GROUP, "%s", world.said);
}

Test(ladder, time_that_anothers_victim_cost_is_forgotten)
{
	thrash_begin(80, 0);
	struct being *hog = &world.being[12];
	world.total[1] = 4 * GIB; /* it fills its group */
	group_join(hog);
	hog->kill_ms = 990; /* and ends right before the machine's second is over */
	hog->back_ms = 5000;
	world_run(1900);
	cr_assert(event_of(DEED_KILL, 500) && events_of(DEED_KILL) == 1, "%s", world.said);
}

Test(ladder, each_watch_takes_its_own)
{
	group_begin();
	group_join(world_add("hog", 500, 4 * GIB - MIB));
	world_add("hog", 600, 10 * GIB);
	world_innocent("innocent", 601, GIB);
	world_fill(MIB);
	world_run(3000);
	cr_assert(event_of(DEED_KILL, 600) && event_of(DEED_KILL, 600)->watch == 0, "%s", world.said);
	cr_assert(event_of(DEED_KILL, 500) && events_of(DEED_KILL) == 2);
}

/* Who is only asked to end for a group is not relied upon when the machine is nearly full. */
Test(ladder, a_watch_in_a_hurry_does_not_wait_for_anothers_grace)
{
	group_begin();
	struct being *asked = world_add("asked", 500, 4 * GIB - 150 * MIB);
	asked->term_ms = 0;
	group_join(asked);
	struct being *hog = world_add("hog", 600, 2 * GIB);
	hog->mib_s = 2000;
	world_fill(ACT + 600 * MIB);
	world_run(2000);
	const struct event *kill = event_of(DEED_KILL, 600);
	cr_assert(event_of(DEED_SIGNAL, 500) && kill && kill->ms < 1000, "%s", world.said);
}

Test(ladder, who_is_frozen_for_one_watch_is_not_thawed_by_another)
{
	batch_begin(ACTION_FREEZE);
	world.total[WORLD_GROUP] = 20 * GIB;
	for (uint32_t i = 0; i < 3; i++)
		group_join(&world.being[i]);
	world_run(10000);
	cr_assert(events_of(DEED_FREEZE) == 3 && events_of(DEED_THAW) == 0, "%s", world.said);
}

/* --- others in their places --- */

/* Its place is somebody else's at once, and by chance its pid is, too. */
Test(ladder, who_gets_a_victims_place_is_not_the_victim)
{
	static const enum rule_unit units[] = { UNIT_PROCESS, UNIT_FAMILY, UNIT_CGROUP, UNIT_ACCOUNT };
	for (size_t i = 0; i < ARRAY_N(units); i++)
		for (int same_pid = 0; same_pid < 2; same_pid++)
			for (int killed = 0; killed < 2; killed++) {
				world_begin();
				roll_rule(ACTION_KILL, units[i])->grace_ns = 50 * MS;
				struct being *hog = world_add("hog", 500, GIB);
				candidate_of(hog)->image = candidate_of(hog)->cgroup = 0;
				hog->term_ms = hog->kill_ms = 0;
				world_fill(killed ? MIB : ACT - 100 * MIB);
				world_run(4);
				cr_assert(events_of(killed ? DEED_KILL : DEED_SIGNAL) == 1, "%s", world.said);
				hog->innocent = true;
				struct candidate *c = roll_put(0, "innocent", same_pid ? 500 : 501, 10 * MIB);
				c->start_ticks = 12345;
				c->image = c->cgroup = 0;
				world_run(3000);
				cr_assert(events_of(DEED_SIGNAL) + events_of(DEED_KILL) == 1 && times_said("hog[500] is gone") == 1, "%s",
					  world.said);
			}
}

/* Another rule has the number of the victim's; or there is none of that number. */
Test(ladder, rules_may_change_while_a_victim_is_in_flight)
{
	for (uint32_t rules = 0; rules < 3; rules++) {
		world_begin();
		roll_rule(ACTION_KILL, UNIT_FAMILY);
		struct being *hog = world_add("hog", 500, GIB);
		hog->term_ms = 0;
		world_fill(ACT - 100 * MIB);
		world_run(4);
		cr_assert(events_of(DEED_SIGNAL) == 1);
		roll.rules = 0;
		roll_rule(ACTION_NEVER, UNIT_FAMILY);
		roll_rule(ACTION_NOTIFY, UNIT_PROCESS);
		roll.rules = rules;
		being_bear(0, MIB);
		world.being[roll.n - 1].innocent = true;
		world_run(3000);
		cr_assert(events_of(DEED_SIGNAL) == 1 && events_of(DEED_KILL) == 1 && event_of(DEED_KILL, 500)->ms >= 1999, "%s",
			  world.said);
	}
}

Test(ladder, a_reload_that_changes_nothing_changes_nothing)
{
	forker_begin(ACT - MIB);
	world_run(500);
	roll.rules = 0;
	roll_rule(ACTION_KILL, UNIT_FAMILY);
	being_bear(12, MIB);
	world_run(1000);
	cr_assert(events_of(DEED_SIGNAL) == 17 && event_of(DEED_SIGNAL, 20000), "%s", world.said);
}

/* One of a family does not end; who is born to it later does, and is not waited for longer. */
Test(ladder, who_is_stuck_is_not_waited_for_again)
{
	world_begin();
	roll_rule(ACTION_KILL, UNIT_FAMILY);
	struct being *stuck = world_add("stuck", 500, 600 * MIB);
	stuck->kill_ms = 0;
	world_add("hog", 600, 300 * MIB);
	world_fill(MIB);
	world_run(100);
	being_bear(0, 400 * MIB);
	roll.candidate[roll.n - 1].rules = 0; /* not yet */
	world_run(900);
	roll.candidate[roll.n - 1].rules = UINT64_MAX;
	candidate_of(stuck)->phase = PHASE_STUCK;
	candidate_of(stuck)->victim = 0;
	world.ladder[0].step = LADDER_REST;
	world_run(1500);
	const struct event *child = event_of(DEED_KILL, 20000), *hog = event_of(DEED_KILL, 600);
	cr_assert(child && hog && hog->ms <= child->ms + 200, "%s", world.said);
}

/* --- waits --- */

Test(ladder, waits_are_never_nothing)
{
	hog_begin(100)->term_ms = 0;
	world.policy[0].settle_ns = 0;
	roll.rule[0].grace_ns = roll.rule[0].deadline_ns = 0;
	for (uint32_t i = 0; i < 12; i++)
		roll.candidate[i].rules = 0;
	world_run(4000); /* world_run() asserts it */
	cr_assert(events_of(DEED_KILL) >= 1);
}

/* It may stay so for hours. */
Test(ladder, with_nobody_left_it_does_not_hurry)
{
	world_begin();
	roll_rule(ACTION_NEVER, UNIT_PROCESS);
	world_innocent("protected", 500, 4 * GIB);
	world_fill(MIB);
	world_run(1000);
	cr_assert(world.ladder[0].nobody && ladder_wait_ns(&world.ladder[0], &world.policy[0]) == LADDER_NOBODY_NS);
}

Test(ladder, idles_a_second_and_hurries_in_flight)
{
	world_begin();
	world_fill(20 * GIB);
	world_run(10);
	cr_assert(ladder_wait_ns(&world.ladder[0], &world.policy[0]) == WATCH_LONGEST_NS);
	hog_begin(100)->term_ms = 0;
	world_run(2500);
	cr_assert(world.ladder[0].step == LADDER_TOLD && ladder_wait_ns(&world.ladder[0], &world.policy[0]) <= 2 * MS);
}
