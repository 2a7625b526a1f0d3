/* SPDX-License-Identifier: MIT */
/* A small world for the ladder: processes that grow, die some time after a signal, or never, and
 * whose memory comes back some time after that. The ladder's own waits are its clock. */
#pragma once

#include <criterion/criterion.h>

#include "daemon/killer/ladder.h"
#include "tests/killer_roll.h"

#define MS 1000000ull
#define WORLD_GROUP 1u /* the second watch's bit's place */

struct being { /* at the same place as its candidate */
	uint32_t mib_s, most; /* it grows, to so many pages */
	uint32_t term_ms, kill_ms, back_ms; /* from the signal to its end; 0: never; from that to its memory */
	uint32_t gasp; /* children that are born a millisecond after SIGKILL */
	uint32_t cache; /* pages it gives back when it is told or made to */
	bool innocent;
	uint64_t ends_ns, born_ns; /* 0: not yet */
	bool killed, frozen;
	uint64_t crumbs; /* of growth, in pages * ns */
};

struct event {
	uint64_t ms;
	uint8_t kind, watch, signal;
	int32_t pid;
};

static struct world {
	uint64_t now_ns, moved_ns;
	uint32_t total[2]; /* of the machine, of the group; 0: it is not watched */
	uint32_t swap; /* the machine's, all of it free */
	uint32_t stall_percent; /* of the time is lost while what is available is below the warning */
	uint64_t stall_us;
	struct being being[ROLL];
	struct {
		uint64_t at_ns;
		uint32_t pages;
		uint16_t watches;
	} back[4096];
	uint32_t backs;
	struct watch_policy policy[2];
	struct ladder ladder[2];
	bool dry;
	int32_t next_pid;
	struct event event[8192];
	uint32_t events;
	char said[1 << 18];
	uint32_t said_n;
} world;

static struct script script;

/* 24 GiB, with the defaults of a watch that says nothing. */
static inline void world_begin(void)
{
	roll_clear();
	memset(&world, 0, sizeof world);
	world.now_ns = world.moved_ns = 10000 * MS;
	world.total[0] = 24 * GIB;
	world.next_pid = 20000;
	world.stall_us = 1000000;
	for (int w = 0; w < 2; w++)
		world.policy[w] = (struct watch_policy){ .warn = { .ppm = 100000 }, .act = { .ppm = 50000 },
							 .settle_ns = 100 * MS };
	strcpy(world.policy[1].group, "/group");
}

/* Dies 20 ms after SIGKILL, 5 after it is asked; its memory is there 10 ms later. */
static inline struct being *world_add(const char *comm, int32_t pid, uint32_t held)
{
	roll_add(comm, pid, held);
	struct being *b = &world.being[roll.n - 1];
	*b = (struct being){ .most = PAGES_MAX, .term_ms = 5, .kill_ms = 20, .back_ms = 10 };
	return b;
}

static inline struct being *world_innocent(const char *comm, int32_t pid, uint32_t held)
{
	struct being *b = world_add(comm, pid, held);
	b->innocent = true;
	return b;
}

static inline struct candidate *candidate_of(const struct being *b)
{
	return &roll.candidate[b - world.being];
}

/* So much is held by those that nobody may touch that `left` is available. */
static inline void world_fill(uint32_t left)
{
	uint64_t held = 0;
	for (uint32_t i = 0; i < roll.n; i++)
		held += roll.candidate[i].held;
	struct being *b = world_innocent("filler", 2, (uint32_t)(world.total[0] - held - left));
	candidate_of(b)->rules = 0;
}

static inline uint32_t world_available(uint32_t w)
{
	uint64_t held = 0;
	for (uint32_t i = 0; i < roll.n; i++)
		if (roll.candidate[i].pid && (roll.candidate[i].watches >> w & 1))
			held += roll.candidate[i].held;
	for (uint32_t i = 0; i < world.backs; i++)
		if (world.back[i].at_ns > world.now_ns && (world.back[i].watches >> w & 1))
			held += world.back[i].pages;
	return held < world.total[w] ? (uint32_t)(world.total[w] - held) : 0;
}

static inline void being_end(uint32_t i)
{
	struct candidate *c = &roll.candidate[i];
	cr_assert(world.backs < ARRAY_N(world.back));
	world.back[world.backs].at_ns = world.being[i].ends_ns + world.being[i].back_ms * MS;
	world.back[world.backs].pages = c->held;
	world.back[world.backs++].watches = c->watches;
	memset(c, 0, sizeof *c);
	memset(&world.being[i], 0, sizeof world.being[i]);
}

/* A child like its parent, in a place of its own, of so many pages. */
static inline void being_bear(uint32_t parent, uint32_t held)
{
	struct being *b = &world.being[roll.n];
	struct candidate of = roll.candidate[parent];
	*b = (struct being){ .most = held, .term_ms = 5, .kill_ms = 20, .back_ms = 10 };
	struct candidate *c = roll_add(of.comm, world.next_pid++, held);
	c->parent = of.pid;
	c->image = of.image;
	c->cgroup = of.cgroup;
	c->account = of.account;
	c->rules = of.rules;
	c->watches = of.watches;
}

