/* SPDX-License-Identifier: MIT */
/* The life of a member that may be killed at any step: everything reserve/ can do, at random,
 * with an account of it where the test can read it when the member pauses. */
#pragma once

#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>

#include "reserve/transfer.h"
#include "tests/fork_tied.h"
#include "tests/peer.h"
#include "tests/random.h"

#define OBJECT_WORDS (LEDGER_OBJECTS / 64)
#define LIFE_ACCOUNTS 4

/* What a member says it has. Only true between two steps. */
struct cell {
	int32_t pid;
	uint32_t account; /* which one */
	uint32_t slot, used;
	uint64_t holds[OBJECT_WORDS];
	bool paused, ended;
};

/* Shared with the test. */
struct life {
	bool pause, stop;
	bool deadly; /* who forks is killed in the middle of it */
	bool generous[LIFE_ACCOUNTS]; /* nothing may ever be refused there */
	long unattached_us; /* after this the broker takes a process without the ledger for one without a shim */
	uint32_t object_pages[LIFE_ACCOUNTS][LEDGER_OBJECTS]; /* what each was charged, by its maker */
	uint32_t refused, early; /* early: there was room before, and a moment later */
	uint32_t wrong;
	char sentence[128]; /* what was wrong first */
};

static struct life *life;
static struct cell *me;
static struct peer_member member;
static uint64_t member_seed;

static uint32_t below(uint32_t n)
{
	return (uint32_t)(random_next(&member_seed) >> 11) % n;
}

static void sleep_us(long us)
{
	nanosleep(&(struct timespec){ .tv_nsec = us * 1000 }, NULL);
}

static void wrong(const char *what)
{
	if (__atomic_fetch_add(&life->wrong, 1, __ATOMIC_RELAXED) == 0)
		snprintf(life->sentence, sizeof life->sentence, "%s", what);
}

/* --- charging --- */

/* Can they be found? What is in flight, perhaps because somebody was killed, is nobody's, and an
 * embryo's slack is its child's. */
static bool has_room(uint32_t pages)
{
	const struct ledger *l = member.ledger;
	uint64_t room = purse_headroom(purse_read(&l->header.purse));
	for (uint32_t s = 0; s < ledger_slots(l); s++)
		if (SLOT_STATE(slot_read(l, s)) != SLOT_EMBRYO)
			room += purse_headroom(purse_read(&l->slot[s].purse));
	return room >= pages;
}

/* `pages` were refused, and before that there was room for them, or not. */
static void refusal(const char *what, uint32_t pages, bool had_room)
{
	if (life->generous[me->account])
		wrong(what);
	__atomic_fetch_add(&life->refused, 1, __ATOMIC_RELAXED);
	if (had_room && has_room(pages))
		__atomic_fetch_add(&life->early, 1, __ATOMIC_RELAXED);
}

static bool take(uint32_t pages)
{
	bool had_room = has_room(pages);
	if (peer_take(&member, pages) == REASON_NONE)
		return true;
	refusal("a charge was refused", pages, had_room);
	return false;
}

static bool conceive(struct embryo *ret)
{
	struct gather g = peer_gather(&member);
	bool had_room = has_room(me->used);
	if (embryo_conceive(&g, me->used, ret) == REASON_NONE)
		return true;
	refusal("a fork was refused", me->used, had_room);
	return false;
}

static void step_take(void)
{
	uint32_t n = 1 + below(600);
	if (take(n))
		me->used += n;
}

static void step_give(void)
{
	uint32_t n = below(me->used + 1);
	struct gather g = peer_gather(&member);
	purse_give(&member.ledger->slot[member.slot].purse, n);
	me->used -= n;
	gather_trim(&g);
}

/* --- objects --- */

static bool holds(uint32_t o)
{
	return me->holds[o / 64] >> o % 64 & 1;
}

static void held(uint32_t o, bool is)
{
	me->holds[o / 64] = (me->holds[o / 64] & ~(1ull << o % 64)) | (uint64_t)is << o % 64;
}

static void let_go(uint32_t o)
{
	object_let_go(member.ledger, member.slot, member.slot, o);
	held(o, false);
}

