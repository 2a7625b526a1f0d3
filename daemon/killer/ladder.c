/* SPDX-License-Identifier: MIT */
#include "daemon/killer/ladder.h"

#include <signal.h>
#include <string.h>

#include "daemon/killer/saying.h"

#define FLIGHT_NS (2 * 1000000ull) /* a victim's death is looked for this often */

/* All that a step works with. */
struct climb {
	struct ladder *l;
	struct roll *roll;
	const struct watch_policy *policy;
	struct script *script;
	uint64_t now_ns;
	uint32_t w;
	bool dry;
};

/* rank() needs room for everybody; one step at a time is made. */
static struct standing standing[ROLL];

/* --- the victim --- */

static bool is_victim(const struct climb *c, const struct candidate *of)
{
	return of->pid != 0 && of->victim == c->w + 1;
}

/* Those that were born into a unit since go with it. */
static void victim_gather(struct climb *c)
{
	for (uint32_t i = 0; i < c->roll->n; i++) {
		struct candidate *of = &c->roll->candidate[i];
		if (of->victim == 0 && of->phase != PHASE_STUCK && standing_takes(c->roll, &c->l->victim, i) && of->watches >> c->w & 1)
			of->victim = (uint8_t)(c->w + 1);
	}
}

static uint32_t victim_count(const struct climb *c)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < c->roll->n; i++)
		n += is_victim(c, &c->roll->candidate[i]);
	return n;
}

static void victim_leave(struct climb *c, enum phase phase)
{
	for (uint32_t i = 0; i < c->roll->n; i++) {
		struct candidate *of = &c->roll->candidate[i];
		if (!is_victim(c, of))
			continue;
		of->victim = 0;
		of->phase = (uint8_t)phase;
	}
}

/* Everyone of it that is not as far yet is brought there: the eldest first, then by age as they
 * come; supervisors are older than whom they would start again. */
static void victim_bring(struct climb *c, enum phase phase, enum deed_kind kind)
{
	uint64_t after = 0;
	int32_t after_pid = 0;
	for (;;) {
		uint32_t eldest = ROLL;
		for (uint32_t i = 0; i < c->roll->n; i++) {
			const struct candidate *of = &c->roll->candidate[i];
			if (!is_victim(c, of) || of->phase >= phase ||
			    of->start_ticks < after || (of->start_ticks == after && of->pid <= after_pid))
				continue;
			const struct candidate *best = eldest < ROLL ? &c->roll->candidate[eldest] : NULL;
			if (!best || of->start_ticks < best->start_ticks ||
			    (of->start_ticks == best->start_ticks && of->pid < best->pid))
				eldest = i;
		}
		if (eldest == ROLL)
			return;
		struct candidate *of = &c->roll->candidate[eldest];
		after = of->start_ticks;
		after_pid = of->pid;
		if (!script_do(c->script, (struct deed){ .kind = (uint8_t)kind, .signal = c->l->rule.signal,
							 .watch = (uint8_t)c->w, .candidate = eldest }))
			return;
		of->phase = (uint8_t)phase;
	}
}

static void step_to(struct climb *c, enum ladder_step step, uint64_t for_ns)
{
	c->l->step = (uint8_t)step;
	if (step == LADDER_SETTLE)
		gauge_forget_stall(&c->l->gauge, &c->l->gauge.last);
	c->l->since_ns = c->now_ns;
	c->l->until_ns = for_ns > UINT64_MAX - c->now_ns ? UINT64_MAX : c->now_ns + for_ns;
}

static void victim_kill(struct climb *c, const char *why)
{
	victim_bring(c, PHASE_KILLED, DEED_KILL);
	saying_kill(c->script, c->l, why);
	c->l->settled = (uint64_t)c->l->gauge.last.available + c->l->victim.returns;
	step_to(c, LADDER_KILLED, c->dry ? UINT64_MAX : c->l->rule.deadline_ns);
}

