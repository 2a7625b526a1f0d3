/* SPDX-License-Identifier: MIT */
/* A parent killed inside fork leaves an embryo of which nobody knows whether it was born.
 * The kernel does: once the parent is gone, the child is either in /proc or will never be
 * (copy_process gives up when a fatal signal is pending, kernel/fork.c). It maps the
 * ledger, has no slot, and its parent is no member any more. */
#include "daemon/orphans.h"

#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/proc.h"
#include "reserve/crash.h"

static uint32_t orphan_first(const struct account *a)
{
	for (uint32_t w = 0; w < HOLDER_WORDS; w++)
		if (a->orphan[w])
			return w * 64 + (uint32_t)__builtin_ctzll(a->orphan[w]);
	return LEDGER_SLOTS;
}

void orphans_seek(struct account *a)
{
	a->orphan_place = 0;
}

void orphan_add(struct account *a, uint32_t s)
{
	uint64_t bit = 1ull << s % 64;
	orphans_seek(a);
	a->orphans += (a->orphan[s / 64] & bit) == 0;
	a->orphan[s / 64] |= bit;
}

static void orphan_clear(struct account *a, uint32_t s)
{
	a->orphan[s / 64] &= ~(1ull << s % 64);
	a->orphans--;
}

static bool is_lost_child(struct broker *b, const struct account *a, int32_t pid)
{
	struct proc_stat st;
	if (pid == getpid() || registry_find(b, a, pid) || proc_stat(pid, &st) != 0)
		return false;
	return st.state != 'Z' && st.state != 'X' && !registry_find(b, a, st.parent) &&
	       proc_maps(pid, a->device, a->inode) > 0;
}

/* Still without a process? A child may have adopted its slot meanwhile, and says so. */
static bool is_orphan(const struct account *a, uint32_t s, uint64_t word)
{
	return SLOT_STATE(word) != SLOT_FREE && !(SLOT_STATE(word) == SLOT_LIVE && births_pid(a, s, word) > 0);
}

/* Takes the next real one off the list, or LEDGER_SLOTS. */
static uint32_t orphan_take(struct account *a, uint64_t *ret_word)
{
	for (uint32_t s; (s = orphan_first(a)) < LEDGER_SLOTS;) {
		orphan_clear(a, s);
		*ret_word = slot_read(a->ledger, s);
		if (!member_is_known(a, s) && is_orphan(a, s, *ret_word))
			return s;
		a->doubts++; /* births_look has another look at it */
	}
	return LEDGER_SLOTS;
}

/* Which of several orphans is this process's does not matter: they hold what the same
 * parent was charged. */
static void orphan_give(struct broker *b, struct account *a, int32_t pid)
{
	uint64_t word;
	uint32_t s = orphan_take(a, &word);
	if (s == LEDGER_SLOTS)
		return;
	struct slot *slot = &a->ledger->slot[s];
	int32_t said = __atomic_load_n(&slot->pid, __ATOMIC_RELAXED);
	/* Its child may adopt it this instant, and knows better: what it writes stays. */
	if (births_pid(a, s, slot_read(a->ledger, s)) > 0 ||
	    !__atomic_compare_exchange_n(&slot->pid, &said, pid, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
		a->doubts++;
		return;
	}
	CRASH_POINT(ORPHAN_NAMED);
	__atomic_fetch_and(&slot->flags, ~SLOT_FOREIGN_PID, __ATOMIC_RELAXED);
	uid_t uid = 0;
	proc_uid(pid, &uid);
	births_enter(b, a, s, word, pid, uid, pidfd_open(pid, 0));
	a->member[s].guessed = true;
}

/* Goes on where the last search was cut short. True when all of /proc was seen. */
static bool orphans_search(struct broker *b, struct account *a, uint64_t until_ns)
{
	struct proc_walk walk;
	int32_t pid = 1;
	if (proc_walk_resume(&walk, a->orphan_place) != 0)
		return false;
	while (a->orphans > 0 && clock_ns(CLOCK_THREAD_CPUTIME_ID) < until_ns && (pid = proc_walk_next(&walk)) > 0)
		if (is_lost_child(b, a, pid))
			orphan_give(b, a, pid);
	proc_walk_close(&walk);
	bool all_seen = pid == 0 || a->orphans == 0;
	a->orphan_place = all_seen ? 0 : walk.place;
	return all_seen;
}

/* An embryo may be given up even if its child was overlooked: the child finds its slot
 * gone and joins anew. A live one's process goes on charging what it thinks is its own. */
static bool any_live(const struct account *a)
{
	for (uint32_t w = 0; w < HOLDER_WORDS; w++)
		for (uint64_t bits = a->orphan[w]; bits; bits &= bits - 1)
			if (SLOT_STATE(slot_read(a->ledger, w * 64 + (uint32_t)__builtin_ctzll(bits))) == SLOT_LIVE)
				return true;
	return false;
}

void orphans_place(struct broker *b, struct account *a)
{
	uint64_t word;
	if (a->orphans == 0 || !attention_is_left(b, a))
		return;
	/* Of our own time: on a busy machine the same walk would be cut short. */
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	bool all_seen = orphans_search(b, a, begun_ns + ORPHANS_WALK_NS); /* model: orphans_place */
	attention_pay(a, clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns);
	if (!all_seen && any_live(a))
		return;
	for (uint32_t s; (s = orphan_take(a, &word)) < LEDGER_SLOTS;)
		member_doom_alleged(b, a, s, word);
}
