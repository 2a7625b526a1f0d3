/* SPDX-License-Identifier: MIT */
/* Who a process is to the ledger (shim/self.c), and what the broker does to its slot at the wrong
 * moment. The other parts of the shim are stood in for here. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "shim/self.c"

TestSuite(self, .timeout = 20);

enum { GRANT = 10000 };

static void (*meanwhile)(void); /* while somebody waits, once */

static void wait_for_it(void)
{
	void (*act)(void) = meanwhile;
	meanwhile = NULL;
	if (act)
		act();
}

/* --- shim/lock.c --- */

static enum lock_result lock_result;
static int held, blocked;

enum lock_result lock_take(struct lock *l)
{
	(void)l;
	wait_for_it();
	held += lock_result != LOCK_NOT_TAKEN;
	return lock_result;
}

void lock_release(struct lock *l)
{
	(void)l;
	held--;
}

uint64_t signals_block(void)
{
	return (uint64_t)blocked++;
}

void signals_restore(uint64_t mask)
{
	blocked = (int)mask;
}

/* --- shim/broker.c --- */

int broker_join(const char *socket, const char *account, bool wait, struct reply_join *ret, int *ret_fd)
{
	(void)socket, (void)account, (void)wait, (void)ret, (void)ret_fd;
	return -ECONNREFUSED;
}

int broker_extend(void *context, uint32_t pages, enum refusal_reason *ret_reason)
{
	(void)context, (void)pages, (void)ret_reason;
	return -ECONNREFUSED;
}

int broker_adopt(const struct embryo *e, int32_t *ret_pid)
{
	(void)e, (void)ret_pid;
	return -ECONNREFUSED;
}

/* --- the others --- */

void charge_child_reset(uint64_t pages)
{
	self.mine = pages;
}

void charge_soft_show(uint32_t slot)
{
	self.ledger->slot[slot].soft = 0;
}

void map_child(void) {}
void alert_child(void) {}
void shared_child(void) {}

/* --- a member --- */

static struct ledger *ledger_make(void)
{
	struct ledger *l = calloc(1, sizeof *l);
	l->header.limit = GRANT;
	l->header.fork_percent = 100;
	l->header.purse.word = PURSE(GRANT, 0);
	return l;
}

static void member_make(void)
{
	self = (struct self){ .state = SELF_MEMBER, .ledger = ledger_make(), .pid = getpid(), .broker_pid = getpid() };
	self.slot = (uint32_t)slot_claim(self.ledger, SLOT_LIVE, 0);
	self.generation = SLOT_GEN(slot_read(self.ledger, self.slot));
	lock_result = LOCK_TAKEN;
	held = blocked = 0;
}

static void slot_is_given_up(void)
{
	slot_free(self.ledger, self.slot);
}

Test(self, does_not_act_for_a_slot_that_was_given_up_while_it_waited)
{
	static const enum lock_result results[] = { LOCK_TAKEN, LOCK_INHERITED };
	struct self_lock lock;
	for (size_t i = 0; i < ARRAY_N(results); i++) {
		member_make();
		lock_result = results[i];
		cr_assert(self_lock(&lock) && held == 1 && blocked == 1);
		self_unlock(&lock);
		cr_assert(held == 0 && blocked == 0);
		self.ledger->slot[self.slot].intent_op = INTENT_FUND; /* of whoever has it next */
		meanwhile = slot_is_given_up;
		cr_assert(!self_lock(&lock), "result %d", results[i]);
		cr_assert(held == 0 && blocked == 0);
		cr_assert_eq(self.ledger->slot[self.slot].intent_op, INTENT_FUND);
	}
}
