/* SPDX-License-Identifier: MIT */
#include "daemon/killer/settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACT_DEFAULT "5%"
#define SETTLE_DEFAULT "100ms"

static const char *or_default(const char *value, const char *otherwise)
{
	return value ? value : otherwise;
}

/* --- watch --- */

/* Can the two be compared before the whole is known? */
static bool is_less(const struct threshold *one, const struct threshold *other)
{
	if ((one->ppm == 0) != (other->ppm == 0))
		return false;
	return one->ppm ? one->ppm < other->ppm : one->pages < other->pages;
}

/* Who does not say is warned at twice as much. */
static struct threshold warn_fill(const char *value, const struct threshold *act)
{
	if (value)
		return value_threshold(value);
	return (struct threshold){ .pages = (uint32_t)min_u64(2ull * act->pages, PAGES_MAX),
				   .ppm = (uint32_t)min_u64(2ull * act->ppm, act->ppm / 2 + 500000) };
}

const char *watch_fill(const struct values *v, struct watch_policy *p, enum key *ret_key)
{
	if (v->of[KEY_WATCH_CGROUP])
		strncpy(p->group, v->of[KEY_WATCH_CGROUP], sizeof p->group - 1);
	p->act = value_threshold(or_default(v->of[KEY_ACT], ACT_DEFAULT));
	p->warn = warn_fill(v->of[KEY_WATCH_WARN], &p->act);
	p->swap_act = value_threshold(or_default(v->of[KEY_SWAP_ACT], ACT_DEFAULT));
	p->swap_warn = warn_fill(v->of[KEY_SWAP_WARN], &p->swap_act);
	value_duration(or_default(v->of[KEY_EXHAUSTION], "0ms"), &p->exhaustion_ns);
	if (v->of[KEY_STALL])
		p->stall_ppm = value_threshold(v->of[KEY_STALL]).ppm;
	value_duration(or_default(v->of[KEY_SETTLE], SETTLE_DEFAULT), &p->settle_ns);
	*ret_key = KEY_WATCH_WARN;
	if (is_less(&p->warn, &p->act))
		return value_complaint("warn is less than act, so nobody would be warned before; write more");
	*ret_key = KEY_SWAP_WARN;
	if (is_less(&p->swap_warn, &p->swap_act))
		return value_complaint("swap-warn is less than swap-act, so nobody would be warned before; write more");
	*ret_key = KEY_SWAP_ACT;
	if (p->group[0] && (v->of[KEY_SWAP_ACT] || v->of[KEY_SWAP_WARN]))
		return value_complaint("of a control group only memory is watched; leave swap-warn and swap-act out");
	return NULL;
}

/* --- rule --- */

static void pattern_fill(char *to, size_t n, const char *value)
{
	if (value)
		strncpy(to, value, n - 1);
}

static const char *managed_fill(const struct values *v, struct rule *r)
{
	const char *yes = v->of[KEY_MANAGED], *no = v->of[KEY_UNMANAGED];
	if (yes && no && (strcmp(yes, "true") == 0) == (strcmp(no, "true") == 0))
		return value_complaint("managed and unmanaged contradict each other, so nobody matches; remove one");
	if (yes)
		r->managed = strcmp(yes, "true") == 0 ? MANAGED_YES : MANAGED_NO;
	else if (no)
		r->managed = strcmp(no, "true") == 0 ? MANAGED_NO : MANAGED_YES;
	if (v->of[KEY_BORROWER])
		r->borrower = strcmp(v->of[KEY_BORROWER], "true") == 0 ? MANAGED_YES : MANAGED_NO;
	if (r->borrower == MANAGED_YES && r->managed == MANAGED_NO)
		return value_complaint("a fork on credit is in an account, so nobody matches; remove borrower or unmanaged");
	if (r->managed == MANAGED_NO && r->account[0])
		return value_complaint("who is in an account is managed, so nobody matches; remove match-account or unmanaged");
	return NULL;
}

static void match_fill(const struct values *v, struct rule *r)
{
	const char *user = v->of[KEY_MATCH_USER], *adj = v->of[KEY_MATCH_ADJ];
	pattern_fill(r->account, sizeof r->account, v->of[KEY_MATCH_ACCOUNT]);
	pattern_fill(r->cgroup, sizeof r->cgroup, v->of[KEY_MATCH_CGROUP]);
	pattern_fill(r->exe, sizeof r->exe, v->of[KEY_MATCH_EXE]);
	pattern_fill(r->comm, sizeof r->comm, v->of[KEY_MATCH_COMM]);
	r->has_user = user && strcmp(user, "*") != 0 && value_user(user, &r->user);
	r->has_adj = adj != NULL;
	r->adj = (int16_t)(adj ? strtol(adj, NULL, 10) : 0);
	r->over = v->of[KEY_OVER] ? value_pages(v->of[KEY_OVER], 0) : 0;
}

