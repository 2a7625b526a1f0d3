/* SPDX-License-Identifier: MIT */
#include "daemon/killer/killer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "daemon/armour.h"
#include "daemon/broker.h"
#include "daemon/killer/deed.h"
#include "daemon/killer/rank.h"
#include "daemon/log.h"
#include "reserve/purse.h"

void killer_init(struct killer *k, bool dry, int record)
{
	k->epoll = -1;
	k->dry = dry;
	trace_begin(&k->trace, record);
}

/* --- what is watched --- */

static void bell_listen(struct killer *k, uint32_t w)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = k->source + w };
	if (k->epoll >= 0 && k->watched[w].sensor.bell >= 0)
		epoll_ctl(k->epoll, EPOLL_CTL_ADD, k->watched[w].sensor.bell, &e);
}

void killer_listen(struct killer *k, int epoll, uint32_t source)
{
	k->epoll = epoll;
	k->source = source;
	for (uint32_t w = 0; w < WATCHES; w++)
		if (k->watched[w].sensor.open)
			bell_listen(k, w);
}

void killer_hear(struct killer *k, uint32_t w)
{
	if (w >= WATCHES || !k->watched[w].sensor.open)
		return;
	sensor_hear(&k->watched[w].sensor);
	k->watched[w].heard = true;
}

static void look_after(struct watched *d, uint64_t now_ns, uint64_t wait_ns)
{
	d->next_ns = now_ns + wait_ns;
	d->early_ns = d->next_ns - early_by(wait_ns);
}

static void watch_open(struct broker *b, uint32_t w)
{
	struct watched *d = &b->killer.watched[w];
	const struct watch_policy *p = &b->config.watch[w];
	int error = sensor_open(&d->sensor, p);
	if (error && !d->absent)
		log_warning("the memory of %s cannot be watched: %s; it is tried again every second", watch_name(p),
			    strerror(-error));
	if (!error && p->stall_ppm && d->sensor.stall < 0)
		log_warning("the time that %s loses cannot be seen: %s; stall never comes", watch_name(p),
			    p->group[0] ? "its control group has no memory.pressure" : "/proc/pressure/memory cannot be read");
	if (!error && d->absent)
		log_notice("the memory of %s is watched now", watch_name(p));
	d->absent = error != 0;
	look_after(d, b->now_ns, error ? KILLER_ABSENT_NS : 0);
	if (!error)
		bell_listen(&b->killer, w);
}

static bool watches_are_same(const struct killer *k, const struct config *c)
{
	bool same = k->groups == c->watches;
	for (uint32_t w = 0; same && w < c->watches; w++)
		same = strcmp(k->group[w], c->watch[w].group) == 0;
	return same;
}

/* Watches have other numbers now: nobody is a victim any more, and the frozen go on. */
static void ladders_leave(struct broker *b)
{
	struct killer *k = &b->killer;
	for (uint32_t i = 0; i < k->roll.n; i++) {
		struct candidate *c = &k->roll.candidate[i];
		if (c->pid != 0 && c->phase == PHASE_FROZEN)
			deed_do(b, &(struct deed){ .kind = DEED_THAW, .candidate = i });
		c->phase = c->phase == PHASE_KILLED || c->phase == PHASE_RELEASED ? PHASE_STUCK : PHASE_ALIVE;
		c->victim = c->tried = c->freezer = 0;
	}
	for (uint32_t w = 0; w < WATCHES; w++)
		k->watched[w].ladder = (struct ladder){ .step = LADDER_REST };
}

/* Ladders go on where they were when all watches are still there. */
static void watches_replace(struct broker *b)
{
	struct killer *k = &b->killer;
	if (!watches_are_same(k, &b->config))
		ladders_leave(b);
	k->groups = b->config.watches;
	for (uint32_t w = 0; w < k->groups; w++)
		memcpy(k->group[w], b->config.watch[w].group, sizeof k->group[w]);
	for (uint32_t w = 0; w < WATCHES; w++) {
		struct watched *d = &k->watched[w];
		if (d->sensor.open)
			sensor_close(&d->sensor);
		d->absent = d->heard = false;
		d->next_ns = d->early_ns = NEVER;
		if (w < b->config.watches)
			watch_open(b, w);
	}
}

/* --- who is ranked, by what --- */