/* Memory that will not last for what is left of the grace is no time to be patient. */
static const char *memory_hurries(const struct climb *c, uint64_t grace_ns)
{
	const struct gauge *g = &c->l->gauge;
	if (g->last.available <= threshold_pages(&c->policy->act, g->last.total) / 2)
		return "half of act is gone";
	if (gauge_lasts_ns(g) < grace_ns)
		return "memory does not last for its grace";
	return NULL;
}

static const char *haste(const struct climb *c, uint64_t grace_ns)
{
	return c->l->rule.signal == SIGKILL ? "its rule asks nobody" : memory_hurries(c, grace_ns);
}

/* --- a victim is in flight --- */

/* A page more than act is no memory that came back: its grace goes on, and ends with what is
 * there then. */
static void told_look(struct climb *c)
{
	struct ladder *l = c->l;
	uint64_t left = l->until_ns > c->now_ns ? l->until_ns - c->now_ns : 0;
	bool is_short = l->gauge.pressure == PRESSURE_ACT, calm = l->gauge.pressure == PRESSURE_NONE;
	if (calm || (!is_short && left == 0)) {
		saying_spared(c->script, l, c->policy);
		victim_leave(c, calm ? PHASE_ALIVE : PHASE_TOLD);
		step_to(c, LADDER_REST, 0);
		return;
	}
	const char *why = left == 0 ? "its grace is over" : is_short ? haste(c, left) : NULL;
	if (why)
		victim_kill(c, why);
	else
		victim_bring(c, PHASE_TOLD, DEED_SIGNAL);
}

static void killed_look(struct climb *c)
{
	if (c->now_ns < c->l->until_ns && !(c->dry && c->l->gauge.pressure == PRESSURE_NONE)) {
		victim_bring(c, PHASE_KILLED, DEED_KILL);
		if (c->now_ns - c->l->since_ns >= LADDER_RELEASE_NS)
			victim_bring(c, PHASE_RELEASED, DEED_RELEASE);
		return;
	}
	if (c->dry) {
		victim_leave(c, PHASE_ALIVE);
		step_to(c, LADDER_REST, 0);
		return;
	}
	saying_stuck(c->script, c->l);
	victim_leave(c, PHASE_STUCK);
	step_to(c, LADDER_REST, 0);
}

/* Where another rule has the number of the victim's, nobody goes with it any more. */
static bool rule_is_same(const struct roll *roll, const struct ladder *l)
{
	return l->victim.rule < roll->rules && memcmp(&roll->rule[l->victim.rule], &l->rule, sizeof l->rule) == 0;
}

/* Rules may have changed since, and places in the roll have other owners. */
static void flight_look(struct climb *c)
{
	if (c->l->rule.unit != UNIT_PROCESS && rule_is_same(c->roll, c->l)) {
		rank(c->roll, c->w, c->l->gauge.last.total, standing);
		victim_gather(c);
	}
	if (victim_count(c) == 0) {
		c->roll->ended_ns = c->now_ns;
		saying_gone(c->script, c->l, c->policy);
		step_to(c, LADDER_SETTLE, c->policy->settle_ns);
	} else if (c->l->step == LADDER_TOLD) {
		told_look(c);
	} else {
		killed_look(c);
	}
}

/* --- the next victim --- */

/* It goes with the standing, and is neither ending nor had it done to it already. */
static bool is_due(const struct climb *c, const struct standing *s, uint32_t i)
{
	const struct candidate *of = &c->roll->candidate[i];
	return standing_takes(c->roll, s, i) && (of->watches >> c->w & 1) && of->victim == 0 &&
	       of->phase < PHASE_KILLED && !(of->tried >> c->l->rule.action & 1);
}

