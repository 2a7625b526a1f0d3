/* SPDX-License-Identifier: MIT */
/* Who we are to the ledger. One struct per address space, copied by fork, shared by
 * vfork; the slot lock; and how a copy becomes a member of its own. */
#include "shim/self.h"

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
bool self_lock(struct self_lock *ret)
{
	ret->signals = signals_block();
	enum lock_result result = lock_take(&self.slot_lock);
	/* Asked when it is taken: it may have been waited for. */
	bool ours = result != LOCK_NOT_TAKEN && !self_is_buried();
	if (ours && result == LOCK_INHERITED) {
		transfer_settle(self.ledger, self.slot);
		object_settle(self.ledger, self.slot);
	}
	if (result != LOCK_NOT_TAKEN && !ours)
		lock_release(&self.slot_lock);
	if (!ours)
		signals_restore(ret->signals);
	return ours;
}

/* The slot's intent is closed before. */
void self_unlock(const struct self_lock *lock)
{
	lock_release(&self.slot_lock);
	signals_restore(lock->signals);
}

struct gather self_gather(void)
{
	struct gather g = { .ledger = self.ledger, .slot = self.slot, .generation = self.generation,
			    .ask = broker_extend };
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
	charge_soft_show(self.slot);
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

/* We are a child, whose parent is not in our pid namespace: it had told the kernel to put its
 * children into another (unshare(2), setns(2)). */
static bool pid_is_in_other_space(void)
{
	return raw_call0(SYS_getppid) == 0;
}

static bool child_adopt(const struct embryo *e, uint64_t pages)
{
	uint64_t credit = min_u64(e->credit, pages), due = pages - credit;
	int32_t pid = raw_getpid();
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

void self_become_child(const struct embryo *e)
{
	uint64_t pages = SELF_MINE_PAGES(self.mine);
	self.slot_lock.word = 0; /* its holder, if any, stayed in the parent */
	map_child();
	alert_child();
	charge_child_reset(pages);
	*self.token = 1;
	if (self.state == SELF_MEMBER && !(e && child_adopt(e, pages)))
		child_join(pages);
	self.pid = raw_getpid();
	if (self.state == SELF_MEMBER)
		shared_child();
}
