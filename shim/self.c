/* SPDX-License-Identifier: MIT */
/* Who we are to the ledger. One struct per address space, copied by fork, shared by
 * vfork; the slot lock; and how a copy becomes a member of its own. */
#include "shim/self.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <time.h>

#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "shim/broker.h"
#include "shim/charge.h"
#include "shim/raw.h"
#include "shim/shared.h"

struct self self;

/* 0: free; else the tid of the holder, with the high bit when somebody waits. */
static uint32_t lock_word;
#define LOCK_WAITED 0x80000000u
#define LOCK_TRY_NS 10000000L /* then see whether the holder still lives */
#define LOCK_TRIES 200

static uint64_t signals_set(uint64_t mask)
{
	uint64_t old = 0;
	raw_call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof mask);
	return old;
}

/* Takes the lock over from a holder that no longer exists: a child of vfork that was
 * killed while it acted in our slot's name. What it left open is settled first. */
static bool lock_inherit(uint32_t seen, uint32_t me)
{
	if (raw_call2(SYS_tkill, seen & ~LOCK_WAITED, 0) != -ESRCH)
		return false;
	if (!__atomic_compare_exchange_n(&lock_word, &seen, me | LOCK_WAITED, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED))
		return false;
	transfer_settle(self.ledger, self.slot);
	object_settle(self.ledger, self.slot);
	return true;
}

static bool lock_wait(uint32_t me)
{
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		uint32_t seen = 0;
		/* Acquire: pairs with the release in self_unlock. Marked as waited for, since
		 * others may sleep beside us and would never be woken otherwise. */
		if (__atomic_compare_exchange_n(&lock_word, &seen, me | LOCK_WAITED, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
		uint32_t waited = seen | LOCK_WAITED;
		if (seen != waited && !__atomic_compare_exchange_n(&lock_word, &seen, waited, false,
								    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		struct timespec pause = { .tv_nsec = LOCK_TRY_NS };
		long r = raw_call4(SYS_futex, &lock_word, FUTEX_WAIT_PRIVATE, waited, &pause);
		if (r == -ETIMEDOUT && lock_inherit(waited, me))
			return true;
	}
	return false;
}

bool self_lock(struct self_lock *ret)
{
	uint32_t me = (uint32_t)raw_gettid(), free_word = 0;
	if (self_is_buried())
		return false;
	uint64_t signals = signals_set(UINT64_MAX);
	if (!__atomic_compare_exchange_n(&lock_word, &free_word, me, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED) &&
	    !lock_wait(me)) {
		signals_set(signals);
		return false;
	}
	ret->signals = signals;
	return true;
}

void self_unlock(const struct self_lock *lock)
{
	/* Release: pairs with the acquire above; the slot's intent is closed before. */
	uint32_t old = __atomic_exchange_n(&lock_word, 0, __ATOMIC_RELEASE);
	if (old & LOCK_WAITED)
		raw_call3(SYS_futex, &lock_word, FUTEX_WAKE_PRIVATE, 1);
	signals_set(lock->signals);
}

struct gather self_gather(void)
{
	struct gather g = { .ledger = self.ledger, .slot = self.slot, .ask = broker_extend };
	return g;
}

/* The rest of what the child inherited, beyond what its embryo was given: other threads
 * of the parent charged in its last moment. A copy that cannot pay for itself must not
 * run: nothing could be refused to it any more. */
static void child_pay(uint64_t pages)
{
	struct self_lock lock;
	if (pages == 0 || !self_lock(&lock))
		return;
	struct gather g = self_gather();
	enum refusal_reason reason = gather_take(&g, pages);
	self_unlock(&lock);
	if (reason != REASON_NONE)
		raw_call1(SYS_exit_group, 125);
}

/* A copy nobody conceived (clone by hand), or whose embryo was buried with its parent. One
 * that cannot join is as one that cannot start. */
static void child_join(uint64_t pages)
{
	struct reply_join reply;
	if (broker_join(self.socket, self.account, true, &reply, NULL) != 0) {
		if (!self.may_be_open)
			raw_call1(SYS_exit_group, 125);
		self.state = SELF_OPEN;
		return;
	}
	self.slot = reply.slot;
	self.generation = reply.generation;
	self.broker_pid = reply.pid;
	/* The broker may have counted us before we spoke up. */
	struct purse *purse = &self.ledger->slot[self.slot].purse;
	uint64_t paid = reply.renewed ? PURSE_USED(purse_read(purse)) : 0;
	if (pages >= paid)
		child_pay(pages - paid);
	else
		purse_give(purse, (uint32_t)(paid - pages));
}

/* In a pid namespace other than the broker's, our own pid means nothing to it. */
static bool pid_is_foreign(void)
{
	return self.broker_pid != self.pid;
}

static bool child_adopt(const struct embryo *e, uint64_t pages)
{
	uint64_t percent = self.ledger->header.fork_percent;
	uint64_t due = percent < 100 ? (pages * percent + 99) / 100 : pages;
	int32_t pid = raw_getpid();
	/* Where our number means nothing to the broker it is asked for its own, before we live in
	 * the slot: it gives up one whose process it does not know. */
	if ((pid_is_foreign() || pid == 1) && broker_adopt(e, &pid) != 0)
		return false;
	struct slot *slot = &self.ledger->slot[e->slot];
	uint64_t given = min_u64(due, PURSE_GRANTED(purse_read(&slot->purse)));
	/* Before it is ours: the audit must not find what was let in without paying. */
	__atomic_store_n(&slot->credit, (uint32_t)(pages - due), __ATOMIC_RELAXED);
	if (!embryo_adopt(self.ledger, *e, (uint32_t)given, pid))
		return false;
	self.slot = e->slot;
	self.generation = e->generation;
	self.broker_pid = pid;
	child_pay(due - given);
	return true;
}

void self_become_child(const struct embryo *e)
{
	uint64_t pages = SELF_MINE_PAGES(self.mine);
	lock_word = 0; /* its holder, if any, stayed in the parent */
	charge_child_reset(pages);
	*self.token = 1;
	if (self.state == SELF_MEMBER && !(e && child_adopt(e, pages)))
		child_join(pages);
	self.pid = raw_getpid();
	if (self.state == SELF_MEMBER)
		shared_child();
}
