/* SPDX-License-Identifier: MIT */
/* What came past the doors: memory that a member never charged, processes that never joined,
 * programs without a shim. Found, charged, shown, and given back. */
#include <pthread.h>
#include <sys/mman.h>

#include "tests/broker_fixture.h"

#include "cli/smaps.h"
#include "daemon/audit.h"
#include "daemon/unseen.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"

enum { MORE = 1000 };

static void begin(const char *config)
{
	broker_begin(config);
	b.audit_ns = b.unattached.next_ns = 0;
}

static void setup(void)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("the sanitizer's own memory is unseen, too");
#endif
	begin("pool { limit = 4G } account \"a\" { limit = 2G } account \"b\" { limit = 1G guarantee = 64M }");
}

TestSuite(unseen, .init = setup, .timeout = 40);

/* --- a member that does as it is told --- */

struct puppet {
	pid_t pid;
	int to, from;
};

static char *mapping;
static struct peer_member self;

/* Takes every sibling's slack, again and again. */
static void sweep(void) __attribute__((noreturn));
static void sweep(void)
{
	for (uint32_t s = 0;; s = (s + 1) % ledger_slots(self.ledger))
		if (s != self.slot)
			transfer_return(self.ledger, self.slot, s, PAGES_MAX);
}

static void *live_on(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void wait_for_the_end(void) __attribute__((noreturn));
static void wait_for_the_end(void)
{
	for (;;)
		pause();
}

static void obey(char order, int from)
{
	pid_t child = 0;
	switch (order) {
	case 'm': /* past the doors: there are none here */
		mapping = mmap(NULL, MORE * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		break;
	case 'r':
		mprotect(mapping, MORE * PAGE_BYTES, PROT_READ);
		break;
	case 'u':
		munmap(mapping, MORE * PAGE_BYTES);
		break;
	case 'f': /* a child without a slot */
		child = fork_untied();
		if (child == 0)
			wait_for_the_end();
		break;
	case 'v': /* one in its parent's memory, which waits for it */
		child = vfork();
		if (child == 0) {
			tie_to(getppid());
			wait_for_the_end();
		}
		break;
	case 'z': /* the first thread ends before another */
		pthread_create(&(pthread_t){ 0 }, NULL, live_on, NULL);
		if (write(from, &child, sizeof child) != sizeof child)
			_exit(1);
		pthread_exit(NULL);
	case 's':
		if (write(from, &child, sizeof child) != sizeof child)
			_exit(1);
		sweep();
	case 'x':
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(1);
	}
	if (write(from, &child, sizeof child) != sizeof child)
		_exit(1);
}

static struct puppet puppet_make(const char *account_name)
{
	int to[2], from[2];
	char order;
	cr_assert(pipe(to) == 0 && pipe(from) == 0);
	struct puppet p = { .pid = fork_tied(), .to = to[1], .from = from[0] };
	if (p.pid == 0) {
		if (peer_join(door_name, account_name, &self) != 0 || peer_take(&self, 100) != REASON_NONE)
			_exit(1);
		self.ledger->slot[self.slot].soft = 0; /* nothing is covered but by the charge */
		obey(0, from[1]);
		while (read(to[0], &order, 1) == 1)
			obey(order, from[1]);
		_exit(0);
	}
	turn_until_said(p.from);
	cr_assert(read(p.from, &(char[3]){ 0 }, 3) == 3);
	return p;
}

/* What it answers: the child it made. */
static pid_t order(const struct puppet *p, char what)
{
	pid_t child = 0;
	cr_assert(write(p->to, &what, 1) == 1 && read(p->from, &child, sizeof child) == sizeof child);
	return child;
}

static uint64_t kernel_of(pid_t pid)
{
	uint64_t pages = 0;
	cr_assert(smaps_of(pid, &pages) == 0);
	return pages;
}

static struct member *member_of(const char *name, pid_t pid)
{
	return registry_find(&b, account(name), pid);
}

/* Its charge, by its own purse and by us. */
static uint64_t charge_of(const char *name, pid_t pid)
{
	struct member *m = member_of(name, pid);
	struct account *a = account(name);
	if (!m)
		return 0;
	return m->unseen + (m->unattached ? 0 : PURSE_USED(purse_read(&a->ledger->slot[member_slot(a, m)].purse)));
}

/* Its turn has come. */
static void count_now(pid_t pid)
{
	struct member *m = member_of("a", pid);
	b.counting_ns = AUDIT_COUNT_NS;
	m->count_ns = 0;
	audit_slot(&b, account("a"), member_slot(account("a"), m));
}

/* Turns until the charge is the kernel's count, 5 s at most. */
static bool becomes_exact(const char *name, pid_t pid)
{
	for (int i = 0; i < 500 && charge_of(name, pid) != kernel_of(pid); i++)
		turn_for_ms(10);
	return charge_of(name, pid) == kernel_of(pid);
}

static bool becomes_unattached(const char *name, pid_t pid)
{
	struct member *m = NULL;
	for (int i = 0; i < 500 && !((m = member_of(name, pid)) && m->unattached); i++)
		turn_for_ms(10);
	return m && m->unattached;
}

static void is_back(const char *name)
{
	turn_for_ms(50);
	cr_assert(used(name) == 0 && account(name)->unseen == 0 && account(name)->drift == 0 &&
		  !account(name)->damaged, "%s: %u used, %u unseen, %u drift", name, used(name), account(name)->unseen,
		  account(name)->drift);
	turn_for_ms(1100); /* its books are looked through */
	cr_assert(!account(name)->damaged && !account_unclean(account(name)));
}

/* --- the tests --- */

Test(unseen, is_nobodys_slack_at_any_moment)
{
	struct puppet p = puppet_make("a"), sweeper = puppet_make("a");
	struct account *a = account("a");
	uint32_t s = member_slot(a, member_of("a", p.pid));
	order(&sweeper, 's');
	for (uint32_t i = 0; i < 30000 && !a->damaged; i++)
		unseen_set(&b, a, s, i % 2 ? 1000 : 10);
	cr_assert(!a->damaged && a->member[s].unseen == 1000);
	end(p.pid);
	end(sweeper.pid);
	is_back("a");
}

Test(unseen, slack_is_charged_while_a_sibling_takes_it)
{
	struct puppet sweeper = puppet_make("a");
	struct account *a = account("a");
	order(&sweeper, 's');
	for (uint32_t i = 0; i < 30000; i++) {
		uint32_t s = (uint32_t)registry_claim(&b, a, SLOT_UNATTACHED);
		transfer_fund(a->ledger, s, s, 100);
		unseen_take_over(a, s);
		cr_assert(unseen_is_sound(a, s), "round %u", i);
		unseen_forget(&b, a, s);
		a->member[s].unattached = false;
		member_reap(a->ledger, s);
	}
	end(sweeper.pid);
	is_back("a");
}

Test(unseen, is_charged_to_the_page_and_given_back)
{
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid));
	uint64_t before = charge_of("a", p.pid);
	order(&p, 'm');
	cr_assert(becomes_exact("a", p.pid) && charge_of("a", p.pid) == before + MORE);
	cr_assert(used("a") >= before + MORE);
	order(&p, 'u');
	cr_assert(becomes_exact("a", p.pid) && charge_of("a", p.pid) == before);
	cr_assert(used("b") == 0);
	end(p.pid);
	is_back("a");
}

