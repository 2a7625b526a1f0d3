/* SPDX-License-Identifier: MIT */
/* Who we are to the ledger. One struct per address space, copied by fork, shared by
 * vfork; the slot lock; and how a copy becomes a member of its own. */
#include "shim/self.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "shim/alert.h"
#include "shim/broker.h"
#include "shim/charge.h"
#include "shim/lock.h"
#include "shim/map.h"
#include "shim/raw.h"
#include "shim/shared.h"

struct self self;

/* Taken over from a child of vfork that was killed while it acted in our slot's name: what it
 * left open is settled first. */
bool self_lock_blocked(void)
{
	enum lock_result result = lock_take(&self.slot_lock);
	/* Asked when it is taken: it may have been waited for. */
	bool ours = result != LOCK_NOT_TAKEN && !self_is_buried();
	if (ours && result == LOCK_INHERITED) {
		transfer_settle(self.ledger, self.slot);
		object_settle(self.ledger, self.slot);
	}
	if (result != LOCK_NOT_TAKEN && !ours)
		lock_release(&self.slot_lock);
	return ours;
}

/* The slot's intent is closed before. */
void self_unlock_blocked(void)
{
	lock_release(&self.slot_lock);
}

bool self_lock(struct self_lock *ret)
{
	ret->signals = signals_block();
	bool ours = self_lock_blocked();
	if (!ours)
		signals_restore(ret->signals);
	return ours;
}

void self_unlock(const struct self_lock *lock)
{
	self_unlock_blocked();
	signals_restore(lock->signals);
}

struct gather self_gather(void)
{
	struct gather g = { .ledger = self.ledger, .slot = self.slot, .generation = self.generation,
			    .ask = broker_extend };
	return g;
}

/* --- entering --- */

#define JOIN_TRIES 8

/* The ledger of the account, mapped, and of which file it is; 0, -errno or enum status. */
static int ledger_get(const char *account, bool wait, struct reply_join *reply, struct ledger **ret, uint64_t *ret_inode)
{
	struct stat st;
	int fd = -1;
	int result = broker_join(self.socket, account, wait, reply, &fd);
	if (result != 0)
		return result;
	result = fstat(fd, &st) != 0 ? -errno : ledger_map(fd, true, ret);
	raw_call1(SYS_close, fd);
	if (result != 0)
		return result == -EPROTO ? STATUS_VERSION : result;
	*ret_inode = st.st_ino;
	if (reply->slot < LEDGER_SLOTS)
		return 0;
	ledger_unmap(*ret);
	return -EPROTO;
}

/* Slow to map it, we may have been taken for a process that never will, and the broker acts
 * in our slot (daemon/unattached.c): then we join once more. */
static bool slot_is_ours(const struct ledger *l, const struct reply_join *reply)
{
	uint64_t word = slot_read(l, reply->slot);
	return SLOT_STATE(word) == SLOT_LIVE && SLOT_GEN(word) == reply->generation;
}

int self_enter(const char *account, bool wait, struct reply_join *ret)
{
	struct ledger *ledger;
	uint64_t inode;
	for (int tries = 0;; tries++) {
		int result = ledger_get(account, wait, ret, &ledger, &inode);
		if (result != 0)
			return result;
		if (slot_is_ours(ledger, ret))
			break;
		ledger_unmap(ledger);
		if (tries == JOIN_TRIES)
			return -EPROTO;
	}
	self.ledger = ledger;
	self.inode = inode;
	self.slot = ret->slot;
	self.generation = ret->generation;
	self.broker_pid = ret->pid;
	memcpy(self.account, ret->account, sizeof self.account);
	self.account[sizeof self.account - 1] = '\0';
	return 0;
}

/* --- children --- */

/* A copy that cannot pay for itself, or cannot join, must not run: nothing could be refused to it
 * any more. */
static _Noreturn void child_end(void)
{
	raw_call1(SYS_exit_group, 125);
	__builtin_unreachable();
}

/* The rest of what the child inherited, beyond what its embryo was given: other threads
 * of the parent charged in its last moment. */
static void child_pay(uint64_t pages)
{
	struct self_lock lock;
	if (pages == 0 || !self_lock(&lock))
		return;
	struct gather g = self_gather();
	enum refusal_reason reason = gather_take(&g, pages);
	self_unlock(&lock);
	if (reason != REASON_NONE)
		child_end();
}

