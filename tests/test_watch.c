/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "daemon/killer/watch.h"

TestSuite(watch, .timeout = 20);

#define MS 1000000ull
#define S (1000 * MS)
#define MIB 256u /* pages */
#define GIB (1024 * MIB)

static struct gauge gauge;

static enum pressure look(const struct watch_policy *p, struct reading r)
{
	gauge_read(&gauge, p, &r);
	return gauge.pressure;
}

Test(watch, knows_thresholds)
{
	static const struct {
		struct threshold t;
		uint32_t whole, pages;
	} table[] = {
		{ { 5, 0 }, 1000, 5 },	       { { 5, 0 }, 3, 5 },	      { { 0, 0 }, 1000, 0 },
		{ { 0, 50000 }, 1000, 50 },    { { 0, 50000 }, 2000, 100 },   { { 7, 50000 }, 1000, 50 },
		{ { 0, 1 }, 999999, 0 },       { { 0, 1 }, 1000000, 1 },      { { 0, 1000000 }, PAGES_MAX, PAGES_MAX },
		{ { 0, 500000 }, PAGES_MAX, PAGES_MAX / 2 }, { { 0, 50000 }, 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(threshold_pages(&table[i].t, table[i].whole) == table[i].pages, "row %zu", i);
}

Test(watch, knows_what_is_short)
{
	static const struct watch_policy p = { .warn = { .pages = 200 }, .act = { .pages = 100 },
					       .swap_warn = { .ppm = 200000 }, .swap_act = { .ppm = 100000 } };
	static const struct {
		const char *name;
		struct reading r; /* now, total, available, swap, of it free, time lost */
		enum pressure pressure;
	} table[] = {
		{ "plenty", { 1, 1000, 500, 0, 0, 0 }, PRESSURE_NONE },
		{ "a page above warn", { 1, 1000, 201, 0, 0, 0 }, PRESSURE_NONE },
		{ "at warn", { 1, 1000, 200, 0, 0, 0 }, PRESSURE_WARN },
		{ "a page above act", { 1, 1000, 101, 0, 0, 0 }, PRESSURE_WARN },
		{ "at act", { 1, 1000, 100, 0, 0, 0 }, PRESSURE_ACT },
		{ "nothing at all", { 1, 1000, 0, 0, 0, 0 }, PRESSURE_ACT },
		{ "swap to go to", { 1, 1000, 0, 1000, 500, 0 }, PRESSURE_NONE },
		{ "swap gets short", { 1, 1000, 0, 1000, 200, 0 }, PRESSURE_WARN },
		{ "swap is short", { 1, 1000, 0, 1000, 100, 0 }, PRESSURE_ACT },
		{ "swap is full, memory warns", { 1, 1000, 150, 1000, 0, 0 }, PRESSURE_WARN },
		{ "swap is full, memory is there", { 1, 1000, 500, 1000, 0, 0 }, PRESSURE_NONE },
		{ "what could not be read", { 1, 0, 0, 0, 0, 0 }, PRESSURE_NONE },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		gauge = (struct gauge){ 0 };
		enum pressure found = look(&p, table[i].r);
		cr_assert(found == table[i].pressure, "%s: %d", table[i].name, found);
	}
}

Test(watch, follows_a_total_that_changes)
{
	static const struct watch_policy p = { .warn = { .ppm = 200000 }, .act = { .ppm = 100000 } };
	cr_assert(look(&p, (struct reading){ 1 * S, 1000, 300, 0, 0, 0 }) == PRESSURE_NONE);
	cr_assert(look(&p, (struct reading){ 2 * S, 1500, 300, 0, 0, 0 }) == PRESSURE_WARN);
	cr_assert(look(&p, (struct reading){ 3 * S, 3000, 300, 0, 0, 0 }) == PRESSURE_ACT);
	cr_assert(look(&p, (struct reading){ 4 * S, 1000, 300, 0, 0, 0 }) == PRESSURE_NONE);
}

Test(watch, says_nothing_of_what_could_not_be_read)
{
	static const struct watch_policy p = { .warn = { .pages = 200 }, .act = { .pages = 100 }, .exhaustion_ns = 10 * S };
	look(&p, (struct reading){ 1 * S, 100000, 90000, 0, 0, 0 });
	cr_assert(look(&p, (struct reading){ 1 * S + 40 * MS, 0, 0, 0, 0, 0 }) == PRESSURE_NONE);
	cr_assert(look(&p, (struct reading){ 1 * S + 80 * MS, 100000, 90000, 0, 0, 0 }) == PRESSURE_NONE);
	cr_assert(gauge.fall == 0 && gauge_lasts_ns(&gauge) == UINT64_MAX, "it did not fall in between");
}

Test(watch, measures_the_rate_of_fall)
{
	static const struct watch_policy p = { .warn = { .pages = 10 }, .act = { .pages = 5 } };
	look(&p, (struct reading){ 1 * S, 10000, 9000, 0, 0, 0 });
	cr_assert(gauge.fall == 0, "one reading has no rate");
	look(&p, (struct reading){ 1 * S + 29 * MS, 10000, 1000, 0, 0, 0 });
	cr_assert(gauge.fall == 0, "nor has less than a span");
	look(&p, (struct reading){ 1 * S + 50 * MS, 10000, 8000, 0, 0, 0 });
	cr_assert(gauge.fall == 20000, "%lu", gauge.fall);
	cr_assert(gauge_lasts_ns(&gauge) == 400 * MS);
	look(&p, (struct reading){ 1 * S + 60 * MS, 10000, 4000, 0, 0, 0 });
	cr_assert(gauge.fall == 20000 && gauge_lasts_ns(&gauge) == 200 * MS, "it holds for a span");
	look(&p, (struct reading){ 1 * S + 90 * MS, 10000, 8500, 0, 0, 0 });
	cr_assert(gauge.fall == 0, "what rises does not fall");
	look(&p, (struct reading){ 3 * S, 10000, 10, 0, 0, 0 });
	cr_assert(gauge.fall == 0, "a span of seconds says nothing of now");
	look(&p, (struct reading){ 4 * S, 10000, 0, 0, 0, 0 });
	cr_assert(gauge.fall == 10, "a second is still one");
	cr_assert(gauge_lasts_ns(&gauge) == 0);
}

Test(watch, acts_before_memory_is_gone)
{
	static const struct watch_policy soon = { .warn = { .pages = 5000 }, .act = { .pages = 100 }, .exhaustion_ns = 500 * MS };
	static const struct watch_policy never = { .warn = { .pages = 5000 }, .act = { .pages = 100 } };
	static const struct {
		const char *name;
		const struct watch_policy *p;
		uint32_t from, to; /* in 100 ms */
		enum pressure pressure;
	} table[] = {
		{ "half a second", &soon, 3000, 2500, PRESSURE_ACT },
		{ "a little more", &soon, 3000, 2505, PRESSURE_WARN },
		{ "not asked for", &never, 3000, 1000, PRESSURE_WARN },
		{ "fast, but above warn", &soon, 9000, 6000, PRESSURE_NONE },
		{ "it rises", &soon, 2000, 3000, PRESSURE_WARN },
		{ "what is left counts as ever", &soon, 100, 100, PRESSURE_ACT },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		gauge = (struct gauge){ 0 };
		look(table[i].p, (struct reading){ 1 * S, 10000, table[i].from, 0, 0, 0 });
		enum pressure found = look(table[i].p, (struct reading){ 1 * S + 100 * MS, 10000, table[i].to, 0, 0, 0 });
		cr_assert(found == table[i].pressure, "%s: %d", table[i].name, found);
		cr_assert(gauge.soon == (found == PRESSURE_ACT && table[i].to > 100), "%s", table[i].name);
	}
}

/* --- time that is lost --- */

/* Readings a second apart, of as much memory as is given; `lost_ms` of each second. */
static enum pressure lose(const struct watch_policy *p, uint32_t available, uint32_t swap_free, const uint32_t *lost_ms, uint32_t n)
{
	uint64_t now = 1 * S, us = 5000000;
	gauge = (struct gauge){ 0 };
	look(p, (struct reading){ now, 1000, available, 1000, swap_free, us });
	for (uint32_t i = 0; i < n; i++)
		look(p, (struct reading){ now += S, 1000, available, 1000, swap_free, us += lost_ms[i] * 1000 });
	return gauge.pressure;
}

Test(watch, acts_where_time_is_lost)
{
	static const struct watch_policy half = { .warn = { .pages = 200 }, .act = { .pages = 100 }, .stall_ppm = 500000,
						  .swap_warn = { .ppm = 200000 }, .swap_act = { .ppm = 100000 } };
	static const struct watch_policy never = { .warn = { .pages = 200 }, .act = { .pages = 100 },
						   .swap_warn = { .ppm = 200000 }, .swap_act = { .ppm = 100000 } };
	static const struct {
		const char *name;
		const struct watch_policy *p;
		uint32_t available, swap_free, lost_ms[3], n;
		enum pressure pressure;
		bool stalled;
	} table[] = {
		{ "half of a second", &half, 200, 900, { 500 }, 1, PRESSURE_ACT, true },
		{ "all of it", &half, 0, 900, { 1000 }, 1, PRESSURE_ACT, true },
		{ "a little less", &half, 200, 900, { 499 }, 1, PRESSURE_NONE, false },
		{ "not asked for", &never, 0, 900, { 1000 }, 1, PRESSURE_NONE, false },
		{ "memory is there", &half, 201, 900, { 1000 }, 1, PRESSURE_NONE, false },
		{ "nothing was measured yet", &half, 0, 900, { 0 }, 0, PRESSURE_NONE, false },
		{ "it is over", &half, 100, 900, { 1000, 10 }, 2, PRESSURE_NONE, false },
		{ "it goes on", &half, 100, 900, { 1000, 900, 600 }, 3, PRESSURE_ACT, true },
		{ "it begins", &half, 100, 900, { 0, 100, 600 }, 3, PRESSURE_ACT, true },
		{ "swap is full as well", &half, 100, 0, { 1000 }, 1, PRESSURE_ACT, false },
		{ "more time than there was", &half, 100, 900, { 4000000 }, 1, PRESSURE_ACT, true },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		enum pressure found = lose(table[i].p, table[i].available, table[i].swap_free, table[i].lost_ms, table[i].n);
		cr_assert(found == table[i].pressure && gauge.stalled == table[i].stalled, "%s: %d", table[i].name, found);
	}
}

static const struct watch_policy tenth_lost = { .warn = { .pages = 200 }, .act = { .pages = 100 }, .stall_ppm = 100000,
						.swap_act = { .pages = 1 } };

static enum pressure lose_at(uint64_t ms, uint64_t lost_us)
{
	return look(&tenth_lost, (struct reading){ ms * MS, 1000, 50, 1000, 500, lost_us });
}

Test(watch, measures_lost_time_by_the_second)
{
	gauge = (struct gauge){ 0 };
	lose_at(1000, 7000000);
	cr_assert(lose_at(1300, 7300000) == PRESSURE_NONE, "300 ms of one pause are no second");
	cr_assert(lose_at(2000, 7300000) == PRESSURE_ACT && gauge.stall_ppm == 300000);
	cr_assert(lose_at(2900, 7300000) == PRESSURE_ACT, "it counts until the next is over");
	cr_assert(lose_at(3000, 7300000) == PRESSURE_NONE);
	cr_assert(lose_at(7000, 7800000) == PRESSURE_ACT && gauge.stall_ppm == 125000, "of all the time that was looked away");
}

Test(watch, forgets_lost_time_when_somebody_has_ended)
{
	gauge = (struct gauge){ 0 };
	lose_at(1000, 7000000);
	cr_assert(lose_at(2000, 8000000) == PRESSURE_ACT);
	lose_at(2100, 8100000);
	gauge_forget_stall(&gauge, &gauge.last);
	cr_assert(lose_at(2110, 8110000) == PRESSURE_WARN);
	cr_assert(lose_at(3000, 8110000) == PRESSURE_WARN, "whether it is better is not known yet");
	cr_assert(lose_at(3100, 8110000) == PRESSURE_NONE && gauge.stall_ppm == 10000, "only what came after");
}

Test(watch, a_shortage_of_time_ends_when_a_second_was_better_by_half)
{
	gauge = (struct gauge){ 0 };
	lose_at(1000, 7000000);
	cr_assert(lose_at(2000, 7100000) == PRESSURE_ACT);
	cr_assert(lose_at(3000, 7199000) == PRESSURE_WARN);
	cr_assert(lose_at(4000, 7249000) == PRESSURE_WARN, "half of it is not less than half");
	cr_assert(lose_at(5000, 7298000) == PRESSURE_NONE);
	cr_assert(lose_at(6000, 7398000) == PRESSURE_ACT);
	look(&tenth_lost, (struct reading){ 6001 * MS, 1000, 201, 1000, 500, 7398000 });
	cr_assert(gauge.pressure == PRESSURE_NONE, "memory is there");
}

Test(watch, lost_time_that_cannot_be_read_is_none)
{
	gauge = (struct gauge){ 0 };
	lose_at(1000, 7000000);
	cr_assert(lose_at(2000, 0) == PRESSURE_NONE);
	cr_assert(lose_at(3000, 7000000) == PRESSURE_NONE, "7 s since the machine began are not of this second");
	cr_assert(lose_at(4000, 7500000) == PRESSURE_ACT);
	look(&tenth_lost, (struct reading){ 4500 * MS, 0, 0, 0, 0, 0 });
	cr_assert(lose_at(5600, 8500000) == PRESSURE_NONE);
	cr_assert(lose_at(6600, 9500000) == PRESSURE_ACT);
}

Test(watch, looks_often_where_time_may_be_lost)
{
	static const struct watch_policy never = { .warn = { .pages = 200 }, .act = { .pages = 100 } };
	struct reading r = { 10 * S, 2 * GIB, 150, 2 * GIB, 2 * GIB, 0 };
	gauge = (struct gauge){ 0 };
	gauge_read(&gauge, &tenth_lost, &r);
	cr_assert(gauge_wait_ns(&gauge, &tenth_lost) == WATCH_STALL_NS / 10);
	cr_assert(gauge_wait_ns(&gauge, &never) == WATCH_LONGEST_NS, "swap takes its time");
}

/* --- how long until the next look --- */

static const struct watch_policy tenth = { .warn = { .ppm = 200000 }, .act = { .ppm = 100000 },
					   .swap_warn = { .ppm = 200000 }, .swap_act = { .ppm = 100000 } };

static uint64_t wait_at(uint32_t available, uint32_t swap_total, uint32_t swap_free)
{
	static struct gauge quiet;
	quiet = (struct gauge){ 0 };
	gauge_read(&quiet, &tenth, &(struct reading){ 10 * S, 20 * GIB, available, swap_total, swap_free, 0 });
	return gauge_wait_ns(&quiet, &tenth);
}

Test(watch, idles_a_second)
{
	cr_assert(wait_at(20 * GIB, 0, 0) == WATCH_LONGEST_NS);
	cr_assert(wait_at(10 * GIB, 0, 0) == WATCH_LONGEST_NS, "8 GiB above act");
	cr_assert(wait_at(10 * GIB - MIB, 0, 0) < WATCH_LONGEST_NS);
	cr_assert(wait_at(6 * GIB, 0, 0) == 500 * MS);
	cr_assert(wait_at(3 * GIB, 0, 0) == 125 * MS);
	cr_assert(wait_at(2 * GIB, 0, 0) == WATCH_CALM_NS && wait_at(0, 0, 0) == WATCH_CALM_NS);
}

Test(watch, waits_for_swap_to_fill)
{
	cr_assert(wait_at(0, 20 * GIB, 20 * GIB) == WATCH_LONGEST_NS);
	cr_assert(wait_at(0, 10 * GIB, 2 * GIB) == WATCH_LONGEST_NS, "a GiB above its act, ten times as slow");
	cr_assert(wait_at(0, 10 * GIB, GIB + 82 * MIB) < 110 * MS);
	cr_assert(wait_at(0, 10 * GIB, GIB) == WATCH_CALM_NS);
	cr_assert(wait_at(6 * GIB, 10 * GIB, 0) == 500 * MS, "memory must fall, too");
	cr_assert(wait_at(0, PAGES_MAX, PAGES_MAX) == WATCH_LONGEST_NS, "the largest there can be");
	cr_assert(wait_at(PAGES_MAX, PAGES_MAX, PAGES_MAX) == WATCH_LONGEST_NS);
}

Test(watch, looks_more_often_while_memory_falls)
{
	look(&tenth, (struct reading){ 10 * S, 20 * GIB, 2 * GIB, 0, 0, 0 });
	cr_assert(gauge_wait_ns(&gauge, &tenth) == WATCH_CALM_NS);
	look(&tenth, (struct reading){ 10 * S + 10 * MS, 20 * GIB, 2 * GIB - 1, 0, 0, 0 });
	cr_assert(gauge_wait_ns(&gauge, &tenth) == WATCH_SHORTEST_NS);
	look(&tenth, (struct reading){ 10 * S + 510 * MS, 20 * GIB, 2 * GIB, 0, 0, 0 });
	cr_assert(gauge_wait_ns(&gauge, &tenth) == WATCH_SHORTEST_NS);
	look(&tenth, (struct reading){ 10 * S + 511 * MS, 20 * GIB, 2 * GIB, 0, 0, 0 });
	cr_assert(gauge_wait_ns(&gauge, &tenth) == WATCH_CALM_NS);
	look(&tenth, (struct reading){ 11 * S, 20 * GIB, GIB, 4 * GIB, GIB / 4, 0 });
	look(&tenth, (struct reading){ 12 * S, 20 * GIB, GIB, 4 * GIB, GIB / 4 - 1, 0 });
	cr_assert(gauge_wait_ns(&gauge, &tenth) == WATCH_SHORTEST_NS, "swap that falls falls");
}

/* The crossing is seen late by no more than `late` after it. */
static void hog_grows(uint64_t mib_s, uint32_t from, uint64_t begins_ns, uint64_t late)
{
	uint32_t act = threshold_pages(&tenth.act, 24 * GIB);
	uint64_t crossing_ns = begins_ns + ((uint64_t)(from - act) * S + mib_s * MIB - 1) / (mib_s * MIB), last = 0;
	gauge = (struct gauge){ 0 };
	for (uint64_t now = 0;; now += gauge_wait_ns(&gauge, &tenth)) {
		uint64_t grown = now > begins_ns ? (now - begins_ns) / 1000 * mib_s * MIB / 1000000 : 0;
		uint32_t available = grown < from ? from - (uint32_t)grown : 0;
		enum pressure found = look(&tenth, (struct reading){ S + now, 24 * GIB, available, 0, 0, 0 });
		cr_assert(now == 0 || now - last >= WATCH_SHORTEST_NS);
		last = now;
		if (found != PRESSURE_ACT)
			continue;
		cr_assert(now <= crossing_ns + late, "%lu MiB/s from %u MiB after %lu ms: %lu us late", mib_s, from / MIB,
			  begins_ns / MS, (now - crossing_ns) / 1000);
		return;
	}
}

Test(watch, sees_every_hog_cross)
{
	static const uint64_t rates[] = { 100, 500, 2000, 8000 };
	static const uint32_t froms[] = { 20 * GIB, 12 * GIB, 4 * GIB, 3 * GIB };
	for (size_t i = 0; i < ARRAY_N(rates); i++)
		for (size_t j = 0; j < ARRAY_N(froms); j++)
			for (uint64_t begins = 0; begins < 3 * S; begins += 137 * MS)
				hog_grows(rates[i], froms[j], begins, 2 * MS + WATCH_SHORTEST_NS);
}

/* Out of a long quiet, right above act. */
Test(watch, sees_a_hog_that_begins_next_to_the_threshold)
{
	uint32_t act = threshold_pages(&tenth.act, 24 * GIB);
	for (uint64_t begins = 2 * S; begins < 2 * S + 20 * MS; begins += 3 * MS)
		hog_grows(2000, act + 4 * MIB, begins, WATCH_CALM_NS);
}