/* The loader maps a library, which is refused and closed again: one count may fall between. */
Test(unseen, what_is_there_at_one_count_only_is_not_charged)
{
	audit_stop(&b);
	struct puppet p = puppet_make("a");
	count_now(p.pid);
	count_now(p.pid);
	uint64_t before = charge_of("a", p.pid);
	cr_assert_eq(before, kernel_of(p.pid));
	order(&p, 'm');
	count_now(p.pid);
	cr_assert_eq(charge_of("a", p.pid), before);
	order(&p, 'u');
	count_now(p.pid);
	cr_assert_eq(charge_of("a", p.pid), before);
	order(&p, 'm');
	count_now(p.pid);
	count_now(p.pid);
	cr_assert_eq(charge_of("a", p.pid), before + MORE);
	end(p.pid);
	is_back("a");
}

Test(unseen, of_two_members_is_kept_apart)
{
	struct puppet p = puppet_make("a"), q = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid) && becomes_exact("a", q.pid));
	uint64_t q_before = charge_of("a", q.pid);
	order(&p, 'm');
	cr_assert(becomes_exact("a", p.pid) && charge_of("a", q.pid) == q_before);
	end(p.pid);
	turn_for_ms(300);
	cr_assert(charge_of("a", q.pid) == q_before && account("a")->unseen == member_of("a", q.pid)->unseen);
	end(q.pid);
	is_back("a");
}