static void action_fill(const struct values *v, struct rule *r)
{
	r->action = (uint8_t)value_word(v->of[KEY_ACTION], action_name, ACTION_N);
	r->unit = (uint8_t)value_word(or_default(v->of[KEY_UNIT], unit_name[UNIT_PROCESS]), unit_name, UNIT_N);
	r->signal = (uint8_t)value_signal(or_default(v->of[KEY_SIGNAL], "TERM"));
	r->order = ORDER_MIDDLE;
	if (v->of[KEY_ORDER])
		value_order(v->of[KEY_ORDER], &r->order);
	value_duration(or_default(v->of[KEY_GRACE], "2s"), &r->grace_ns);
	value_duration(or_default(v->of[KEY_DEADLINE], "1s"), &r->deadline_ns);
}

const char *rule_fill(const struct values *v, struct rule *r, enum key *ret_key)
{
	*ret_key = KEY_ACTION;
	if (!v->of[KEY_ACTION])
		return value_complaint("this rule has no action; write action = never, notify, reclaim, freeze or kill");
	match_fill(v, r);
	action_fill(v, r);
	*ret_key = KEY_UNMANAGED;
	const char *wrong = managed_fill(v, r);
	if (wrong)
		return wrong;
	for (enum key key = KEY_SIGNAL; key <= KEY_DEADLINE; key++) {
		*ret_key = key;
		if (v->of[key] && r->action != ACTION_KILL)
			return value_complaint("%s is for action = kill; leave it out", key_name[key]);
	}
	*ret_key = KEY_UNIT;
	if (r->unit == UNIT_ACCOUNT && r->managed == MANAGED_NO)
		return value_complaint("who is not managed has no account; write unit = process, family or cgroup");
	return NULL;
}

/* --- what makes no sense --- */

/* Does whatever fits `inner` fit `outer`? Told only where it is plain. */
static bool pattern_covers(const char *outer, const char *inner)
{
	return outer[0] == '\0' || strcmp(outer, "*") == 0 || strcmp(outer, inner) == 0 ||
	       (inner[0] != '\0' && !pattern_is_wild(inner) && pattern_fits(outer, inner));
}

static bool rule_covers(const struct rule *outer, const struct rule *inner)
{
	return pattern_covers(outer->account, inner->account) && pattern_covers(outer->cgroup, inner->cgroup) &&
	       pattern_covers(outer->exe, inner->exe) && pattern_covers(outer->comm, inner->comm) &&
	       (!outer->has_user || (inner->has_user && inner->user == outer->user)) &&
	       (!outer->has_adj || (inner->has_adj && inner->adj >= outer->adj)) &&
	       (outer->managed == MANAGED_ANY || outer->managed == inner->managed ||
		(outer->managed == MANAGED_YES && inner->account[0])) &&
	       (outer->borrower == MANAGED_ANY || outer->borrower == inner->borrower) &&
	       (outer->over == 0 || (outer->unit == inner->unit && inner->over >= outer->over));
}

static bool any_account_fits(const struct config *c, const char *pattern)
{
	for (uint32_t i = 0; i < c->accounts; i++)
		if (pattern_fits(pattern, c->account[i].name))
			return true;
	return false;
}

struct doubting {
	const struct config *config;
	void (*doubt)(void *context, int line, const char *sentence);
	void *context;
	uint32_t doubts;
};

static void doubt(struct doubting *d, int line, const char *sentence)
{
	d->doubt(d->context, line, sentence);
	d->doubts++;
}

static void rule_doubt(struct doubting *d, uint32_t i)
{
	const struct rule *r = &d->config->rule[i];
	for (uint32_t earlier = 0; earlier < i; earlier++)
		if (rule_covers(&d->config->rule[earlier], r)) {
			doubt(d, r->line, value_complaint("this rule is never reached: whoever it matches is matched in line %d "
							  "before; move it up or remove it", d->config->rule[earlier].line));
			break;
		}
	if (r->account[0] && !any_account_fits(d->config, r->account))
		doubt(d, r->line, value_complaint("match-account = \"%s\" fits no account of this file", r->account));
	if (r->comm[0] && r->action == ACTION_NEVER)
		doubt(d, r->line, value_complaint("any process can call itself \"%s\", and would be spared; write match-exe, "
						  "match-user or match-cgroup", r->comm));
}

/* Does a rule do anything to anybody? */
static bool anybody_is_given_up(const struct config *c)
{
	for (uint32_t i = 0; i < c->rules; i++)
		if (c->rule[i].action == ACTION_KILL)
			return true;
	return false;
}

uint32_t settings_doubt(const struct config *c, void (*say)(void *context, int line, const char *sentence),
			void *context)
{
	struct doubting d = { .config = c, .doubt = say, .context = context };
	for (uint32_t i = 0; i < c->rules; i++)
		rule_doubt(&d, i);
	if (c->watches > 0 && !anybody_is_given_up(c))
		doubt(&d, c->watch[0].line, "memory is watched, but no rule gives anybody up to be killed; write "
					    "rule { ... action = kill }");
	if (c->watches == 0 && c->rules > 0)
		doubt(&d, c->rule[0].line, "there are rules, but no memory is watched, so they are never asked; write "
					   "watch { }");
	return d.doubts;
}
