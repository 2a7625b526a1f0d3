/* SPDX-License-Identifier: MIT */
/* Two passes: what each unit holds, because a rule may ask for it (over = SIZE); then which
 * rule decides about whom, and what goes together. */
#include "daemon/killer/rank.h"

#include <string.h>

#include "daemon/killer/tally.h"

static struct tally holdings; /* by family and by control group, whatever rule decides */
static struct tally units;    /* by what goes together */
static uint64_t account_held[BOOKS_ACCOUNTS];
static uint8_t rule_of[ROLL];

/* --- what units hold --- */

/* Of who goes alone: a pid may come again, with another start. */
static uint64_t own_key(const struct candidate *c)
{
	return (uint64_t)c->pid << 32 | (uint32_t)c->start_ticks;
}

/* One number for each family, group and account: an odd multiple keeps kinds apart well enough
 * for a hash, and the key is compared whole. */
static uint64_t unit_key(const struct candidate *c, enum rule_unit unit)
{
	switch (unit) {
	case UNIT_FAMILY:
		return c->image ? c->image * 2 + 1 : own_key(c);
	case UNIT_CGROUP:
		return c->cgroup ? c->cgroup * 2 : own_key(c);
	case UNIT_ACCOUNT:
		return c->account ? (uint64_t)c->account << 40 | 1 : own_key(c);
	default:
		return own_key(c);
	}
}

static void sum_add(struct sum *s, const struct candidate *c)
{
	s->pages = (uint32_t)min_u64((uint64_t)s->pages + c->held, PAGES_MAX);
	s->cpu_s += c->cpu_s;
	s->count++;
}

static bool unit_is_used(const struct roll *roll, enum rule_unit unit)
{
	for (uint32_t i = 0; i < roll->rules; i++)
		if (roll->rule[i].unit == unit)
			return true;
	return false;
}

/* Whose family or group is unknown holds what it holds: that is in no sum, and not in both. */
static void holdings_count(const struct roll *roll)
{
	bool families = unit_is_used(roll, UNIT_FAMILY), groups = unit_is_used(roll, UNIT_CGROUP);
	tally_begin(&holdings, roll->n);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		account_held[i] = roll->stake[i].shared;
	for (uint32_t i = 0; i < roll->n; i++) {
		const struct candidate *c = &roll->candidate[i];
		if (c->pid == 0)
			continue;
		if (c->account)
			account_held[c->account - 1] += c->held;
		if (families && c->image)
			sum_add(tally_at(&holdings, unit_key(c, UNIT_FAMILY), i), c);
		if (groups && c->cgroup)
			sum_add(tally_at(&holdings, unit_key(c, UNIT_CGROUP), i), c);
	}
}

static uint64_t unit_holds(const struct candidate *c, enum rule_unit unit)
{
	if (unit == UNIT_ACCOUNT && c->account)
		return account_held[c->account - 1];
	if (unit == UNIT_PROCESS || unit == UNIT_ACCOUNT)
		return c->held;
	const struct sum *s = tally_find(&holdings, unit_key(c, unit));
	return s ? s->pages : c->held;
}

/* --- which rule --- */

static bool rule_matches(const struct rule *r, const struct candidate *c)
{
	if ((r->managed == MANAGED_YES && !c->account) || (r->managed == MANAGED_NO && c->account))
		return false;
	if ((r->borrower == MANAGED_YES && !c->borrower) || (r->borrower == MANAGED_NO && c->borrower))
		return false;
	return r->over == 0 || unit_holds(c, r->unit) >= r->over;
}

static uint8_t rule_find(const struct roll *roll, const struct candidate *c)
{
	uint64_t may = c->rules & (c->account ? roll->stake[c->account - 1].rules : roll->unmanaged_rules);
	for (; may; may &= may - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(may);
		if (i < roll->rules && rule_matches(&roll->rule[i], c))
			return (uint8_t)i;
	}
	return RULES;
}

const struct rule *rank_rule(const struct roll *roll, uint32_t candidate)
{
	holdings_count(roll);
	uint8_t i = rule_find(roll, &roll->candidate[candidate]);
	return i < RULES ? &roll->rule[i] : NULL;
}

/* --- where one stands --- */

static enum standing_reason reason_exempt(const struct candidate *c)
{
	switch (c->exempt) {
	case EXEMPT_KERNEL:
		return STANDING_KERNEL;
	case EXEMPT_IMMUNE:
		return STANDING_IMMUNE;
	case EXEMPT_BEYOND:
		return STANDING_BEYOND;
	case EXEMPT_INIT:
		return STANDING_INIT;
	case EXEMPT_BROKER:
		return STANDING_BROKER;
	default:
		return STANDING_RANKED;
	}
}