Test(unseen, that_cannot_be_paid_is_drift_until_it_can)
{
	cr_assert(broker_configure(&b, config_of("pool { limit = 4G } account \"a\" { limit = 600K }")) == 0);
	struct puppet p = puppet_make("a");
	for (int i = 0; i < 500 && account("a")->drift == 0; i++)
		turn_for_ms(10);
	uint32_t drift = account("a")->drift;
	cr_assert(drift > 0 && used("a") == 150, "%u drift, %u used", drift, used("a"));
	cr_assert(charge_of("a", p.pid) + drift == kernel_of(p.pid));
	cr_assert(account("a")->ledger->header.drift == drift);
	cr_assert(broker_configure(&b, config_of("pool { limit = 4G } account \"a\" { limit = 1G }")) == 0);
	cr_assert(becomes_exact("a", p.pid) && account("a")->drift == 0);
	end(p.pid);
	is_back("a");
}

Test(unseen, is_found_once_and_not_for_what_only_changes_its_protection)
{
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid));
	order(&p, 'm');
	cr_assert(becomes_exact("a", p.pid));
	order(&p, 'r'); /* untouched: the kernel gives it back */
	cr_assert(becomes_exact("a", p.pid));
	uint64_t counts = account("a")->ledger->header.counts;
	turn_for_ms(1500);
	cr_assert(account("a")->ledger->header.counts == counts, "it is counted over and over");
	end(p.pid);
	is_back("a");
}

Test(unseen, a_child_that_never_joins_is_counted)
{
	struct puppet p = puppet_make("a");
	order(&p, 'm');
	pid_t child = order(&p, 'f');
	cr_assert(becomes_unattached("a", child));
	cr_assert(becomes_exact("a", child) && charge_of("a", child) > MORE);
	uint32_t s = member_slot(account("a"), member_of("a", child));
	cr_assert(SLOT_STATE(slot_read(account("a")->ledger, s)) == SLOT_UNATTACHED);
	end(p.pid); /* it is known by itself now */
	turn_for_ms(600);
	cr_assert(becomes_exact("a", child));
	end(child);
	is_back("a");
}

Test(unseen, a_child_in_its_parents_memory_is_not_counted_twice)
{
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid));
	char what = 'v';
	cr_assert(write(p.to, &what, 1) == 1);
	turn_for_ms(1500);
	cr_assert(account("a")->members == 1 && becomes_exact("a", p.pid));
	end(p.pid);
	turn_for_ms(50);
	cr_assert(used("a") == 0);
}

static uint32_t newcomers(void)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < UNATTACHED_NEWCOMERS; i++)
		n += b.unattached.newcomer[i].pid != 0;
	return n;
}

/* Places are few, and it may stay in its parent's memory for ever. */
Test(unseen, a_child_in_its_parents_memory_does_not_keep_a_newcomers_place)
{
	struct puppet p = puppet_make("a");
	char what = 'v';
	cr_assert(write(p.to, &what, 1) == 1);
	turn_until(newcomers() == 1);
	turn_until(newcomers() == 0);
	cr_assert(account("a")->members == 1);
	end(p.pid);
}

Test(unseen, what_is_kept_open_leaves_room_for_who_joins)
{
	b.registry.pidfds_most = 2;
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid));
	audit_slot(&b, account("a"), member_slot(account("a"), member_of("a", p.pid)));
	cr_assert(member_of("a", p.pid)->statm < 0 && registry_has_room(&b.registry));
	b.registry.pidfds_most = 4;
	audit_slot(&b, account("a"), member_slot(account("a"), member_of("a", p.pid)));
	cr_assert(member_of("a", p.pid)->statm >= 0);
	end(p.pid);
	is_back("a");
}