static void stakes_set(struct broker *b)
{
	struct roll *roll = &b->killer.roll;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		const struct account *a = &b->account[i];
		struct stake *s = &roll->stake[i];
		*s = (struct stake){ .guarantee = a->policy.guarantee, .shared = s->shared };
		for (uint32_t r = 0; a->ledger && r < roll->rules; r++)
			if (!roll->rule[r].account[0] || pattern_fits(roll->rule[r].account, a->name))
				s->rules |= 1ull << r;
	}
	roll->unmanaged_rules = 0;
	for (uint32_t r = 0; r < roll->rules; r++)
		if (!roll->rule[r].account[0])
			roll->unmanaged_rules |= 1ull << r;
}

/* What an account's shared objects hold: in no process's private memory. */
static void shared_count(struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		const struct account *a = &b->account[i];
		uint64_t pages = 0;
		for (uint32_t o = 0; a->ledger && !a->damaged && o < ledger_objects(a->ledger); o++)
			pages += object_has(a->ledger, o);
		b->killer.roll.stake[i].shared = (uint32_t)min_u64(pages, PAGES_MAX);
	}
}

/* A third of the descriptors there are; what is left is the members'. */
static uint32_t fds_most(void)
{
	struct rlimit files = { 0 };
	getrlimit(RLIMIT_NOFILE, &files);
	return (uint32_t)min_u64(files.rlim_cur / 3, 2 * ROLL);
}

static void census_start(struct broker *b)
{
	uint32_t most = fds_most();
	registry_share(&b->registry, most);
	census_begin(&b->killer.census, &b->killer.roll, most);
}

static void census_stop(struct broker *b)
{
	census_end(&b->killer.census, &b->killer.roll);
	b->killer.census.fds_most = 0;
	registry_share(&b->registry, 0);
}

void killer_configure(struct broker *b)
{
	struct killer *k = &b->killer;
	bool was = k->census.fds_most != 0;
	trace_config(&k->trace, &b->config, watches_are_same(k, &b->config));
	k->roll.rules = b->config.rules;
	memcpy(k->roll.rule, b->config.rule, sizeof k->roll.rule);
	watches_replace(b);
	stakes_set(b);
	if (was && b->config.watches == 0)
		census_stop(b);
	else if (!was && b->config.watches > 0)
		census_start(b);
	if (b->config.watches == 0)
		return;
	census_judge(b);
	census_walk(b);
	k->walk_ns = k->review_ns = b->now_ns;
}

/* --- a turn --- */

static bool is_short(const struct killer *k)
{
	for (uint32_t w = 0; w < WATCHES; w++)
		if (k->watched[w].sensor.open && k->watched[w].ladder.gauge.pressure != PRESSURE_NONE)
			return true;
	return false;
}

static bool is_at_rest(const struct killer *k)
{
	for (uint32_t w = 0; w < WATCHES; w++)
		if (k->watched[w].ladder.step != LADDER_REST || k->watched[w].ladder.short_of)
			return false;
	return true;
}

/* Keeps the roll fresh: leisurely, or, where memory is getting short, so that whoever may be first
 * is known before it must be. */
static void roll_refresh(struct broker *b)
{
	struct killer *k = &b->killer;
	bool hasty = is_short(k);
	if (hasty != k->hurries)
		armour_hurry(hasty);
	k->hurries = hasty;
	if (!hasty && is_at_rest(k) && (k->rehearsed == 0 || k->roll.n > k->rehearsed + KILLER_REHEARSED)) {
		killer_rehearse(b);
		armour_lock();
	}
	if (is_due(b->now_ns, &k->walk_ns, hasty ? KILLER_HASTE_NS : KILLER_WALK_NS)) {
		census_walk(b);
		shared_count(b);
		if (hasty)
			census_locate(b, b->now_ns - min_u64(b->now_ns, KILLER_YOUNG_NS));
	}
	if (is_due(b->now_ns, &k->review_ns, hasty ? KILLER_HASTE_NS : KILLER_REVIEW_NS))
		census_review(b, hasty ? KILLER_HASTY_REVIEW : KILLER_REVIEW);
}

void killer_refresh(struct broker *b)
{
	census_walk(b);
	shared_count(b);
	census_review(b, ROLL);
	census_measure(b);
	b->killer.walk_ns = b->killer.review_ns = b->now_ns;
}

