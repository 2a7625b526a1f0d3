/* SPDX-License-Identifier: MIT */
/* A child of a member that is in no slot is one of three: about to join, a child of vfork in
 * its parent's memory, or a program that the preload does not reach. The first takes its
 * time, the second is told by kcmp(2). */
#include "daemon/unattached.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/audit.h"
#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/connector.h"
#include "daemon/count.h"
#include "daemon/settle.h"
#include "daemon/unseen.h"
#include "reserve/crash.h"

/* --- members that left by execve --- */

#define CHEAP_NS NS_PER_MS /* what takes longer the account pays for, and rests ATTENTION_PARTS times as long */

/* What may not be read any more, if we are no root, has changed its user by a set-uid bit: who
 * was without privilege cannot do that otherwise. */
static bool has_changed_user(const struct member *m)
{
	uid_t uid;
	return m->user != 0 && proc_effective_uid(m->pid, &uid) == 0 && uid != m->user;
}

/* As long as nobody can tell, it does. */
static bool maps_ledger(const struct broker *b, struct account *a, const struct member *m)
{
	struct proc_stat st;
	uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC), own_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	int maps = proc_maps(m->pid, a->device, a->inode);
	/* Where we were kept waiting until it was too long, all of it; else others' work is not its fault. */
	uint64_t took_ns = maps == -ETIME ? clock_ns(CLOCK_MONOTONIC) - begun_ns :
					    clock_ns(CLOCK_THREAD_CPUTIME_ID) - own_ns;
	if (took_ns > CHEAP_NS) {
		attention_pay(a, took_ns);
		a->maps_next_ns = b->now_ns + ATTENTION_PARTS * took_ns;
	}
	/* Where the first thread has ended before the others, the file is empty. */
	if (maps == 0)
		return proc_stat(m->pid, &st) != 0 || st.state == 'Z';
	return (maps != -EACCES && maps != -EPERM) || !has_changed_user(m);
}

/* What stood there of the old image is not true of the new one. */
static void slot_rename(struct account *a, uint32_t s)
{
	struct proc_stat st;
	struct slot *slot = &a->ledger->slot[s];
	memset(slot->category, 0, sizeof slot->category);
	if (proc_stat(a->member[s].pid, &st) == 0)
		memcpy(slot->comm, st.comm, sizeof slot->comm);
}

/* A slot that was turned: has its process joined again, and was slow to map the ledger? Then it acts
 * for it, as before. Looked at after it was turned: pairs with whoever joins, who maps and then looks
 * at the state (shim/start.c). */
static bool slot_turn_back(struct broker *b, struct account *a, uint32_t s)
{
	return maps_ledger(b, a, &a->member[s]) && slot_turn(a->ledger, s, SLOT_UNATTACHED, SLOT_LIVE);
}

/* Its slot becomes ours, with the charge that is in it. What it left open is settled when it is ours
 * for certain, and not before: until then it may be in the middle of something. */
static void member_turn(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	if (guess_is_wrong(a, s, slot_read(a->ledger, s))) {
		a->doubts++; /* another is in it, who has adopted it: births_look finds out */
		return;
	}
	if (!slot_turn(a->ledger, s, SLOT_LIVE, SLOT_UNATTACHED))
		return;
	CRASH_POINT(UNATTACHED_TURNED);
	if (slot_turn_back(b, a, s)) {
		m->has_left = false;
		return;
	}
	unseen_forget(b, a, s);
	m->unattached = true;
	settle_exec(b, a, s);
	if (a->damaged || m->life != MEMBER_WATCHED)
		return;
	unseen_take_over(a, s);
	slot_rename(a, s);
	audit_slot(b, a, s);
}

bool unattached_resume(struct broker *b, struct account *a, uint32_t s)
{
	bool turned = __atomic_load_n(&a->ledger->slot[s].flags, __ATOMIC_RELAXED) & SLOT_TURNED;
	if (turned && slot_turn_back(b, a, s))
		return false;
	unseen_take_over(a, s);
	return true;
}

bool unattached_turn(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	if (b->now_ns < a->maps_next_ns)
		return m->has_left;
	bool left = !maps_ledger(b, a, m);
	if (left && !m->has_left)
		m->since_ns = b->busy_ns = b->now_ns;
	m->has_left = left;
	if (left && b->now_ns - m->since_ns >= UNATTACHED_GRACE_NS)
		member_turn(b, a, s);
	return left;
}