static void object_make(enum object_kind kind, uint64_t key, uint32_t pages)
{
	int o = object_claim(member.ledger, member.slot);
	if (o < 0)
		return;
	if (!take(pages)) {
		let_go((uint32_t)o);
		return;
	}
	if (!transfer_to_object(member.ledger, member.slot, (uint32_t)o, 0, pages))
		wrong("an object could not be charged");
	life->object_pages[me->account][o] = pages;
	object_publish(member.ledger, (uint32_t)o, kind, key, 0);
	held((uint32_t)o, true);
}

/* A file that others share too, of one size: two may obtain it at once. */
static void step_share(void)
{
	uint32_t key = 1 + below(3), pages = 10 + 7 * key;
	uint64_t added;
	struct gather g = peer_gather(&member);
	int o = object_obtain(member.ledger, member.slot, OBJECT_FILE, key, 0);
	if (o < 0)
		return;
	bool had_room = has_room(pages);
	life->object_pages[me->account][o] = pages;
	if (object_grow(&g, (uint32_t)o, pages, &added) == REASON_NONE) {
		held((uint32_t)o, true);
		return;
	}
	refusal("an object was refused", pages, had_room);
	if (!holds((uint32_t)o))
		let_go((uint32_t)o);
}

static void step_share_alone(void)
{
	object_make(OBJECT_ANON, 0, 1 + below(40));
}

/* No kernel has a segment of that number, so the broker takes it for removed. */
static void step_segment(void)
{
	object_make(OBJECT_SYSV, 1ull << 40 | below(1000), 1 + below(40));
}

static void step_let_go(void)
{
	for (uint32_t o = 0; o < ledger_objects(member.ledger); o++) {
		if (!holds(o) || below(3) == 0)
			continue;
		if (below(2) && OBJECT_KIND(member.ledger->object[o].state) == OBJECT_SYSV)
			object_mark_removed(member.ledger, o, member.ledger->object[o].state);
		let_go(o);
	}
}

/* --- children --- */

static void step(void);

/* It holds what it inherited until it ends, and more. */
static void child_live(uint32_t pages) __attribute__((noreturn));
static void child_live(uint32_t pages)
{
	static struct cell own;
	own.account = me->account;
	own.used = pages;
	own.slot = member.slot;
	me = &own;
	member_seed += (uint64_t)getpid() << 20;
	for (uint32_t i = below(4); i > 0; i--)
		step();
	_exit(0);
}

static bool abroad;  /* in a pid namespace of its own, or as if */
static int children; /* on the way to this process */

static void step_fork_fails(void)
{
	struct embryo e;
	if (conceive(&e))
		embryo_release(member.ledger, member.slot, e);
}

static bool join(const char *account, struct peer_member *ret)
{
	const char *socket = member.socket;
	int status = -ECONNREFUSED;
	while (!life->stop && (status = peer_join(socket, account, ret)) < 0)
		sleep_us(500); /* no broker at this moment */
	if (status > 0)
		wrong("a join was refused");
	return status == 0;
}

/* Asks the broker for its number until it is said, or there is no such embryo any more. */
static bool child_speaks(struct embryo e)
{
	struct request_adopt q = { .head = peer_head(OPCODE_ADOPT), .slot = e.slot, .generation = e.generation };
	struct reply_join r;
	int status;
	memcpy(q.account, member.account, sizeof q.account);
	while ((status = peer_question(member.socket, &q, sizeof q, &r, sizeof r, NULL)) < 0 && !life->stop)
		sleep_us(500);
	return status == 0;
}

static void child_begin(struct embryo e, uint32_t pages) __attribute__((noreturn));
static void child_begin(struct embryo e, uint32_t pages)
{
	struct peer_member anew;
	children++;
	if (life->deadly)
		sleep_us(below(2000)); /* until its parent is gone */
	if ((!abroad || child_speaks(e)) && embryo_adopt(member.ledger, e, pages, getpid())) {
		member.slot = e.slot;
		member.generation = e.generation;
		child_live(pages);
	}
	/* It was given up with its parent. */
	if (!join(member.account, &anew))
		_exit(0);
	member = anew;
	if (!take(pages))
		_exit(0);
	child_live(pages);
}