void killer_rehearse(struct broker *b)
{
	static struct ladder ladder;
	struct killer *k = &b->killer;
	const struct watch_policy p = { .act.pages = PAGES_MAX, .warn.pages = PAGES_MAX };
	const struct reading r = { .now_ns = b->now_ns, .total = 1 };
	for (uint32_t i = 0; i < k->roll.n; i++)
		if (k->roll.candidate[i].phase != PHASE_ALIVE)
			return;
	if (b->config.watches == 0)
		return;
	census_measure(b);
	ladder = (struct ladder){ .step = LADDER_REST };
	script_clear(&k->script);
	ladder_climb(&ladder, &k->roll, 0, &p, &r, true, &k->script);
	for (uint32_t i = 0; i < k->roll.n; i++)
		k->roll.candidate[i].phase = k->roll.candidate[i].tried = k->roll.candidate[i].victim =
			k->roll.candidate[i].freezer = 0;
	k->rehearsed = k->roll.n;
}

static void victims_look(struct broker *b, uint32_t w)
{
	const struct roll *roll = &b->killer.roll;
	for (uint32_t i = 0; i < roll->n; i++)
		if (roll->candidate[i].pid != 0 && roll->candidate[i].victim == w + 1)
			census_is_gone(b, i);
}

static void script_do_all(struct broker *b)
{
	struct killer *k = &b->killer;
	struct script *s = &k->script;
	for (uint32_t i = 0; i < s->deeds && !k->dry; i++) {
		int error = deed_do(b, &s->deed[i]);
		if (error && error != -ESRCH)
			script_say(s, "%s[%d]: %s: %s", k->roll.candidate[s->deed[i].candidate].comm,
				   k->roll.candidate[s->deed[i].candidate].pid, deed_name[s->deed[i].kind], strerror(-error));
	}
	for (uint32_t i = 0; i < s->lines; i++)
		log_warning("%s%s", k->dry ? "dry run: " : "", s->line[i]);
}

static bool is_getting_short(const struct watch_policy *p, const struct reading *r)
{
	return r->available <= max_u64(threshold_pages(&p->warn, r->total), threshold_pages(&p->act, r->total));
}

/* May anybody be chosen in this step? Then figures must be of now; below the warning that may be
 * for how fast memory falls, or what time is lost. */
static bool needs_measure(const struct watched *d, const struct watch_policy *p, const struct reading *r)
{
	return d->ladder.step != LADDER_REST || d->ladder.gauge.pressure != PRESSURE_NONE || is_getting_short(p, r);
}

/* Before memory is short for the first time in a while: who runs, and where. */
static void muster(struct broker *b)
{
	census_walk(b);
	census_locate(b, 0);
	shared_count(b);
	b->killer.walk_ns = b->killer.muster_ns = b->now_ns;
}

void killer_step(struct broker *b, uint32_t w, const struct reading *r)
{
	struct killer *k = &b->killer;
	struct watched *d = &k->watched[w];
	const struct watch_policy *p = &b->config.watch[w];
	victims_look(b, w);
	if (is_getting_short(p, r) && b->now_ns - k->muster_ns >= KILLER_MUSTER_NS)
		muster(b);
	if (needs_measure(d, p, r))
		census_measure(b);
	script_clear(&k->script);
	ladder_climb(&d->ladder, &k->roll, w, p, r, k->dry, &k->script);
	uint32_t lines = k->script.lines;
	script_do_all(b);
	k->script.lines = lines; /* what went wrong was not decided */
	trace_step(&k->trace, &k->roll, w, k->dry, r);
	trace_script(&k->trace, &k->script);
	look_after(d, b->now_ns, ladder_wait_ns(&d->ladder, p));
}

static void watch_turn(struct broker *b, uint32_t w)
{
	struct watched *d = &b->killer.watched[w];
	const struct watch_policy *p = &b->config.watch[w];
	struct reading r;
	d->heard = false;
	if (!d->sensor.open) {
		watch_open(b, w);
		return;
	}
	if (sensor_read(&d->sensor, p, b->now_ns, &r) != 0) {
		sensor_close(&d->sensor);
		look_after(d, b->now_ns, KILLER_ABSENT_NS);
		return;
	}
	killer_step(b, w, &r);
}

void killer_tick(struct broker *b)
{
	struct killer *k = &b->killer;
	if (b->config.watches == 0)
		return;
	for (uint32_t w = 0; w < b->config.watches; w++)
		if (k->watched[w].heard || b->now_ns >= k->watched[w].early_ns)
			watch_turn(b, w);
	roll_refresh(b);
	if (k->trace.used > 0 && !is_short(k))
		trace_flush(&k->trace);
}

uint64_t killer_next_ns(const struct broker *b)
{
	const struct killer *k = &b->killer;
	uint64_t next = NEVER;
	for (uint32_t w = 0; w < b->config.watches; w++)
		next = min_u64(next, k->watched[w].next_ns);
	return next;
}
