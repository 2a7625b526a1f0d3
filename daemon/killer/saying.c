/* SPDX-License-Identifier: MIT */
#include "daemon/killer/saying.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "reserve/size.h"

#define NEXT_SHOWN 3u
#define PASSED_SHOWN 4u
#define NAME_BYTES 64

struct size {
	char text[SIZE_FORMAT_BYTES];
};

static const char *size(struct size *of, uint64_t pages)
{
	return size_format(of->text, sizeof of->text, bytes_of(pages));
}

/* "hog[17]", "hog[17] and 15 more" */
static const char *unit_name_of(char text[NAME_BYTES], const char *comm, const struct standing *s)
{
	int n = snprintf(text, NAME_BYTES, "%s[%d]", comm, s->pid);
	if (s->count > 1 && n > 0 && n < NAME_BYTES)
		snprintf(text + n, NAME_BYTES - (size_t)n, " and %u more", s->count - 1);
	return text;
}

/* --- memory --- */

static void left_say(struct script *s, const struct ladder *l, const struct watch_policy *p, const char *what,
		     const struct threshold *t)
{
	struct size available, total, at, fall, swap;
	const struct gauge *g = &l->gauge;
	char rate[96] = "", swapped[64] = "";
	if (g->fall && g->pressure != PRESSURE_NONE)
		snprintf(rate, sizeof rate, ", falling by %s a second: it lasts %llu ms", size(&fall, g->fall),
			 (unsigned long long)(gauge_lasts_ns(g) / 1000000));
	if (g->last.swap_total)
		snprintf(swapped, sizeof swapped, ", %s of swap free", size(&swap, g->last.swap_free));
	script_say(s, "%s: memory %s: %s of %s available (%s is %s)%s%s", watch_name(p), what,
		   size(&available, g->last.available), size(&total, g->last.total), t == &p->act ? "act" : "warn",
		   size(&at, threshold_pages(t, g->last.total)), swapped, rate);
}

void saying_warn(struct script *s, const struct ladder *l, const struct watch_policy *p)
{
	left_say(s, l, p, "is getting short", &p->warn);
}

void saying_short(struct script *s, const struct ladder *l, const struct watch_policy *p)
{
	char stalled[64];
	snprintf(stalled, sizeof stalled, "is so short that %u %% of the time is lost", l->gauge.stall_ppm / 10000);
	left_say(s, l, p, l->gauge.stalled ? stalled : l->gauge.soon ? "will soon be gone" : "is short", &p->act);
}

void saying_calm(struct script *s, const struct ladder *l, const struct watch_policy *p)
{
	/* Where swap is free, there may be none, and yet nobody waits. */
	bool there = l->gauge.last.available > threshold_pages(&p->warn, l->gauge.last.total);
	left_say(s, l, p, there ? "is there again" : "is waited for no longer", &p->warn);
}

/* --- the choice --- */

static void figures_print(char *text, size_t bytes, const struct standing *s)
{
	struct size over, returns;
	snprintf(text, bytes, "order %u%s, %s over its guarantee, returns %s, %u s of CPU", s->order,
		 s->borrower ? ", a fork on credit" : "", size(&over, s->over), size(&returns, s->returns), s->cpu_s);
}

static void first_say(struct script *s, const struct roll *roll, const struct standing *first)
{
	const struct rule *r = &roll->rule[first->rule];
	char name[NAME_BYTES], figures[160];
	figures_print(figures, sizeof figures, first);
	script_say(s, "first is %s by the rule in line %d (%s): %s",
		   unit_name_of(name, roll->candidate[first->candidate].comm, first), r->line, action_name[r->action],
		   figures);
}

/* The next of those that are ranked after `after`. */
static const struct standing *ranked_after(const struct standing *all, uint32_t n, const struct standing *after)
{
	const struct standing *next = NULL;
	for (uint32_t i = 0; i < n; i++)
		if (all[i].reason == STANDING_RANKED && standing_compare(&all[i], after) > 0 &&
		    (!next || standing_compare(&all[i], next) < 0))
			next = &all[i];
	return next;
}