static void unit_do(struct climb *c, const struct standing *s, enum deed_kind kind)
{
	for (uint32_t i = 0; i < c->roll->n; i++) {
		struct candidate *of = &c->roll->candidate[i];
		if (!is_due(c, s, i) ||
		    !script_do(c->script, (struct deed){ .kind = (uint8_t)kind, .watch = (uint8_t)c->w, .candidate = i }))
			continue;
		of->tried |= (uint8_t)(1u << c->l->rule.action);
		if (kind != DEED_FREEZE)
			continue;
		of->phase = PHASE_FROZEN;
		of->freezer = (uint8_t)(c->w + 1);
	}
	c->l->settled = UINT64_MAX;
	step_to(c, LADDER_SETTLE, c->policy->settle_ns);
}

static void victim_take(struct climb *c, const struct standing *s)
{
	struct ladder *l = c->l;
	bool told = c->roll->candidate[s->candidate].phase == PHASE_TOLD;
	l->victim = *s;
	memcpy(l->comm, c->roll->candidate[s->candidate].comm, sizeof l->comm);
	l->victims++;
	l->settled = (uint64_t)l->gauge.last.available + s->returns;
	victim_gather(c);
	const char *why = told ? "it was asked before" : haste(c, l->rule.grace_ns);
	if (why) {
		victim_kill(c, why);
		return;
	}
	victim_bring(c, PHASE_TOLD, DEED_SIGNAL);
	saying_tell(c->script, l);
	step_to(c, LADDER_TOLD, l->rule.grace_ns);
}

static void next_take(struct climb *c)
{
	struct ladder *l = c->l;
	uint32_t n = rank(c->roll, c->w, l->gauge.last.total, standing);
	const struct standing *first = rank_first(standing, n);
	if (!first) {
		if (!l->nobody)
			saying_nobody(c->script, c->roll, l, c->policy, standing, n);
		l->nobody = true;
		return;
	}
	l->rule = c->roll->rule[first->rule];
	l->nobody = false;
	saying_choice(c->script, c->roll, first, standing, n);
	switch (l->rule.action) {
	case ACTION_NOTIFY:
		unit_do(c, first, DEED_NOTIFY);
		break;
	case ACTION_RECLAIM:
		unit_do(c, first, DEED_RECLAIM);
		break;
	case ACTION_FREEZE:
		unit_do(c, first, DEED_FREEZE);
		break;
	default:
		victim_take(c, first);
	}
}

/* Does somebody end for another watch whose memory is this one's, too? Who was only asked is not
 * relied upon in a hurry. */
static bool others_end(const struct climb *c)
{
	bool hurry = memory_hurries(c, RULE_GRACE_NS) != NULL;
	if (c->l->gauge.pressure != PRESSURE_ACT)
		return false;
	for (uint32_t i = 0; i < c->roll->n; i++) {
		const struct candidate *of = &c->roll->candidate[i];
		if (of->pid != 0 && of->victim != 0 && of->victim != c->w + 1 && (of->watches >> c->w & 1) &&
		    (of->phase == PHASE_KILLED || (of->phase == PHASE_TOLD && !hurry)))
			return true;
	}
	return false;
}

/* Is the memory of the last one back, or has it had its time? */
static void settle_look(struct climb *c)
{
	if (others_end(c)) {
		c->l->settled = UINT64_MAX;
		step_to(c, LADDER_SETTLE, c->policy->settle_ns);
		return;
	}
	if (c->l->step == LADDER_REST)
		return;
	if (c->now_ns >= c->l->until_ns || c->l->gauge.last.available >= c->l->settled)
		step_to(c, LADDER_REST, 0);
}

/* --- memory comes and goes --- */

/* Whom this watch froze: that another is calm says nothing. */
static void thaw_one(struct climb *c)
{
	for (uint32_t i = 0; i < c->roll->n; i++) {
		struct candidate *of = &c->roll->candidate[i];
		if (of->pid == 0 || of->phase != PHASE_FROZEN || of->freezer != c->w + 1)
			continue;
		if (!script_do(c->script, (struct deed){ .kind = DEED_THAW, .watch = (uint8_t)c->w, .candidate = i }))
			return;
		saying_thaw(c->script, of);
		of->freezer = 0;
		of->phase = PHASE_ALIVE;
		of->tried = 0;
		return;
	}
}

