/* SPDX-License-Identifier: MIT */
/* Who a process is to the ledger (shim/self.c), and what the broker does to its slot at the wrong
 * moment. The other parts of the shim are stood in for here. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
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

static struct ledger *joined; /* another mapping of what it gives */
static int joined_fd, joins;

int broker_join(const char *socket, const char *account, bool wait, struct reply_join *ret, int *ret_fd)
{
	(void)socket, (void)wait;
	cr_assert(self.state != SELF_MEMBER, "its doors would charge the mapping");
	*ret = (struct reply_join){ .slot = (uint32_t)slot_claim(joined, SLOT_LIVE, 0), .pid = getpid() };
	ret->generation = SLOT_GEN(slot_read(joined, ret->slot));
	strcpy(ret->account, account);
	*ret_fd = dup(joined_fd);
	joins++;
	wait_for_it();
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

static bool anew; /* its objects were charged in another ledger */

bool shared_child_anew(const struct ledger *before)
{
	anew = before != self.ledger && strcmp(before->header.name, "first") == 0;
	return true;
}

void map_child(void) {}
void alert_child(void) {}
void shared_child(void) {}

/* --- a member --- */

static struct ledger *ledger_of(int fd)
{
	struct ledger *l;
	cr_assert(ledger_map(fd, true, &l) == 0);
	return l;
}

/* The broker has it, and gives it to who joins. */
static int ledger_make(const char *name)
{
	joined_fd = ledger_create(name);
	joined = ledger_of(joined_fd);
	joined->header.limit = GRANT;
	joined->header.purse.word = PURSE(GRANT, 0);
	return joined_fd;
}

static void member_make(void)
{
	static volatile uint32_t token;
	struct reply_join reply;
	token = 0;
	self = (struct self){ .state = SELF_EARLY, .pid = getpid(), .token = &token };
	ledger_make("first");
	cr_assert_eq(self_enter("first", true, &reply), 0);
	self.state = SELF_MEMBER;
	lock_result = LOCK_TAKEN;
	held = blocked = joins = 0;
	anew = false;
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
static struct embryo child_make(void)
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
	struct embryo e = child_make();
	self_become_child(&e);
	const struct slot *me = &self.ledger->slot[e.slot];
	cr_assert(self.state == SELF_MEMBER && self.slot == e.slot && self.generation == e.generation);
	cr_assert(used_of(e.slot) == PAGES - CREDIT && me->credit == CREDIT && me->soft == SOFT);
}

/* Known by its pid, or where that is the same by chance, by what is wiped; and by neither once it is. */
Test(self, a_child_is_born_once)
{
	for (int same = 0; same < 2; same++) {
		struct embryo e = child_make();
		uint32_t parent = self.slot;
		self.pid = self.broker_pid = same ? getpid() : getpid() + 1;
		self_born(&e);
		cr_assert(self.slot == e.slot && self.slot != parent && self.pid == getpid() && *self.token == 1);
		self_born(NULL);
		cr_assert(self.slot == e.slot && joins == 0 && used_of(e.slot) == PAGES - CREDIT);
	}
}

/* Its parent had more when it was conceived, and threads that gave most of it back. */
Test(self, a_child_owes_no_more_than_it_has)
{
	struct embryo e = child_make();
	self.mine = CREDIT - 100;
	self_become_child(&e);
	cr_assert(used_of(e.slot) == 0 && self.ledger->slot[e.slot].credit == CREDIT - 100);
}

/* Late: its parent died, its embryo was buried, and another lives there. */
Test(self, a_late_child_writes_nothing_into_anothers_slot)
{
	struct embryo e = child_make();
	slot_free(self.ledger, e.slot);
	cr_assert_eq(slot_claim(self.ledger, SLOT_LIVE, 0), (int)e.slot);
	self_become_child(&e);
	const struct slot *others = &self.ledger->slot[e.slot];
	cr_assert(others->credit == 0 && others->soft == 0);
	cr_assert(self.slot != e.slot && used_of(self.slot) == PAGES);
	cr_assert(self.ledger->slot[self.slot].credit == 0 && self.ledger->slot[self.slot].soft == SOFT);
}

/* A copy that nobody conceived, while the broker has the ledger that its parent has. */
Test(self, a_copy_is_charged_in_a_slot_of_its_own)
{
	child_make();
	const struct ledger *before = self.ledger;
	uint32_t parent = self.slot;
	self_become_child(NULL);
	cr_assert(self.state == SELF_MEMBER && self.ledger == before && self.slot != parent && !anew);
	cr_assert(used_of(self.slot) == PAGES && used_of(parent) == PAGES && ledger_used(joined) == 2 * PAGES + PAGES - CREDIT);
	cr_assert(blocked == 0 && held == 0);
	self_become_child(NULL);
	cr_assert(joins == 1 && used_of(self.slot) == PAGES, "it is no copy any more");
}

static void joined_slot_is_turned(void)
{
	cr_assert(slot_turn(joined, 0, SLOT_LIVE, SLOT_UNATTACHED));
}

/* The broker was started without the ledgers of the last. */
Test(self, a_copy_is_charged_in_the_ledger_that_it_is_given)
{
	child_make();
	const struct ledger *before = self.ledger;
	struct ledger *lost = joined;
	uint64_t used = ledger_used(lost);
	ledger_make("second");
	meanwhile = joined_slot_is_turned; /* it was too slow to map it, and joins again */
	self_become_child(NULL);
	cr_assert(self.state == SELF_MEMBER && joins == 2);
	cr_assert_str_eq(self.ledger->header.name, "second");
	cr_assert_eq(self.ledger, before, "who knows its address finds it there");
	cr_assert(ledger_used(joined) == PAGES && used_of(self.slot) == PAGES && ledger_used(lost) == used);
	cr_assert(anew && self.ledger->slot[self.slot].soft == SOFT);
}