static enum standing_reason reason_of(const struct candidate *c, uint32_t w, const struct rule *r)
{
	enum standing_reason exempt = reason_exempt(c);
	if (exempt != STANDING_RANKED)
		return exempt;
	if (!(c->watches >> w & 1))
		return STANDING_ELSEWHERE;
	if (!r)
		return STANDING_NO_RULE;
	if (r->action == ACTION_NEVER)
		return STANDING_NEVER;
	if (c->phase == PHASE_KILLED || c->phase == PHASE_RELEASED || (c->victim != 0 && c->victim != w + 1))
		return STANDING_DYING;
	if (c->phase == PHASE_STUCK)
		return STANDING_STUCK;
	return c->tried >> r->action & 1 ? STANDING_DONE : STANDING_RANKED;
}

static uint32_t over_guarantee(const struct roll *roll, const struct candidate *c, uint32_t returns)
{
	if (!c->account)
		return returns;
	uint64_t held = account_held[c->account - 1], guarantee = roll->stake[c->account - 1].guarantee;
	return held > guarantee ? (uint32_t)min_u64(held - guarantee, PAGES_MAX) : 0;
}

/* A fork on credit goes alone: it is of its parent's family, and goes so that its parent stays. */
static uint64_t together_key(const struct roll *roll, uint32_t i)
{
	uint8_t rule = rule_of[i];
	const struct candidate *c = &roll->candidate[i];
	enum rule_unit unit = rule < RULES && !c->borrower ? roll->rule[rule].unit : UNIT_PROCESS;
	return unit_key(c, unit) ^ (uint64_t)rule << 56;
}

static void standing_fill(const struct roll *roll, uint32_t i, uint32_t grain, struct standing *s)
{
	const struct candidate *c = &roll->candidate[i];
	uint8_t rule = rule_of[i];
	*s = (struct standing){ .candidate = i, .count = 1, .rule = rule, .borrower = c->borrower,
				.order = rule < RULES ? roll->rule[rule].order : ORDER_LAST,
				.returns = c->held, .shared = c->shared, .cpu_s = c->cpu_s, .start_ticks = c->start_ticks,
				.pid = c->pid, .grain = grain, .key = together_key(roll, i) };
}

static bool is_elder(const struct candidate *one, const struct candidate *other)
{
	return one->start_ticks != other->start_ticks ? one->start_ticks < other->start_ticks : one->pid < other->pid;
}

/* One more process goes with a unit. */
static void standing_join(const struct roll *roll, uint32_t i, struct standing *s)
{
	const struct candidate *c = &roll->candidate[i];
	s->count++;
	s->returns = (uint32_t)min_u64((uint64_t)s->returns + c->held, PAGES_MAX);
	s->cpu_s += c->cpu_s;
	s->shared = (uint32_t)max_u64(s->shared, c->shared);
	s->borrower &= c->borrower;
	if (is_elder(c, &roll->candidate[s->candidate])) {
		s->candidate = i;
		s->start_ticks = c->start_ticks;
		s->pid = c->pid;
	}
}

/* Does the whole account go, or the whole family? Then what they share comes back, too. */
static uint32_t shared_returned(const struct roll *roll, const struct standing *s)
{
	const struct candidate *c = &roll->candidate[s->candidate];
	enum rule_unit unit = s->rule < RULES && !s->borrower ? roll->rule[s->rule].unit : UNIT_PROCESS;
	if (unit == UNIT_ACCOUNT && c->account)
		return roll->stake[c->account - 1].shared;
	const struct sum *family = unit == UNIT_FAMILY && c->image ? tally_find(&holdings, unit_key(c, UNIT_FAMILY)) : NULL;
	return family && family->count == s->count ? s->shared : 0;
}

static void standing_finish(const struct roll *roll, struct standing *s, uint32_t floor)
{
	const struct candidate *c = &roll->candidate[s->candidate];
	s->returns = (uint32_t)min_u64((uint64_t)s->returns + shared_returned(roll, s), PAGES_MAX);
	s->over = over_guarantee(roll, c, s->returns);
	if (s->reason == STANDING_RANKED && s->returns < floor)
		s->reason = STANDING_LITTLE;
}

uint32_t rank(const struct roll *roll, uint32_t w, uint32_t whole, struct standing *ret)
{
	uint32_t n = 0, grain = whole / RANK_GRAIN + 1;
	holdings_count(roll);
	tally_begin(&units, roll->n);
	for (uint32_t i = 0; i < roll->n; i++) {
		const struct candidate *c = &roll->candidate[i];
		if (c->pid == 0)
			continue;
		rule_of[i] = rule_find(roll, c);
		enum standing_reason reason = reason_of(c, w, rule_of[i] < RULES ? &roll->rule[rule_of[i]] : NULL);
		/* Who is not ranked stands alone, and goes with nobody. */
		struct sum *unit = reason == STANDING_RANKED ? tally_at(&units, together_key(roll, i), n) : NULL;
		if (unit && unit->count++ > 0) {
			standing_join(roll, i, &ret[unit->head]);
			continue;
		}
		standing_fill(roll, i, grain, &ret[n]);
		ret[n++].reason = (uint8_t)reason;
	}
	for (uint32_t i = 0; i < n; i++)
		standing_finish(roll, &ret[i], whole / RANK_FLOOR);
	return n;
}