/* --- children that never came --- */

/* The account a process belongs to by its parent, or by its control group. */
static struct account *account_of(struct broker *b, int32_t pid, const struct proc_stat *st)
{
	struct account *a = registry_next(b, st->parent, NULL);
	for (uint32_t i = 0; !a && i < b->places; i++) {
		struct account *c = &b->account[i];
		if (c->ledger && !c->retired && c->admission.cgroup[0] && proc_in_cgroup(pid, c->admission.cgroup))
			a = c;
	}
	return a && !a->damaged ? a : NULL;
}

/* A broker, such as solvent run starts within another, is nobody's. It runs our program, and
 * does not have the ledger. */
static bool is_broker(const struct account *a, int32_t pid)
{
	uint64_t device, inode, our_device, our_inode;
	char path[32];
	snprintf(path, sizeof path, "%d/exe", pid);
	if (proc_inode(proc_descriptor(), path, &device, &inode) != 0 ||
	    proc_inode(AT_FDCWD, "/proc/self/exe", &our_device, &our_inode) != 0 || device != our_device ||
	    inode != our_inode)
		return false;
	int maps = proc_maps(pid, a->device, a->inode);
	return maps <= 0 && maps != -ETIME;
}

static void child_enter(struct broker *b, struct account *a, int32_t pid, uint64_t start_ticks)
{
	struct proc_stat st;
	uid_t uid = 0;
	int pidfd = pidfd_open(pid, 0);
	int s = -1;
	/* The pidfd first, then is it still the one we know? */
	if (proc_stat(pid, &st) == 0 && st.start_ticks == start_ticks)
		s = registry_claim(b, a, SLOT_UNATTACHED);
	if (s < 0) {
		if (pidfd >= 0)
			close(pidfd);
		return;
	}
	CRASH_POINT(UNATTACHED_CLAIMED);
	proc_uid(pid, &uid);
	__atomic_store_n(&a->ledger->slot[s].pid, pid, __ATOMIC_RELEASE);
	CRASH_POINT(UNATTACHED_NAMED);
	births_enter(b, a, (uint32_t)s, slot_read(a->ledger, (uint32_t)s), pid, uid, pidfd);
	unseen_take_over(a, (uint32_t)s);
	audit_slot(b, a, (uint32_t)s);
}

static struct newcomer *newcomer_find(struct unattached *u, int32_t pid)
{
	for (uint32_t i = 0; i < UNATTACHED_NEWCOMERS; i++)
		if (u->newcomer[i].pid == pid)
			return &u->newcomer[i];
	return NULL;
}

static void stranger_set(struct unattached *u, int32_t pid, bool stranger)
{
	u->stranger[(uint32_t)pid % UNATTACHED_STRANGERS] = stranger ? pid : 0;
}

/* It has had its time to join. Who is counted with its parent, or is nobody's, is that for some
 * rounds: it may stay so for ever, and places are few. */
static void newcomer_end(struct broker *b, struct account *a, struct newcomer *c, int32_t parent)
{
	if (count_is_shared(c->pid, parent) || is_broker(a, c->pid))
		stranger_set(&b->unattached, c->pid, true);
	else
		child_enter(b, a, c->pid, c->start_ticks);
	c->pid = 0;
}

/* True while it is a newcomer. */
static bool process_look(struct broker *b, int32_t pid)
{
	struct unattached *u = &b->unattached;
	struct proc_stat st;
	if (registry_next(b, pid, NULL) || proc_stat(pid, &st) != 0 || st.state == 'Z' || st.state == 'X')
		return false;
	struct account *a = account_of(b, pid, &st);
	stranger_set(u, pid, !a);
	if (!a || pid == getpid())
		return false;
	struct newcomer *c = newcomer_find(u, pid);
	if (c && c->start_ticks == st.start_ticks) {
		c->round = u->round;
		if (b->now_ns - c->since_ns >= UNATTACHED_GRACE_NS)
			newcomer_end(b, a, c, st.parent);
		return c->pid != 0;
	}
	c = c ? c : newcomer_find(u, 0);
	if (!c)
		return false;
	*c = (struct newcomer){ .pid = pid, .round = u->round, .start_ticks = st.start_ticks, .since_ns = b->now_ns };
	b->busy_ns = b->now_ns;
	return true;
}

