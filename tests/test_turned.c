/* SPDX-License-Identifier: MIT */
/* A member that called execve, joins again, and maps the ledger so late that the broker is about to
 * take it for a program without a shim: what it does at any moment of that. The member is a process
 * of its own; at each stop of daemon/unattached.c it has a turn, and at a crash point the broker may end. */
#include <setjmp.h>
#include <string.h>
#include <sys/prctl.h>

#include "daemon/settle.h"
#include "reserve/embryo.h"
#include "reserve/ledger.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"

static int stops;		 /* until the member has its turn; 0: never */
static void (*at_stop)(void);
static const char *crash_at; /* the broker's end; NULL: none */
static jmp_buf crash_to;

static void stop(void)
{
	if (stops != 0 && --stops == 0)
		at_stop();
}

static void crash_point(const char *name)
{
	if (crash_at && strcmp(crash_at, name) == 0)
		longjmp(crash_to, 1);
}

#define CRASH_POINT(name) crash_point(#name)
#define slot_turn(l, s, from, to) (stop(), slot_turn(l, s, from, to))
#define settle_exec(b_, a, s) (stop(), settle_exec(b_, a, s))
#define unattached_tick turned_tick
#define unattached_next_ns turned_next_ns
#define unattached_hear turned_hear
#define unattached_turn turned_turn
#define unattached_resume turned_resume
void turned_tick(struct broker *);
uint64_t turned_next_ns(const struct broker *);
void turned_hear(struct broker *, int connector);
bool turned_turn(struct broker *, struct account *, uint32_t s);
bool turned_resume(struct broker *, struct account *, uint32_t s);
#include "daemon/unattached.c"

#include "tests/broker_next.h"

#define CONFIG "account a { limit = 1G guarantee = 64M }"

enum { PAGES = 100, MORE = 50, SHARED = 20 };

static void setup(void)
{
	broker_begin(CONFIG);
}

TestSuite(turned, .init = setup, .timeout = 30);

/* --- the member --- */

static int orders[2], answers[2];
static pid_t pid;

/* What it was in the middle of when it maps the ledger in time: a transfer that was debited and not
 * credited, and an object that it holds. */
static void debit(struct ledger *l, uint32_t s)
{
	struct slot *me = &l->slot[s];
	int o = object_claim(l, s);
	purse_take(&me->purse, SHARED);
	transfer_to_object(l, s, (uint32_t)o, 0, SHARED);
	object_publish(l, (uint32_t)o, OBJECT_FILE, 1, 2);
	me->step += 2;
	me->intent_step = me->step - 1;
	me->intent_pages = MORE;
	me->intent_target = s;
	me->intent_op = INTENT_FUND;
	purse_transfer(&l->header.purse, (struct purse_change){ 0, MORE }, SIGNATURE(s, me->intent_step), l);
}

static void credit(struct ledger *l, uint32_t s)
{
	struct slot *me = &l->slot[s];
	purse_transfer(&me->purse, (struct purse_change){ MORE, 0 }, SIGNATURE(s, me->intent_step + 1), l);
	me->intent_op = INTENT_NONE;
}

static void told(char what)
{
	char order;
	if (read(orders[0], &order, 1) != 1 || order != what)
		_exit(1);
}

static void say(char what)
{
	if (write(answers[1], &what, 1) != 1)
		_exit(1);
}

/* Joins; and again without mapping the ledger; maps it, and sees whether it is in time; goes on. */
static void live(bool forks) __attribute__((noreturn));
static void live(bool forks)
{
	struct request_join q = { .head = peer_head(OPCODE_JOIN), .account = "a" };
	struct reply_join r;
	struct peer_member m;
	struct ledger *l;
	struct embryo e;
	int fd = -1;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (peer_join(door_name, "a", &m) != 0 || peer_take(&m, PAGES) != REASON_NONE)
		_exit(1);
	struct gather g = peer_gather(&m);
	if (forks) { /* execve in the middle of it, and of the rest */
		embryo_conceive(&g, PAGES, &e);
		debit(m.ledger, m.slot);
	}
	ledger_unmap(m.ledger);
	say('+');
	told('j');
	if (!forks && (peer_question(door_name, &q, sizeof q, &r, sizeof r, &fd) != 0 || !r.renewed))
		_exit(1);
	say('+');
	told('m');
	ledger_map(fd, true, &l);
	bool late = SLOT_STATE(slot_read(l, r.slot)) != SLOT_LIVE;
	if (late)
		ledger_unmap(l);
	else
		debit(l, r.slot);
	say(late ? 'l' : '+');
	told('c');
	if (late && peer_join(door_name, "a", &m) != 0)
		_exit(1);
	if (!late)
		credit(l, r.slot);
	say('+');
	for (;;)
		pause();
}

static char order(char what)
{
	char answer;
	cr_assert(write(orders[1], &what, 1) == 1 && read(answers[0], &answer, 1) == 1);
	return answer;
}

static char answered; /* 'l': it was late */

static void it_maps(void)
{
	answered = order('m');
}