/* A member of another user than the broker, which is no root; and as if by a set-uid bit, it
 * becomes root when it is told. */
static void live_as_another(int orders, int answers) __attribute__((noreturn));
static void live_as_another(int orders, int answers)
{
	struct peer_member m;
	char said = '+', order;
	untied_end_soon(); /* it changes its user */
	if (setresuid(1, 1, 0) != 0 || peer_join(door_name, "a", &m) != 0 || write(answers, &said, 1) != 1)
		_exit(1);
	while (read(orders, &order, 1) == 1 && setresuid(0, 0, 0) == 0 && write(answers, &said, 1) == 1)
		;
	_exit(1);
}

static bool turns_for_another(uid_t uid, struct member *m)
{
	cr_assert(seteuid(uid) == 0);
	bool left = unattached_turn(&b, account("a"), member_slot(account("a"), m));
	cr_assert(seteuid(0) == 0);
	return left;
}

Test(unseen, a_member_of_a_user_we_may_not_ask_has_left_only_when_it_has_changed_him)
{
	int orders[2], answers[2];
	if (getuid() != 0)
		cr_skip_test("only root may be everybody");
	cr_assert(broker_configure(&b, config_of("account \"a\" { limit = 1G users = {\"*\"} }")) == 0);
	b.uid = 65534;
	audit_stop(&b);
	cr_assert(pipe(orders) == 0 && pipe(answers) == 0);
	pid_t pid = fork_tied();
	if (pid == 0)
		live_as_another(orders[0], answers[1]);
	cr_assert(turn_until_said(answers[0]) == '+');
	struct member *m = member_of("a", pid);
	cr_assert(m && !turns_for_another(65534, m), "it is what it was");
	cr_assert(write(orders[1], "r", 1) == 1 && turn_until_said(answers[0]) == '+');
	cr_assert(turns_for_another(65534, m), "it is another's now");
	end(pid);
}

Test(unseen, a_member_that_becomes_a_program_without_a_shim_is_counted)
{
	struct puppet p = puppet_make("a");
	order(&p, 'm');
	cr_assert(becomes_exact("a", p.pid));
	char what = 'x';
	cr_assert(write(p.to, &what, 1) == 1);
	cr_assert(becomes_unattached("a", p.pid) && becomes_exact("a", p.pid));
	cr_assert(charge_of("a", p.pid) < MORE);
	uint32_t s = member_slot(account("a"), member_of("a", p.pid));
	cr_assert_str_eq(account("a")->ledger->slot[s].comm, "sleep");
	end(p.pid);
	is_back("a");
}

Test(unseen, a_process_without_its_first_thread_is_still_attached)
{
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid));
	order(&p, 'z');
	turn_for_ms(1500);
	cr_assert(member_of("a", p.pid) && !member_of("a", p.pid)->unattached);
	end(p.pid);
	is_back("a");
}

/* From execve to its join it took nearly too long, and now it takes a while to map the ledger. */
static void leave_and_join(int orders, int answers) __attribute__((noreturn));
static void leave_and_join(int orders, int answers)
{
	struct request_join q = { .head = peer_head(OPCODE_JOIN), .account = "a" };
	struct reply_join r;
	struct peer_member m;
	char said = '+', order;
	if (peer_join(door_name, "a", &m) != 0)
		_exit(1);
	m.ledger->slot[m.slot].soft = 0;
	ledger_unmap(m.ledger);
	if (write(answers, &said, 1) != 1 || read(orders, &order, 1) != 1)
		_exit(2);
	said = peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL) == 0 && r.renewed ? '+' : '-';
	for (; write(answers, &said, 1) == 1;)
		pause();
	_exit(3);
}

Test(unseen, a_member_that_has_just_joined_again_is_not_taken_for_one_that_never_will)
{
	int orders[2], answers[2];
	cr_assert(pipe(orders) == 0 && pipe(answers) == 0);
	pid_t pid = fork_tied();
	if (pid == 0)
		leave_and_join(orders[0], answers[1]);
	cr_assert(turn_until_said(answers[0]) == '+');
	struct member *m = member_of("a", pid);
	uint32_t s = member_slot(account("a"), m);
	m->counted = m->has_left = false;
	count_now(pid);
	cr_assert(m->has_left);
	cr_assert(write(orders[1], "j", 1) == 1);
	cr_assert(turn_until_said(answers[0]) == '+');
	b.now_ns += 2 * UNATTACHED_GRACE_NS;
	audit_slot(&b, account("a"), s);
	cr_assert(!m->unattached);
	cr_assert(becomes_unattached("a", pid), "it never maps it");
	end(pid);
	is_back("a");
}

