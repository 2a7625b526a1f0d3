/* SPDX-License-Identifier: MIT */
#include "daemon/killer/watch.h"

#define NS_PER_S 1000000000ull

uint32_t threshold_pages(const struct threshold *t, uint32_t whole)
{
	return t->ppm ? (uint32_t)((uint64_t)whole * t->ppm / 1000000) : t->pages;
}

/* Memory alone does not count while there is swap to go to. */
static bool is_below(const struct reading *r, const struct threshold *memory, const struct threshold *swap)
{
	return r->available <= threshold_pages(memory, r->total) &&
	       (r->swap_total == 0 || r->swap_free <= threshold_pages(swap, r->swap_total));
}

/* The rate is that of a span, and holds until the next is over: one reading beside another says
 * nothing where counters move in batches. A span that is long ago says nothing either. */
static void rate_measure(struct gauge *g, const struct reading *r)
{
	uint64_t span = r->now_ns - g->since_ns;
	if (g->since_ns != 0 && span < WATCH_SPAN_NS)
		return;
	uint32_t fallen = g->since_available > r->available ? g->since_available - r->available : 0;
	g->fall = g->since_ns != 0 && span <= WATCH_LONGEST_NS ? (uint64_t)fallen * NS_PER_S / span : 0;
	g->since_ns = r->now_ns;
	g->since_available = r->available;
}

void gauge_forget_stall(struct gauge *g, const struct reading *r)
{
	g->stall_since_ns = r->now_ns;
	g->stall_since_us = r->stall_us;
	g->stall_ppm = 0;
}

/* Of the last span that is over, until the next is. True: one is over now. */
static bool stall_measure(struct gauge *g, const struct reading *r)
{
	uint64_t span = r->now_ns - g->stall_since_ns;
	if (g->stall_since_ns != 0 && span < WATCH_STALL_NS)
		return false;
	bool known = g->stall_since_us != 0 && r->stall_us > g->stall_since_us;
	uint64_t lost_us = known ? r->stall_us - g->stall_since_us : 0;
	g->stall_ppm = (uint32_t)min_u64(lost_us * NS_PER_S / span, 1000000);
	g->stall_since_ns = r->now_ns;
	g->stall_since_us = r->stall_us;
	return true;
}

/* Swap that is free is no help where pages come and go all the time; and what was done against it
 * begins no new shortage with every second. */
static void stall_judge(struct gauge *g, const struct watch_policy *p, const struct reading *r)
{
	bool over = stall_measure(g, r), low = r->available <= threshold_pages(&p->warn, r->total);
	g->stalled = p->stall_ppm != 0 && low && g->stall_ppm >= p->stall_ppm;
	if (g->stalled)
		g->stalling = true;
	else if (!low || p->stall_ppm == 0 || (over && g->stall_ppm < p->stall_ppm / 2))
		g->stalling = false;
}

uint64_t gauge_lasts_ns(const struct gauge *g)
{
	return g->fall == 0 ? UINT64_MAX : (uint64_t)g->last.available * NS_PER_S / g->fall;
}

/* Nobody is killed for what could not be read. */
static void nothing_read(struct gauge *g, const struct reading *r)
{
	g->last.now_ns = r->now_ns;
	g->pressure = PRESSURE_NONE;
	g->soon = g->stalled = false;
	gauge_forget_stall(g, r);
}

void gauge_read(struct gauge *g, const struct watch_policy *p, const struct reading *r)
{
	if (r->total == 0) {
		nothing_read(g, r);
		return;
	}
	if (r->available < g->last.available || r->swap_free < g->last.swap_free)
		g->fell_ns = r->now_ns;
	rate_measure(g, r);
	stall_judge(g, p, r);
	g->last = *r;
	g->pressure = is_below(r, &p->act, &p->swap_act)		    ? PRESSURE_ACT :
		      g->stalling || is_below(r, &p->warn, &p->swap_warn) ? PRESSURE_WARN :
									      PRESSURE_NONE;
	g->soon = g->pressure == PRESSURE_WARN && p->exhaustion_ns != 0 && gauge_lasts_ns(g) <= p->exhaustion_ns;
	g->stalled = g->stalled && g->pressure != PRESSURE_ACT;
	if (g->soon || g->stalled)
		g->pressure = PRESSURE_ACT;
}

uint64_t gauge_wait_ns(const struct gauge *g, const struct watch_policy *p)
{
	const struct reading *r = &g->last;
	uint32_t act = threshold_pages(&p->act, r->total);
	uint64_t left = r->available > act ? r->available - act : 0;
	/* Swap is written no faster than a tenth of that; until it is down to its own threshold,
	 * memory may stay below. */
	uint32_t swap_act = threshold_pages(&p->swap_act, r->swap_total);
	if (r->swap_total != 0 && r->swap_free > swap_act)
		left = max_u64(left, (uint64_t)(r->swap_free - swap_act) * 10);
	uint64_t wait = min_u64(left, PAGES_MAX) * NS_PER_S / (WATCH_FILL_BYTES >> PAGE_SHIFT);
	bool quiet = r->now_ns - g->fell_ns > WATCH_QUIET_NS;
	if (p->stall_ppm && r->available <= threshold_pages(&p->warn, r->total))
		wait = min_u64(wait, WATCH_STALL_NS / 10);
	return min_u64(max_u64(wait, quiet ? WATCH_CALM_NS : WATCH_SHORTEST_NS), WATCH_LONGEST_NS);
}

const char *watch_name(const struct watch_policy *p)
{
	return p->group[0] ? p->group : "the machine";
}