/* One that has left, and joins again if it does not fork; its slot. */
static uint32_t member_make(bool forks)
{
	cr_assert(pipe(orders) == 0 && pipe(answers) == 0);
	pid = fork();
	if (pid == 0)
		live(forks);
	cr_assert(turn_until_said(answers[0]) == '+');
	cr_assert(write(orders[1], "j", 1) == 1 && turn_until_said(answers[0]) == '+');
	answered = 0;
	return member_slot(account("a"), registry_find(&b, account("a"), pid));
}

/* It has had its time, and more; the broker acts on it. */
static void broker_acts(uint32_t s, int stop_n)
{
	struct account *a = account("a");
	at_stop = it_maps;
	for (int i = 0; i < 2; i++) {
		stops = i == 1 ? stop_n : 0;
		a->maps_next_ns = 0;
		cr_assert(turned_turn(&b, a, s));
		b.now_ns += 2 * UNATTACHED_GRACE_NS;
	}
}

/* What the account's purse says its slots and objects hold, less what they do hold. */
static int64_t in_flight(const struct ledger *l)
{
	int64_t sum = PURSE_USED(purse_read(&l->header.purse));
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		sum -= PURSE_GRANTED(purse_read(&l->slot[s].purse));
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		sum -= PURSE_GRANTED(purse_read(&l->object[o].purse));
	return sum;
}

/* --- the tests --- */

Test(turned, who_maps_before_its_slot_is_turned_goes_on_with_what_it_was_doing)
{
	uint32_t s = member_make(false);
	struct account *a = account("a");
	broker_acts(s, 1);
	cr_assert(answered == '+' && !a->member[s].unattached && SLOT_STATE(slot_read(a->ledger, s)) == SLOT_LIVE);
	cr_assert_eq(in_flight(a->ledger), MORE);
	cr_assert(order('c') == '+');
	cr_assert_eq(in_flight(a->ledger), 0);
	cr_assert_eq(PURSE_USED(purse_read(&a->ledger->slot[s].purse)), PAGES);
	cr_assert(object_is_held_by(a->ledger, 0, s) && !a->damaged);
	turn_for_ms(50);
	cr_assert(in_flight(a->ledger) == 0 && a->members == 1 && !a->damaged);
	end(pid);
	cr_assert(used("a") == 0 && !a->damaged);
}

Test(turned, who_maps_after_it_was_looked_at_again_is_late)
{
	uint32_t s = member_make(false);
	struct account *a = account("a");
	broker_acts(s, 2);
	cr_assert(answered == 'l' && a->member[s].unattached && SLOT_STATE(slot_read(a->ledger, s)) == SLOT_UNATTACHED);
	cr_assert(in_flight(a->ledger) == 0 && !a->damaged);
	cr_assert(write(orders[1], "c", 1) == 1 && turn_until_said(answers[0]) == '+');
	cr_assert(!a->member[s].unattached && SLOT_STATE(slot_read(a->ledger, s)) == SLOT_LIVE);
	cr_assert(in_flight(a->ledger) == 0 && !a->damaged);
	end(pid);
	cr_assert(used("a") == 0 && !a->damaged);
}

/* --- the broker is killed when it has turned the slot --- */

static struct account *account_taken_over(void)
{
	ledgers_leave();
	take_over(CONFIG);
	return broker_find(&next, "a");
}

static void broker_dies(uint32_t s, int stop_n)
{
	crash_at = "UNATTACHED_TURNED";
	if (setjmp(crash_to) == 0) {
		broker_acts(s, stop_n);
		cr_assert_fail("it comes by there");
	}
	crash_at = NULL;
}

Test(turned, the_next_broker_sees_that_it_is_attached)
{
	uint32_t s = member_make(false);
	broker_dies(s, 1);
	cr_assert_eq(answered, '+');
	struct account *a = account_taken_over();
	cr_assert(a->member[s].life == MEMBER_WATCHED && !a->member[s].unattached);
	cr_assert_eq(SLOT_STATE(slot_read(a->ledger, s)), SLOT_LIVE);
	cr_assert(order('c') == '+');
	cr_assert(in_flight(a->ledger) == 0 && object_is_held_by(a->ledger, 0, s));
	cr_assert_eq(PURSE_USED(purse_read(&a->ledger->slot[s].purse)), PAGES);
	next_turns_ms(50);
	cr_assert(in_flight(a->ledger) == 0 && a->members == 1 && !a->damaged);
}

Test(turned, the_next_broker_settles_what_it_left_open)
{
	uint32_t s = member_make(true), e = embryo_next(account("a")->ledger, s, 0);
	cr_assert(e < LEDGER_SLOTS && in_flight(account("a")->ledger) == MORE);
	broker_dies(s, 0);
	struct account *a = account_taken_over();
	cr_assert(a->member[s].life == MEMBER_WATCHED && a->member[s].unattached);
	cr_assert_eq(a->ledger->slot[s].flags & SLOT_TURNED, 0);
	until(SLOT_STATE(slot_read(a->ledger, e)) == SLOT_FREE, next_turns_ms);
	cr_assert(in_flight(a->ledger) == 0 && !object_is_held(a->ledger, 0) && !a->damaged);
	cr_assert(PURSE_USED(purse_read(&a->ledger->slot[s].purse)) >= PAGES - SHARED);
}