bool standing_takes(const struct roll *roll, const struct standing *s, uint32_t candidate)
{
	const struct candidate *c = &roll->candidate[candidate];
	if (c->pid == 0 || c->exempt != EXEMPT_NOT || s->rule >= roll->rules)
		return false;
	if (roll->rule[s->rule].unit == UNIT_PROCESS)
		return c->pid == s->pid && c->start_ticks == s->start_ticks;
	return rule_of[candidate] == s->rule && together_key(roll, candidate) == s->key;
}

/* --- the order --- */

static int compare(uint64_t smaller_first, uint64_t than)
{
	return smaller_first < than ? -1 : smaller_first > than;
}

/* The keys of the order, as rank.h has them. */
enum key { BY_ORDER, BY_CREDIT, BY_OVER, BY_RETURNS, BY_WORK, BY_START, BY_PID, KEY_N };

static int key_compare(enum key key, const struct standing *one, const struct standing *other)
{
	switch (key) {
	case BY_ORDER:
		return compare(one->order, other->order);
	case BY_CREDIT:
		return compare(other->borrower, one->borrower);
	case BY_OVER:
		return compare(other->over / other->grain, one->over / one->grain);
	case BY_RETURNS:
		return compare(other->returns / other->grain, one->returns / one->grain);
	case BY_WORK:
		return compare(one->cpu_s, other->cpu_s);
	case BY_START:
		return compare(other->start_ticks, one->start_ticks);
	default:
		return compare((uint64_t)other->pid, (uint64_t)one->pid);
	}
}

static int ranked_compare(const struct standing *one, const struct standing *other)
{
	int r = 0;
	for (enum key key = 0; key < KEY_N && r == 0; key++)
		r = key_compare(key, one, other);
	return r;
}

int standing_compare(const struct standing *one, const struct standing *other)
{
	bool ranked = one->reason == STANDING_RANKED;
	if (ranked != (other->reason == STANDING_RANKED))
		return ranked ? -1 : 1;
	return ranked ? ranked_compare(one, other) : compare((uint64_t)one->pid, (uint64_t)other->pid);
}

const struct standing *rank_first(const struct standing *s, uint32_t n)
{
	const struct standing *first = NULL;
	for (uint32_t i = 0; i < n; i++)
		if (s[i].reason == STANDING_RANKED && (!first || ranked_compare(&s[i], first) < 0))
			first = &s[i];
	return first;
}

static void sift_down(struct standing *s, uint32_t at, uint32_t n)
{
	for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
		if (child + 1 < n && standing_compare(&s[child], &s[child + 1]) < 0)
			child++;
		if (standing_compare(&s[at], &s[child]) >= 0)
			return;
		struct standing swap = s[at];
		s[at] = s[child];
		s[child] = swap;
	}
}

/* qsort(3) of glibc 2.36 allocates; a heap sort needs nothing. */
void rank_sort(struct standing *s, uint32_t n)
{
	for (uint32_t i = n / 2; i-- > 0;)
		sift_down(s, i, n);
	for (uint32_t end = n; end-- > 1;) {
		struct standing swap = s[0];
		s[0] = s[end];
		s[end] = swap;
		sift_down(s, 0, end);
	}
}

static const char *key_explain(const struct standing *s, const struct standing *next)
{
	static const char *const WORDS[KEY_N] = {
		[BY_ORDER] = "its rule's order is lower",
		[BY_CREDIT] = "a fork on credit",
		[BY_OVER] = "further over its guarantee",
		[BY_RETURNS] = "returns more",
		[BY_WORK] = "has worked less",
		[BY_START] = "was started later",
		[BY_PID] = "its pid is higher",
	};
	if (!next || next->reason != STANDING_RANKED)
		return "nobody stands after it";
	enum key key = 0;
	while (key < BY_PID && key_compare(key, s, next) == 0)
		key++;
	return WORDS[key];
}

const char *standing_explain(const struct standing *s, const struct standing *next)
{
	static const char *const WORDS[STANDING_REASON_N] = {
		[STANDING_IMMUNE] = "its oom_score_adj is -1000",
		[STANDING_BEYOND] = "this broker may not signal other users",
		[STANDING_KERNEL] = "a kernel thread has no memory to give",
		[STANDING_INIT] = "init is never touched",
		[STANDING_BROKER] = "the broker is never touched",
		[STANDING_ELSEWHERE] = "it is not in the control group that is watched",
		[STANDING_NO_RULE] = "no rule matches it",
		[STANDING_NEVER] = "its rule says never",
		[STANDING_LITTLE] = "its end returns too little to matter",
		[STANDING_DONE] = "what its rule allows was done",
		[STANDING_DYING] = "it is ending",
		[STANDING_STUCK] = "it was killed and does not end",
	};
	if (s->reason == STANDING_RANKED)
		return key_explain(s, next);
	return s->reason < STANDING_REASON_N ? WORDS[s->reason] : "?";
}