Test(unseen, joins_after_all)
{
	struct puppet p = puppet_make("a");
	int line[2];
	cr_assert(pipe(line) == 0);
	/* A child that takes its time. */
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		if (peer_join(door_name, "a", &m) != 0)
			_exit(1);
		m.ledger->slot[m.slot].soft = 0;
		pid_t child = fork_tied();
		if (child == 0) {
			struct peer_member n;
			sleep(2);
			char said = peer_join(door_name, "a", &n) == 0 && n.renewed ? '+' : '-';
			n.ledger->slot[n.slot].soft = 0;
			for (; write(line[1], &said, 1) == 1;)
				pause();
		}
		for (;;)
			pause();
	}
	cr_assert(turn_until_said(line[0]) == '+');
	cr_assert(account("a")->members == 3 && !account("a")->damaged);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		cr_assert(!account("a")->member[s].unattached);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (account("a")->member[s].life == MEMBER_WATCHED)
			cr_assert(becomes_exact("a", account("a")->member[s].pid));
	kill(p.pid, SIGKILL);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (account("a")->member[s].life == MEMBER_WATCHED)
			kill(account("a")->member[s].pid, SIGKILL);
	while (account("a")->members > 0)
		turn_for_ms(10);
	is_back("a");
}

/* What a parent gave an embryo that was buried (reserve/gather.c). */
static void stray(const struct puppet *p, uint32_t into)
{
	struct account *a = account("a");
	cr_assert(transfer_fund(a->ledger, member_slot(a, member_of("a", p->pid)), into, 50));
}

Test(unseen, what_strayed_to_where_we_charge_is_no_damage)
{
	audit_stop(&b);
	struct puppet p = puppet_make("a");
	struct account *a = account("a");
	cr_assert(a->unseen_slot == 0, "it is claimed already");
	stray(&p, a->ledger->header.slot_hint); /* before it is ours */
	b.audit_ns = b.unattached.next_ns = 0;
	cr_assert(becomes_exact("a", p.pid) && a->unseen_slot != 0);
	cr_assert(PURSE_GRANTED(purse_read(&a->ledger->slot[a->unseen_slot - 1].purse)) == a->unseen + 50);
	order(&p, 'm');
	cr_assert(becomes_exact("a", p.pid) && !a->damaged);
	stray(&p, a->unseen_slot - 1); /* and after */
	order(&p, 'u');
	cr_assert(becomes_exact("a", p.pid) && !a->damaged);
	stray(&p, a->unseen_slot - 1);
	end(p.pid);
	is_back("a");
}

Test(unseen, what_strayed_to_an_unattached_process_is_no_damage)
{
	struct puppet p = puppet_make("a");
	struct account *a = account("a");
	pid_t child = order(&p, 'f');
	cr_assert(becomes_unattached("a", child));
	uint32_t s = member_slot(a, member_of("a", child));
	stray(&p, s);
	unseen_set(&b, a, s, a->member[s].unseen + 10);
	cr_assert(!a->damaged && becomes_exact("a", child));
	end(p.pid);
	end(child);
	is_back("a");
}

Test(unseen, our_own_charges_are_watched)
{
	struct puppet p = puppet_make("a");
	cr_assert(becomes_exact("a", p.pid) && account("a")->unseen > 0);
	struct ledger *l = account("a")->ledger;
	__atomic_fetch_sub(&l->slot[account("a")->unseen_slot - 1].purse.word, 1, __ATOMIC_RELAXED);
	order(&p, 'm');
	for (int i = 0; i < 300 && !account("a")->damaged; i++)
		turn_for_ms(10);
	cr_assert(account("a")->damaged && !account("b")->damaged);
	end(p.pid);
	while (account("a")->damaged)
		turn_for_ms(10);
	is_back("a");
}