static void step_fork(void)
{
	struct embryo e;
	uint32_t pages = me->used;
	if (children >= 2 || !conceive(&e))
		return;
	pid_t pid = fork_untied();
	if (pid == 0)
		child_begin(e, pages);
	if (life->deadly)
		kill(getpid(), SIGKILL);
	embryo_born(member.ledger, member.slot, e, abroad ? 0 : pid);
	waitpid(pid, NULL, 0);
}

/* A copy made past every door, which the broker finds by itself. */
static void step_copy(void)
{
	pid_t pid = below(4) == 0 ? fork() : -1;
	if (pid == 0) {
		sleep_us(life->unattached_us);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* What a thread does that gives an embryo more, and finds it buried (shim/charge.c). */
static void step_stray(void)
{
	uint32_t s = below(8);
	if (s >= ledger_slots(member.ledger) || SLOT_STATE(slot_read(member.ledger, s)) != SLOT_FREE)
		return;
	sleep_us(below(4) ? 0 : below(3000)); /* it may be somebody's by then */
	transfer_fund(member.ledger, member.slot, s, 1 + below(50));
	if (SLOT_STATE(slot_read(member.ledger, s)) == SLOT_FREE)
		transfer_return(member.ledger, member.slot, s, PAGES_MAX);
}

/* --- execve --- */

/* The broker sees the same process join again, drops what it shared and keeps the charge. */
static void join_again(bool late)
{
	struct peer_member again;
	if (!join(member.account, &again))
		_exit(0);
	bool same = again.slot == member.slot && again.generation == member.generation && again.renewed;
	/* A child that no broker knew, and that had left the ledger when one came, is nobody. */
	if (!same && children == 0)
		wrong("a member that joined again lost its slot");
	member = again;
	memset(me->holds, 0, sizeof me->holds);
	/* While it was away, the broker charged what the kernel counts. */
	if (late || !same)
		me->used = PURSE_USED(purse_read(&member.ledger->slot[member.slot].purse));
}

static void step_exec(void)
{
	struct ledger *old = member.ledger;
	join_again(false);
	ledger_unmap(old);
}

/* A program that takes its time to join, or was not preloaded and then calls one that is. */
static void step_exec_slowly(void)
{
	if (below(4) != 0)
		return;
	ledger_unmap(member.ledger);
	member.ledger = NULL;
	sleep_us(life->unattached_us);
	join_again(true);
}

/* --- the whole --- */

static void step(void)
{
	static void (*const steps[])(void) = {
		step_take, step_take, step_take, step_take, step_give, step_give, step_share, step_share, step_share_alone,
		step_segment, step_let_go, step_let_go, step_fork, step_fork, step_fork_fails, step_stray, step_exec,
		step_copy, step_exec_slowly,
	};
	steps[below(ARRAY_N(steps))]();
}

static void pause_if_told(void)
{
	while (life->pause && !life->stop) {
		me->paused = true;
		sleep_us(100);
	}
	me->paused = false;
}

static void member_live(const char *socket, const char *account, bool is_abroad, uint64_t seed, int steps)
	__attribute__((noreturn));
static void member_live(const char *socket, const char *account, bool is_abroad, uint64_t seed, int steps)
{
	member_seed = seed | 1;
	me->pid = getpid();
	member.socket = socket;
	if (!join(account, &member))
		_exit(!life->stop);
	abroad = is_abroad;
	if (abroad) /* as the broker does when it sees that it is */
		__atomic_fetch_or(&member.ledger->slot[member.slot].flags, SLOT_FOREIGN_PID, __ATOMIC_RELAXED);
	me->slot = member.slot;
	/* Not 0, if a join before this one was not answered, and we were counted meanwhile. */
	me->used = PURSE_USED(purse_read(&member.ledger->slot[member.slot].purse));
	for (int i = 0; i < steps && !life->stop; i++) {
		pause_if_told();
		step();
	}
	me->ended = true;
	while (!life->stop)
		pause_if_told(), sleep_us(100);
	_exit(0);
}