static void next_say(struct script *s, const struct roll *roll, const struct standing *all, uint32_t n,
		     const struct standing *after)
{
	for (uint32_t i = 0; i < NEXT_SHOWN && (after = ranked_after(all, n, after)) != NULL; i++) {
		char name[NAME_BYTES], figures[160];
		figures_print(figures, sizeof figures, after);
		script_say(s, "after it %s: %s", unit_name_of(name, roll->candidate[after->candidate].comm, after), figures);
	}
}

/* The largest of those that are not ranked, smaller than `below` (or as large, with a higher pid). */
static const struct standing *passed_after(const struct standing *all, uint32_t n, const struct standing *below)
{
	const struct standing *largest = NULL;
	for (uint32_t i = 0; i < n; i++) {
		const struct standing *s = &all[i];
		if (s->reason == STANDING_RANKED || s->reason == STANDING_KERNEL)
			continue;
		if (below && (s->returns > below->returns || (s->returns == below->returns && s->pid <= below->pid)))
			continue;
		if (!largest || s->returns > largest->returns || (s->returns == largest->returns && s->pid < largest->pid))
			largest = s;
	}
	return largest;
}

static void passed_say(struct script *s, const struct roll *roll, const struct standing *all, uint32_t n,
		       uint32_t more_than)
{
	const struct standing *p = NULL;
	for (uint32_t i = 0; i < PASSED_SHOWN && (p = passed_after(all, n, p)) && p->returns >= more_than; i++) {
		struct size returns;
		char rule[32] = "";
		if (p->reason == STANDING_NEVER)
			snprintf(rule, sizeof rule, " (line %d)", roll->rule[p->rule].line);
		script_say(s, "passed over: %s[%d], which holds %s: %s%s", roll->candidate[p->candidate].comm, p->pid,
			   size(&returns, p->returns), standing_explain(p, NULL), rule);
	}
}

void saying_choice(struct script *s, const struct roll *roll, const struct standing *first,
		   const struct standing *all, uint32_t n)
{
	first_say(s, roll, first);
	next_say(s, roll, all, n, first);
	passed_say(s, roll, all, n, first->returns);
}

void saying_nobody(struct script *s, const struct roll *roll, const struct ladder *l, const struct watch_policy *p,
		   const struct standing *all, uint32_t n)
{
	script_say(s, "%s: nobody is left that a rule gives up%s; see solvent rank", watch_name(p),
		   l->victims ? ", and memory is still short" : "");
	passed_say(s, roll, all, n, 1);
}

/* --- the victim --- */

static const char *victim_name(char text[NAME_BYTES], const struct ladder *l)
{
	return unit_name_of(text, l->comm, &l->victim);
}

void saying_tell(struct script *s, const struct ladder *l)
{
	char name[NAME_BYTES];
	script_say(s, "%s is asked to end by SIG%s, and has %llu ms", victim_name(name, l), sigabbrev_np(l->rule.signal),
		   (unsigned long long)(l->rule.grace_ns / 1000000));
}

void saying_kill(struct script *s, const struct ladder *l, const char *why)
{
	char name[NAME_BYTES];
	script_say(s, "%s is killed: %s", victim_name(name, l), why);
}

void saying_spared(struct script *s, const struct ladder *l, const struct watch_policy *p)
{
	char name[NAME_BYTES];
	struct size available;
	script_say(s, "%s: %s available: %s is not killed, though it was asked to end", watch_name(p),
		   size(&available, l->gauge.last.available), victim_name(name, l));
}

void saying_gone(struct script *s, const struct ladder *l, const struct watch_policy *p)
{
	char name[NAME_BYTES];
	struct size available;
	uint64_t now_ns = l->gauge.last.now_ns;
	script_say(s, "%s is gone, %llu ms after memory was short; %s: %s available", victim_name(name, l),
		   (unsigned long long)((now_ns - l->crossed_ns) / 1000000), watch_name(p),
		   size(&available, l->gauge.last.available));
}

void saying_stuck(struct script *s, const struct ladder *l)
{
	char name[NAME_BYTES];
	script_say(s, "%s was killed %llu ms ago and is not gone; it is waited for no longer", victim_name(name, l),
		   (unsigned long long)((l->gauge.last.now_ns - l->since_ns) / 1000000));
}

void saying_thaw(struct script *s, const struct candidate *c)
{
	script_say(s, "%s[%d] goes on: memory is there again", c->comm, c->pid);
}