/* The ledger takes the place of the one before: a charge that a handler interrupted, and that goes on
 * in this copy, knows it by its address. */
static void ledger_replace(struct ledger *before)
{
	long r = raw_call6(SYS_mremap, self.ledger, LEDGER_BYTES, LEDGER_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, before, 0);
	if (!raw_failed(r))
		self.ledger = before;
}

static void child_charge(uint64_t pages, bool renewed)
{
	/* The broker may have counted us before we spoke up. */
	struct purse *purse = &self.ledger->slot[self.slot].purse;
	uint64_t paid = renewed ? PURSE_USED(purse_read(purse)) : 0;
	charge_soft_show(self.slot);
	if (pages >= paid)
		child_pay(pages - paid);
	else
		purse_give(purse, (uint32_t)(paid - pages));
}

/* A copy nobody conceived (clone by hand), or whose embryo was buried with its parent. One
 * that cannot join is as one that cannot start. A broker that was started without the ledgers of the
 * last, or an account that was ended and made again, has another ledger than our parent: all that
 * we have is charged there. */
static void child_join(uint64_t pages)
{
	struct reply_join reply;
	struct ledger *before = self.ledger;
	uint64_t inode = self.inode;
	self.state = SELF_OPEN;
	if (self_enter(self.account, true, &reply) != 0) {
		if (!self.may_be_open)
			child_end();
		return;
	}
	self.state = SELF_MEMBER;
	child_charge(pages, reply.renewed != 0);
	if (self.inode != inode && !shared_child_anew(before))
		child_end();
	ledger_replace(before);
}

/* In a pid namespace other than the broker's, our own pid means nothing to it. */
static bool pid_is_foreign(void)
{
	return self.broker_pid != self.pid;
}

/* We are a child, whose parent is not in our pid namespace: it had told the kernel to put its
 * children into another (unshare(2), setns(2)). */
static bool pid_is_in_other_space(void)
{
	return raw_call0(SYS_getppid) == 0;
}

static bool child_adopt(const struct embryo *e, uint64_t pages, int32_t pid)
{
	uint64_t credit = min_u64(e->credit, pages), due = pages - credit;
	/* Where our number means nothing to the broker it is asked for its own, before we live in
	 * the slot: it gives up one whose process it does not know. */
	if ((pid_is_foreign() || pid_is_in_other_space()) && broker_adopt(e, &pid) != 0)
		return false;
	struct slot *slot = &self.ledger->slot[e->slot];
	uint64_t given = min_u64(due, PURSE_GRANTED(purse_read(&slot->purse)));
	if (!embryo_adopt(self.ledger, *e, (uint32_t)given, pid))
		return false;
	self.slot = e->slot;
	self.generation = e->generation;
	self.broker_pid = pid;
	/* Other threads of the parent may have given something back since it wrote these (shim/fork.c). */
	__atomic_store_n(&slot->credit, (uint32_t)credit, __ATOMIC_RELAXED);
	charge_soft_show(e->slot);
	child_pay(due - given);
	return true;
}

static void child_begin(const struct embryo *e, int32_t pid)
{
	uint64_t pages = SELF_MINE_PAGES(self.mine);
	self.slot_lock.word = 0; /* its holder, if any, stayed in the parent */
	map_child();
	alert_child();
	charge_child_reset(pages);
	*self.token = 1;
	if (self.state == SELF_MEMBER && !(e && child_adopt(e, pages, pid)))
		child_join(pages);
	self.pid = pid;
	if (self.state == SELF_MEMBER)
		shared_child();
}

/* What a handler charges meanwhile would be our parent's. It may have been the first to charge, and
 * then we are no copy any more. */
void self_become_child(const struct embryo *e)
{
	uint64_t signals = signals_block();
	if (self_is_copy())
		child_begin(e, raw_getpid());
	signals_restore(signals);
}

/* A first look at the token is a page fault, and writing to it another. So the pid is asked first, which
 * says nothing only where we have been here before, or in two pid namespaces. */
void self_born(const struct embryo *e)
{
	int32_t pid = raw_getpid();
	if (pid != self.pid || self_is_copy())
		child_begin(e, pid);
}