/* Those that are not new any more, without waiting for the walk to come to them again. */
static void newcomers_look(struct broker *b)
{
	for (uint32_t i = 0; i < UNATTACHED_NEWCOMERS; i++) {
		struct newcomer *c = &b->unattached.newcomer[i];
		if (c->pid != 0 && b->now_ns - c->since_ns >= UNATTACHED_GRACE_NS && !process_look(b, c->pid))
			c->pid = 0;
	}
}

#define HEARD_AT_ONCE 64

void unattached_hear(struct broker *b, int connector)
{
	int32_t pid;
	int heard = 0;
	for (int n = 0; n < HEARD_AT_ONCE && (heard = connector_read(connector, &pid)) > 0; n++) {
		struct account *a = registry_next(b, pid, NULL);
		struct member *m = a ? registry_find(b, a, pid) : NULL;
		census_hear(b, pid);
		if (!a)
			process_look(b, pid);
		else if (!a->damaged && m && !m->unattached)
			unattached_turn(b, a, member_slot(a, m));
	}
	b->unattached.hears = true;
	if (heard < 0) /* some were lost: all are looked through */
		b->unattached.next_ns = 0;
}

static void newcomers_tidy(struct unattached *u)
{
	for (uint32_t i = 0; i < UNATTACHED_NEWCOMERS; i++)
		if (u->newcomer[i].round != u->round)
			u->newcomer[i].pid = 0;
	u->round++;
}

static bool is_by_cgroup(const struct account *a)
{
	return a->ledger && !a->damaged && !a->retired && a->admission.cgroup[0];
}

static bool anybody_to_look_for(const struct broker *b)
{
	for (uint32_t i = 0; i < b->places; i++) {
		const struct account *a = &b->account[i];
		if (is_by_cgroup(a) || (a->ledger && !a->damaged && a->members > 0))
			return true;
	}
	return false;
}

static bool walk_begin(struct broker *b)
{
	struct unattached *u = &b->unattached;
	if (b->now_ns < u->next_ns || !anybody_to_look_for(b) || proc_walk_open(&u->walk) != 0)
		return false;
	u->spent_ns = 0;
	return u->walking = true;
}

static uint64_t walk_every(const struct broker *b)
{
	if (!b->unattached.hears)
		return UNATTACHED_NS;
	if (b->now_ns - b->busy_ns < UNATTACHED_CALM_NS)
		return UNATTACHED_HEARING_NS;
	for (uint32_t i = 0; i < b->places; i++)
		if (is_by_cgroup(&b->account[i]))
			return UNATTACHED_CALM_NS;
	return UNATTACHED_CALMER_NS;
}

static void walk_end(struct broker *b)
{
	struct unattached *u = &b->unattached;
	proc_walk_close(&u->walk);
	newcomers_tidy(u);
	u->walking = false;
	u->next_ns = b->now_ns + max_u64(walk_every(b), UNATTACHED_PARTS * u->spent_ns);
}

uint64_t unattached_next_ns(const struct broker *b)
{
	const struct unattached *u = &b->unattached;
	uint64_t next = u->walking ? 0 : NEVER;
	for (uint32_t i = 0; i < UNATTACHED_NEWCOMERS; i++)
		if (u->newcomer[i].pid != 0)
			next = min_u64(next, u->newcomer[i].since_ns + UNATTACHED_GRACE_NS);
	for (uint32_t i = 0; i < b->places; i++)
		if (is_by_cgroup(&b->account[i]))
			next = min_u64(next, u->next_ns);
	return next;
}

/* A member; or nobody's when last looked at, which few ever change. */
static bool is_known(struct broker *b, int32_t pid)
{
	const struct unattached *u = &b->unattached;
	bool stranger = u->stranger[(uint32_t)pid % UNATTACHED_STRANGERS] == pid;
	return registry_next(b, pid, NULL) || (stranger && (u->round + (uint32_t)pid) % UNATTACHED_ROUNDS != 0);
}

void unattached_tick(struct broker *b)
{
	struct unattached *u = &b->unattached;
	newcomers_look(b);
	if (!u->walking && !walk_begin(b))
		return;
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID), now_ns = begun_ns;
	int32_t pid = 0;
	while (now_ns - begun_ns < UNATTACHED_STEP_NS && (pid = proc_walk_next(&u->walk)) > 0) {
		if (is_known(b, pid))
			continue;
		process_look(b, pid);
		now_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	}
	now_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	u->spent_ns += now_ns - begun_ns;
	if (pid == 0)
		walk_end(b);
}