/* Everybody but the frozen and the dying starts anew. */
static void forgive(struct climb *c)
{
	for (uint32_t i = 0; i < c->roll->n; i++) {
		struct candidate *of = &c->roll->candidate[i];
		if (of->victim != 0 || of->phase == PHASE_FROZEN || !(of->watches >> c->w & 1))
			continue;
		of->tried = 0;
		if (of->phase == PHASE_TOLD)
			of->phase = PHASE_ALIVE;
	}
}

/* Where time was lost, whoever was frozen for it would lose it again. */
static bool may_thaw(const struct climb *c)
{
	const struct reading *r = &c->l->gauge.last;
	return c->policy->stall_ppm == 0 || r->available > threshold_pages(&c->policy->warn, r->total);
}

static void calm_look(struct climb *c)
{
	struct ladder *l = c->l;
	if (l->calm_ns == 0) {
		l->calm_ns = c->now_ns;
		if (l->short_of)
			forgive(c);
		if (l->warned || l->short_of)
			saying_calm(c->script, l, c->policy);
		l->warned = l->short_of = l->nobody = false;
		l->victims = 0;
	} else if (c->now_ns - l->calm_ns >= LADDER_THAW_NS && may_thaw(c)) {
		l->calm_ns = c->now_ns;
		thaw_one(c);
	}
}

/* Says what has changed. True: members are to be told. */
static bool pressure_look(struct climb *c)
{
	struct ladder *l = c->l;
	bool warn = !l->warned, act = l->gauge.pressure == PRESSURE_ACT && !l->short_of;
	if (l->gauge.pressure == PRESSURE_NONE) {
		calm_look(c);
		return false;
	}
	l->calm_ns = 0;
	if (act) {
		saying_short(c->script, l, c->policy);
		l->short_of = true;
		l->crossed_ns = c->now_ns;
	} else if (warn) {
		saying_warn(c->script, l, c->policy);
	}
	l->warned = true;
	return warn || act;
}

void ladder_climb(struct ladder *l, struct roll *roll, uint32_t w, const struct watch_policy *p,
		  const struct reading *r, bool dry, struct script *ret)
{
	struct climb c = { .l = l, .roll = roll, .policy = p, .script = ret, .now_ns = r->now_ns, .w = w, .dry = dry };
	if (roll->ended_ns > l->gauge.stall_since_ns)
		gauge_forget_stall(&l->gauge, r);
	gauge_read(&l->gauge, p, r);
	bool warn = pressure_look(&c);
	if (l->step == LADDER_REST || l->step == LADDER_SETTLE)
		settle_look(&c);
	else
		flight_look(&c);
	if (l->gauge.pressure == PRESSURE_ACT && l->step == LADDER_REST)
		next_take(&c);
	/* Whoever is to be killed is killed first. */
	if (warn)
		script_do(ret, (struct deed){ .kind = DEED_WARN, .signal = l->gauge.pressure, .watch = (uint8_t)w });
}

uint64_t ladder_wait_ns(const struct ladder *l, const struct watch_policy *p)
{
	uint64_t wait = gauge_wait_ns(&l->gauge, p), now = l->gauge.last.now_ns;
	if (l->step == LADDER_REST && l->nobody)
		return max_u64(wait, LADDER_NOBODY_NS);
	if (l->step == LADDER_REST || l->until_ns == UINT64_MAX)
		return wait;
	uint64_t left = l->until_ns > now ? l->until_ns - now : 0;
	return min_u64(wait, min_u64(max_u64(left, 1), FLIGHT_NS)); /* 0 would disarm a timer */
}