static inline void being_grow(uint32_t i, uint64_t ns)
{
	struct being *b = &world.being[i];
	struct candidate *c = &roll.candidate[i];
	if (b->frozen || b->killed)
		return;
	b->crumbs += (uint64_t)b->mib_s * MIB * ns;
	c->held = (uint32_t)min_u64(c->held + b->crumbs / (1000 * MS), max_u64(b->most, c->held));
	b->crumbs %= 1000 * MS;
}

static inline void world_move(void)
{
	for (uint32_t i = 0, n = roll.n; i < n; i++) {
		struct being *b = &world.being[i];
		if (roll.candidate[i].pid == 0)
			continue;
		being_grow(i, world.now_ns - world.moved_ns);
		if (b->killed && b->gasp && world.now_ns >= b->born_ns)
			for (; b->gasp > 0; b->gasp--)
				being_bear(i, 100 * MIB);
		if (b->ends_ns && b->ends_ns <= world.now_ns)
			being_end(i);
	}
	if (world_available(0) <= threshold_pages(&world.policy[0].warn, world.total[0]))
		world.stall_us += (world.now_ns - world.moved_ns) / 100000 * world.stall_percent;
	world.moved_ns = world.now_ns;
}

/* --- what the ladder says is done --- */

static inline void being_ends_in(struct being *b, uint32_t ms)
{
	if (ms && (b->ends_ns == 0 || b->ends_ns > world.now_ns + ms * MS))
		b->ends_ns = world.now_ns + ms * MS;
}

static inline void deed_apply(const struct deed *d)
{
	struct being *b = &world.being[d->candidate];
	struct candidate *c = candidate_of(b);
	switch (d->kind) {
	case DEED_NOTIFY:
	case DEED_RECLAIM:
		c->held -= b->cache;
		b->cache = 0;
		break;
	case DEED_FREEZE:
	case DEED_THAW:
		cr_assert(b->frozen == (d->kind == DEED_THAW), "%s[%d] is frozen and thawed by turns", c->comm, c->pid);
		b->frozen = d->kind == DEED_FREEZE;
		break;
	case DEED_SIGNAL:
		b->frozen = false;
		being_ends_in(b, b->term_ms);
		break;
	case DEED_KILL:
		b->killed = true;
		b->born_ns = world.now_ns + MS;
		being_ends_in(b, b->kill_ms);
		break;
	default:
		break;
	}
}

static inline void deed_note(const struct deed *d)
{
	const struct candidate *c = &roll.candidate[d->candidate];
	bool anybody = d->kind != DEED_WARN;
	cr_assert(!anybody || c->pid != 0, "%s of a place that is free", deed_name[d->kind]);
	if (d->kind == DEED_SIGNAL || d->kind == DEED_KILL)
		cr_assert(!world.being[d->candidate].innocent, "%s of %s[%d]:\n%s", deed_name[d->kind], c->comm, c->pid, world.said);
	cr_assert(world.events < ARRAY_N(world.event));
	world.event[world.events++] = (struct event){ world.now_ns / MS - 10000, d->kind, d->watch, d->signal,
						      anybody ? c->pid : 0 };
	if (anybody && !world.dry)
		deed_apply(d);
}

static inline void world_listen(void)
{
	for (uint32_t i = 0; i < script.lines; i++)
		if (world.said_n + SCRIPT_LINE_BYTES + 1 < sizeof world.said) {
			size_t n = strlen(script.line[i]);
			memcpy(world.said + world.said_n, script.line[i], n);
			world.said_n += (uint32_t)n;
			world.said[world.said_n++] = '\n';
		}
}

/* Every watch takes one look. */
static inline void world_look(void)
{
	script_clear(&script);
	for (uint32_t w = 0; w < 2; w++) {
		uint32_t swap = w == 0 ? world.swap : 0;
		struct reading r = { world.now_ns, world.total[w], world_available(w), swap, swap, w == 0 ? world.stall_us : 0 };
		if (r.total)
			ladder_climb(&world.ladder[w], &roll, w, &world.policy[w], &r, world.dry, &script);
	}
	world_listen();
	for (uint32_t i = 0; i < script.deeds; i++)
		deed_note(&script.deed[i]);
}

/* Until so long after it began. */
static inline void world_run(uint64_t until_ms)
{
	uint64_t until_ns = (10000 + until_ms) * MS;
	while (world.now_ns < until_ns) {
		uint64_t wait = UINT64_MAX;
		world_move();
		world_look();
		for (uint32_t w = 0; w < 2; w++)
			if (world.total[w])
				wait = min_u64(wait, ladder_wait_ns(&world.ladder[w], &world.policy[w]));
		cr_assert(wait > 0 && wait <= WATCH_LONGEST_NS);
		world.now_ns = min_u64(world.now_ns + wait, until_ns);
	}
	world_move();
}

/* --- what came of it --- */

static inline uint32_t events_of(enum deed_kind kind)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < world.events; i++)
		n += world.event[i].kind == kind;
	return n;
}

/* The first of that kind, of anybody with pid 0; NULL: there is none. */
static inline const struct event *event_of(enum deed_kind kind, int32_t pid)
{
	for (uint32_t i = 0; i < world.events; i++)
		if (world.event[i].kind == kind && (pid == 0 || world.event[i].pid == pid))
			return &world.event[i];
	return NULL;
}

static inline uint32_t times_said(const char *words)
{
	uint32_t n = 0;
	for (const char *at = world.said; (at = strstr(at, words)) != NULL; at++)
		n++;
	return n;
}
