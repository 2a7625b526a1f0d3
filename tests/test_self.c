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

/* Into a free slot of the same ledger. */
int broker_join(const char *socket, const char *account, bool wait, struct reply_join *ret, int *ret_fd)
{
	(void)socket, (void)account, (void)wait, (void)ret_fd;
	*ret = (struct reply_join){ .slot = (uint32_t)slot_claim(self.ledger, SLOT_LIVE, 0), .pid = getpid() };
	ret->generation = SLOT_GEN(slot_read(self.ledger, ret->slot));
	return 0;
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

static uint32_t soft;

void charge_soft_show(uint32_t slot)
{
	self.ledger->slot[slot].soft = soft;
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
	static volatile uint32_t token;
	self = (struct self){ .state = SELF_MEMBER, .ledger = ledger_make(), .pid = getpid(), .broker_pid = getpid(),
			      .token = &token };
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

/* --- children --- */

enum { PAGES = 1000, CREDIT = 800, SOFT = 77 };

/* Conceived on credit (shim/fork.c), and its parent has forked: this is the child now. */
static struct embryo child_begin(void)
{
	struct embryo e;
	member_make();
	struct gather g = self_gather();
	soft = SOFT;
	cr_assert_eq(gather_take(&g, PAGES), REASON_NONE);
	cr_assert_eq(embryo_conceive(&g, PAGES - CREDIT, &e), REASON_NONE);
	e.credit = CREDIT;
	self.mine = PAGES;
	return e;
}

static uint32_t used_of(uint32_t s)
{
	return PURSE_USED(purse_read(&self.ledger->slot[s].purse));
}

Test(self, a_child_on_credit_pays_the_rest)
{
	struct embryo e = child_begin();
	self_become_child(&e);
	const struct slot *me = &self.ledger->slot[e.slot];
	cr_assert(self.state == SELF_MEMBER && self.slot == e.slot && self.generation == e.generation);
	cr_assert(used_of(e.slot) == PAGES - CREDIT && me->credit == CREDIT && me->soft == SOFT);
}

/* Its parent had more when it was conceived, and threads that gave most of it back. */
Test(self, a_child_owes_no_more_than_it_has)
{
	struct embryo e = child_begin();
	self.mine = CREDIT - 100;
	self_become_child(&e);
	cr_assert(used_of(e.slot) == 0 && self.ledger->slot[e.slot].credit == CREDIT - 100);
}

/* Late: its parent died, its embryo was buried, and another lives there. */
Test(self, a_late_child_writes_nothing_into_anothers_slot)
{
	struct embryo e = child_begin();
	slot_free(self.ledger, e.slot);
	cr_assert_eq(slot_claim(self.ledger, SLOT_LIVE, 0), (int)e.slot);
	self_become_child(&e);
	const struct slot *others = &self.ledger->slot[e.slot];
	cr_assert(others->credit == 0 && others->soft == 0);
	cr_assert(self.slot != e.slot && used_of(self.slot) == PAGES);
	cr_assert(self.ledger->slot[self.slot].credit == 0 && self.ledger->slot[self.slot].soft == SOFT);
}
