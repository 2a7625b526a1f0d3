/* SPDX-License-Identifier: MIT */
/* Births, deaths, and everything that can go wrong between the two. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/resource.h>
#include <sys/shm.h>

#include "tests/broker_fixture.h"

#include "daemon/births.h"
#include "daemon/orphans.h"
#include "reserve/transfer.h"

static void begin(void)
{
	broker_begin("pool { limit = 1G } account a { limit = 64M } account other { limit = 64M }");
}

TestSuite(registry, .timeout = 30, .init = begin);

enum { SAY_OK = 'y', SAY_NO = 'n' };

/* A child that joins account `name`, charges `pages`, says so on `line` and waits to be
 * killed; `act` is what it does in between. */
typedef bool act(struct peer_member *m, int line);

static pid_t member(const char *name, uint32_t pages, act *then, int *ret_line)
{
	int line[2];
	cr_assert(pipe(line) == 0);
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		bool ok = peer_join(door_name, name, &m) == 0 && peer_take(&m, pages) == REASON_NONE;
		char said = ok && (!then || then(&m, line[1])) ? SAY_OK : SAY_NO;
		if (write(line[1], &said, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(line[1]);
	cr_assert(turn_until_said(line[0]) == SAY_OK);
	*ret_line = line[0];
	return pid;
}

static bool everything_is_back(const char *name)
{
	return used(name) == 0 && account(name)->members == 0 && !account_unclean(account(name)) &&
	       !account(name)->damaged;
}

Test(registry, reaps_a_member_that_was_killed)
{
	int line;
	pid_t pid = member("a", 1000, NULL, &line);
	cr_assert(account("a")->members == 1 && used("a") >= 1000);
	end(pid);
	cr_assert(everything_is_back("a"));
}

static bool conceive_only(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	(void)line;
	return embryo_conceive(&g, 500, &e) == REASON_NONE;
}

/* As a request of another account hears it, which settles that one only. */
Test(registry, reaps_who_was_heard_to_die_and_not_settled)
{
	int line;
	end(member("a", 1000, NULL, &line)); /* empty, and to be looked through */
	pid_t pid = member("a", 1000, NULL, &line);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	registry_hear(&b);
	b.now_ns = b.slow_ns + 2 * NS_PER_S;
	broker_tick(&b);
	cr_assert(everything_is_back("a"));
}

/* The keeper, the reader of a new configuration: of all processes those two are nobody's. */
Test(registry, takes_no_child_of_its_own_for_a_lost_one)
{
	int line;
	pid_t own = fork_tied();
	if (own == 0)
		for (;;)
			pause();
	end(member("a", 1000, conceive_only, &line));
	cr_assert(everything_is_back("a"));
	end(own);
}

static pid_t grandchild(int line)
{
	pid_t pid = 0;
	cr_assert(read(line, &pid, sizeof pid) == sizeof pid);
	return pid;
}

static bool fork_one(struct peer_member *m, int line)
{
	pid_t pid = peer_fork(m);
	if (pid == 0) {
		untied_end_soon();
		for (;;)
			pause();
	}
	char said = SAY_OK;
	return pid > 0 && write(line, &said, 1) == 1 && write(line, &pid, sizeof pid) == sizeof pid;
}

Test(registry, finds_a_child_that_was_forked)
{
	int line;
	pid_t pid = member("a", 1000, fork_one, &line), child = grandchild(line);
	turn_for_ms(60);
	cr_assert(account("a")->members == 2 && registry_find(&b, account("a"), child));
	cr_assert(used("a") >= 2000);
	struct member *m = registry_find(&b, account("a"), child);
	const struct slot *slot = &account("a")->ledger->slot[member_slot(account("a"), m)];
	cr_assert(slot->start_ticks == m->start_ticks && slot->start_ticks > 0 && slot->uid == getuid());
	end(pid);
	cr_assert(account("a")->members == 1 && used("a") >= 1000);
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

/* The child lives on, its parent is gone before anybody looked. */
Test(registry, finds_a_child_whose_parent_is_gone)
{
	int line;
	pid_t pid = member("a", 1000, fork_one, &line), child = grandchild(line);
	end(pid);
	turn_until(account("a")->members == 1 && registry_find(&b, account("a"), child));
	cr_assert(used("a") == 1000);
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

/* One that lives for a moment is not asked who it is because somebody else has died. */
Test(registry, looks_for_the_newborn_when_it_is_time)
{
	int lines[2];
	pid_t other = member("a", 10, NULL, &lines[0]);
	b.tick_ns = clock_ns(CLOCK_MONOTONIC) + 100 * NS_PER_S;
	pid_t pid = member("a", 1000, fork_one, &lines[1]), child = grandchild(lines[1]);
	end(other);
	cr_assert(account("a")->members == 1 && !registry_find(&b, account("a"), child));
	b.tick_ns = 0;
	turn();
	cr_assert(account("a")->members == 2 && registry_find(&b, account("a"), child));
	b.tick_ns = clock_ns(CLOCK_MONOTONIC) + 100 * NS_PER_S;
	kill(child, SIGKILL);
	end(pid); /* nobody is left whom a tick would be for */
	b.tick_ns = 0;
	turn_until(everything_is_back("a"));
}

Test(registry, reaps_a_child_that_died_before_anybody_looked)
{
	int line;
	pid_t pid = member("a", 1000, fork_one, &line), child = grandchild(line);
	kill(child, SIGKILL); /* its parent does not wait for it */
	turn_for_ms(60);
	cr_assert(account("a")->members == 1 && used("a") < 2000);
	end(pid);
	cr_assert(everything_is_back("a"));
}

/* The embryo is buried, its parent does not know and gives it more, and is killed. */
static bool fund_a_free_slot(struct peer_member *m, int line)
{
	(void)line;
	return transfer_fund(m->ledger, m->slot, m->slot + 1, 50) && transfer_fund(m->ledger, m->slot, m->slot + 2, 50);
}

Test(registry, gives_back_what_strayed_into_empty_slots)
{
	int line, other_line;
	pid_t other = member("a", 10, NULL, &other_line), pid = member("a", 1000, fund_a_free_slot, &line);
	end(other);
	end(pid);
	cr_assert(everything_is_back("a"));
}

Test(registry, leaves_an_embryo_to_its_living_parent)
{
	int line;
	pid_t pid = member("a", 1000, conceive_only, &line);
	turn_for_ms(1200);
	cr_assert(used("a") >= 1500 && !account("a")->damaged);
	end(pid);
	cr_assert(everything_is_back("a"));
}

/* A child that its parent has not named adopts its slot, conceives in a lower one (slot 0,
 * when that is free), and is gone before anybody looked. */
static bool conceive_below(struct peer_member *m, int line)
{
	struct embryo e, below;
	struct gather g = peer_gather(m);
	char said = SAY_OK;
	int status;
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	pid_t pid = fork_tied();
	if (pid == 0) {
		while (SLOT_STATE(slot_read(m->ledger, 0)) != SLOT_FREE)
			pause_ms(1);
		g.slot = e.slot;
		_exit(!embryo_adopt(m->ledger, e, 400, getpid()) ||
		      embryo_conceive(&g, 100, &below) != REASON_NONE || below.slot > e.slot);
	}
	return write(line, &said, 1) == 1 && waitpid(pid, &status, 0) == pid && status == 0;
}

Test(registry, gives_back_the_embryo_of_a_child_nobody_knew)
{
	int line;
	char said;
	pid_t low = member("a", 10, NULL, &line), pid = member("a", 1000, conceive_below, &line);
	end(low);
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK);
	turn_for_ms(100);
	cr_assert(account("a")->members == 1 && used("a") < 1500 && !account("a")->damaged, "%u", used("a"));
	end(pid);
	cr_assert(everything_is_back("a"));
}

/* How many children may adopt their slots; shared with them. */
static volatile int *told;

static void wait_until_told(int n)
{
	while (*told < n)
		pause_ms(1);
}

/* A member whose children wait to be told. */
static pid_t parent(bool (*then)(struct peer_member *m, int line), int *ret_line)
{
	told = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(told != MAP_FAILED);
	return member("a", 1000, then, ret_line);
}

/* Born, but neither side has written its pid yet: the parent is killed in fork. */
static bool fork_in_silence(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	pid_t pid = fork_untied();
	if (pid == 0) {
		char said = SAY_OK;
		wait_until_told(1);
		bool adopted = embryo_adopt(m->ledger, e, 400, getpid());
		said = adopted ? SAY_OK : SAY_NO;
		if (write(line, &said, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	char said = SAY_OK;
	return write(line, &said, 1) == 1 && write(line, &pid, sizeof pid) == sizeof pid;
}

Test(registry, finds_the_child_of_a_parent_killed_inside_fork)
{
	int line;
	pid_t pid = parent(fork_in_silence, &line), child = grandchild(line);
	char said;
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK);
	end(pid);
	turn_until(account("a")->members == 1 && registry_find(&b, account("a"), child)->guessed);
	*told = 1;
	cr_assert(turn_until_said(line) == SAY_OK, "its slot was taken from it");
	turn_for_ms(60);
	cr_assert(account("a")->members == 1 && used("a") == 500 && !account("a")->damaged);
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

/* Removed from the configuration at the moment when its last member has died. */
Test(registry, keeps_an_account_for_the_child_of_a_member_not_settled_yet)
{
	int line;
	pid_t pid = parent(fork_in_silence, &line), child = grandchild(line);
	turn_for_ms(60); /* the embryo has been seen */
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	registry_hear(&b);
	cr_assert(broker_configure(&b, config_of("pool { limit = 1G } account other { limit = 64M }")) == 0);
	cr_assert(account("a"), "it has a member still");
	turn_until(account("a")->members == 1 && registry_find(&b, account("a"), child));
	kill(child, SIGKILL);
	turn_until(!account("a"));
}

/* execve in one thread while another forks: nobody rings for the child, which has adopted its
 * slot and is killed before it could. */
static bool execute_inside_fork(struct peer_member *m, int line)
{
	struct peer_member again;
	struct embryo e;
	struct gather g = peer_gather(m);
	(void)line;
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	pause_ms(60); /* the broker has seen the embryo */
	pid_t pid = fork_tied();
	if (pid == 0)
		_exit(slot_adopt(m->ledger, e.slot, e.generation, getpid()) ? 0 : 1);
	waitpid(pid, NULL, 0);
	return peer_join(m->socket, m->account, &again) == 0 && again.renewed;
}

Test(registry, finds_the_child_of_a_parent_that_called_execve_inside_fork)
{
	int line;
	pid_t pid = member("a", 1000, execute_inside_fork, &line);
	turn_for_ms(60);
	cr_assert(account("a")->members == 1 && used("a") < 1500);
	end(pid);
	cr_assert(!account("a")->damaged && everything_is_back("a"));
}

static uint32_t embryo_of(const struct account *a)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (SLOT_STATE(slot_read(a->ledger, s)) == SLOT_EMBRYO)
			return s;
	return LEDGER_SLOTS;
}

/* It was not found, its slot is to be reaped next, and now it adopts it. */
Test(registry, does_not_bury_a_child_that_adopts_at_the_last_moment)
{
	int line;
	pid_t pid = parent(fork_in_silence, &line), child = grandchild(line);
	struct account *a = account("a");
	uint32_t s = embryo_of(a);
	cr_assert(s < LEDGER_SLOTS);
	member_doom(&b, a, s, slot_read(a->ledger, s));
	*told = 1;
	while (SLOT_STATE(slot_read(a->ledger, s)) == SLOT_EMBRYO)
		pause_ms(1);
	turn_for_ms(60);
	cr_assert(registry_find(&b, a, child) == &a->member[s] && a->members == 2 && !a->damaged);
	cr_assert(PURSE_USED(a->ledger->slot[s].purse.word) == 400);
	end(pid);
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

/* A guess that was wrong gives way to who really is there. */
static bool fork_two_in_silence(struct peer_member *m, int line)
{
	struct embryo e[2];
	pid_t pid[2];
	struct gather g = peer_gather(m);
	for (int i = 0; i < 2; i++)
		if (embryo_conceive(&g, 500, &e[i]) != REASON_NONE)
			return false;
	for (int i = 0; i < 2; i++) {
		pid[i] = fork_untied();
		if (pid[i] == 0) {
			wait_until_told(1 + i);
			/* in the other order than they would be guessed in */
			char said = embryo_adopt(m->ledger, e[1 - i], 400, getpid()) ? SAY_OK : SAY_NO;
			if (write(line, &said, 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
	}
	char said = SAY_OK;
	return write(line, &said, 1) == 1 && write(line, pid, sizeof pid) == sizeof pid;
}

Test(registry, corrects_a_guess)
{
	int line;
	pid_t pid = parent(fork_two_in_silence, &line), child[2];
	char said;
	cr_assert(read(line, child, sizeof child) == sizeof child);
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK);
	end(pid);
	turn_until(account("a")->members == 2 && used("a") == 1000);
	*told = 1;
	cr_assert(turn_until_said(line) == SAY_OK);
	*told = 2;
	cr_assert(turn_until_said(line) == SAY_OK);
	turn_for_ms(100);
	cr_assert(account("a")->members == 2 && used("a") == 1000 && !account("a")->damaged);
	for (int i = 0; i < 2; i++) {
		struct member *m = registry_find(&b, account("a"), child[i]);
		uint32_t s = m ? member_slot(account("a"), m) : 0;
		cr_assert(m && account("a")->ledger->slot[s].pid == child[i]);
		kill(child[i], SIGKILL);
	}
	turn_until(everything_is_back("a"));
}

/* The process given to a slot dies; the one that really is in it has only just said so. */
Test(registry, does_not_bury_a_child_for_the_death_of_another)
{
	int line;
	pid_t pid = parent(fork_two_in_silence, &line), child[2];
	char said;
	cr_assert(read(line, child, sizeof child) == sizeof child);
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK);
	end(pid);
	turn_until(account("a")->members == 2 && registry_find(&b, account("a"), child[1]));
	*told = 1;
	struct member *m = registry_find(&b, account("a"), child[1]);
	uint32_t given = member_slot(account("a"), m);
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK, "the first child adopts");
	cr_assert(account("a")->ledger->slot[given].pid == child[0], "the slot the other was given");
	kill(child[1], SIGKILL);
	while (!pidfd_is_gone(m->pidfd))
		pause_ms(1);
	turn_for_ms(60);
	m = registry_find(&b, account("a"), child[0]);
	cr_assert(m && member_slot(account("a"), m) == given && account("a")->members == 1 && used("a") == 500);
	kill(child[0], SIGKILL);
	turn_until(everything_is_back("a"));
}

static bool claim_pid_1(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	(void)line;
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	return embryo_adopt(m->ledger, e, 500, 1);
}

Test(registry, does_not_believe_a_pid_that_is_not_there)
{
	int line;
	pid_t pid = member("a", 1000, claim_pid_1, &line);
	turn_for_ms(120);
	cr_assert(account("a")->members == 1 && !registry_find(&b, account("a"), 1));
	cr_assert(used("a") < 1500 && !account("a")->damaged);
	end(pid);
	cr_assert(everything_is_back("a"));
}

static bool claim_itself_twice(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	(void)line;
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	return embryo_adopt(m->ledger, e, 500, getpid());
}

Test(registry, takes_two_slots_of_one_process_for_damage)
{
	int line, second;
	pid_t other = member("other", 100, NULL, &second), pid = member("a", 1000, claim_itself_twice, &line);
	turn_for_ms(120);
	cr_assert(account("a")->damaged && !account("other")->damaged);
	end(pid);
	heal("a");
	cr_assert(everything_is_back("a"), "%d", account("a")->damage_pid);
	end(other);
	cr_assert(everything_is_back("other"));
}

Test(registry, reaps_everybody_at_once)
{
	enum { N = 60 };
	pid_t pid[N], child[N];
	int line;
	for (int i = 0; i < N; i++) {
		pid[i] = member("a", 10, fork_one, &line);
		child[i] = grandchild(line);
		close(line);
	}
	for (int i = 0; i < N; i++) {
		kill(child[i], SIGKILL);
		kill(pid[i], SIGKILL);
	}
	for (int i = 0; i < N; i++)
		waitpid(pid[i], NULL, 0);
	uint64_t from = clock_ns(CLOCK_MONOTONIC);
	while (!everything_is_back("a") && clock_ns(CLOCK_MONOTONIC) - from < 3 * NS_PER_S)
		turn();
	cr_assert(clock_ns(CLOCK_MONOTONIC) - from < 100 * NS_PER_MS);
	cr_assert(b.registry.members == 0 && b.registry.pidfds == 0);
}

/* A slot that holds all objects there can be, with all others. */
static void hold_everything(struct account *a, uint32_t s)
{
	struct ledger *l = a->ledger;
	l->header.object_top = LEDGER_OBJECTS;
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		l->object[o].state = OBJECT_WORD(0, 1, OBJECT_FILE);
		object_hold(l, o, s);
	}
}

Test(registry, deaths_that_take_long_are_settled_in_turns)
{
	enum { N = LEDGER_SLOTS };
	struct account *a = account("a");
	int turns = 0;
	for (uint32_t s = 0; s < N; s++) {
		cr_assert(slot_claim(a->ledger, SLOT_LIVE, 0) == (int)s);
		hold_everything(a, s);
	}
	for (uint32_t s = N; s-- > 0;) /* the last objects are seen to be held by looking at all bits */
		member_doom(&b, a, s, slot_read(a->ledger, s));
	for (; a->dying != 0; turns++) {
		uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		uint32_t before = 0, after = 0;
		for (uint32_t at = a->dying; at; at = a->member[at - 1].queue)
			before++;
		settle_account(&b, a, false);
		uint64_t took_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
		for (uint32_t at = a->dying; at; at = a->member[at - 1].queue)
			after++;
		cr_assert(took_ns < (before - after) * DEATH_NS + 4 * DEATHS_NS, "%llu us for %u",
			  (unsigned long long)took_ns / 1000, before - after);
		cr_assert(a->dying == 0 || broker_next_ns(&b) <= b.now_ns + TICK_NS);
	}
	cr_assert(turns > 1);
	cr_assert(!a->damaged && account_is_vacant(a));
}

/* A process that takes long to be looked at, of a number that there is not. */
static void slow_process_make(const char *root, int i)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%d", root, 5000000 + i);
	cr_assert(mkdir(path, 0700) == 0);
	snprintf(path, sizeof path, "%s/%d/stat", root, 5000000 + i);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	cr_assert(dprintf(fd, "1 (x) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0\n") > 0);
	close(fd);
	snprintf(path, sizeof path, "%s/%d/maps", root, 5000000 + i);
	fd = open(path, O_WRONLY | O_CREAT, 0600);
	cr_assert(ftruncate(fd, (off_t)1 << 32) == 0);
	close(fd);
}

Test(registry, looks_for_the_process_of_a_living_slot_in_steps)
{
	enum { N = 60 };
	char root[] = "/tmp/solvent-orphans-XXXXXX", command[64];
	struct account *a = account("a");
	int steps = 0;
	cr_assert(mkdtemp(root));
	for (int i = 0; i < N; i++)
		slow_process_make(root, i);
	cr_assert(proc_open(root) == 0);
	int s = slot_claim(a->ledger, SLOT_LIVE, 0);
	cr_assert(s >= 0);
	orphan_add(a, (uint32_t)s);
	for (; a->orphans > 0 && steps < N; steps++) {
		b.now_ns += NS_PER_S; /* there is attention again */
		uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
		orphans_place(&b, a);
		cr_assert(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns < 2 * ORPHANS_WALK_NS);
	}
	snprintf(command, sizeof command, "rm -rf %s", root);
	cr_assert(system(command) == 0);
	cr_assert(steps > 1 && a->orphans == 0 && a->dying == (uint32_t)s + 1, "%d steps, %u left", steps, a->orphans);
}

Test(registry, watches_without_a_descriptor_when_there_is_none_left)
{
	int line;
	b.registry.pidfds_most = b.registry.pidfds + 1; /* the child gets none */
	pid_t pid = member("a", 100, fork_one, &line), child = grandchild(line);
	turn_until(account("a")->polled == 1 && account("a")->members == 2);
	kill(child, SIGKILL);
	turn_until(account("a")->members == 1 && account("a")->polled == 0 && used("a") < 400);
	end(pid);
	cr_assert(everything_is_back("a"));
}

/* Not only for members: nothing can be opened. */
Test(registry, buries_nobody_because_no_descriptor_is_left)
{
	int line, next;
	struct rlimit files, none;
	pid_t pid = parent(fork_in_silence, &line), child = grandchild(line);
	char said;
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK);
	turn_for_ms(60);
	*told = 1;
	cr_assert(read(line, &said, 1) == 1 && said == SAY_OK, "it has adopted its slot");
	cr_assert(getrlimit(RLIMIT_NOFILE, &files) == 0 && (next = dup(line)) >= 0 && close(next) == 0);
	none = (struct rlimit){ (rlim_t)next, files.rlim_max };
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	for (int i = 0; i < 3; i++) {
		b.now_ns += 30 * NS_PER_MS;
		settle_account(&b, account("a"), false);
	}
	cr_assert(setrlimit(RLIMIT_NOFILE, &files) == 0);
	cr_assert(account("a")->members == 1 && account("a")->doubts == 1);
	turn_until(registry_find(&b, account("a"), child));
	cr_assert(used("a") >= 1400 && !account("a")->damaged);
	end(pid);
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

Test(registry, leaves_the_killer_its_descriptors)
{
	struct rlimit files;
	uint32_t most = b.registry.pidfds_most;
	cr_assert(getrlimit(RLIMIT_NOFILE, &files) == 0);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M } watch { }")) == 0);
	uint32_t killers = b.killer.census.fds_most;
	cr_assert(killers > 0 && b.registry.pidfds_most > 0 && b.registry.pidfds_most + killers < files.rlim_cur);
	cr_assert(b.registry.pidfds_most + killers == most);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M }")) == 0);
	cr_assert(b.registry.pidfds_most == most);
}

Test(registry, turns_joiners_away_when_no_descriptor_is_left)
{
	b.registry.pidfds_most = 0;
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		_exit(peer_join(door_name, "a", &m));
	}
	cr_assert(turn_until_exit(pid) == STATUS_FULL);
	cr_assert(b.turned_away == 1 && account("a")->turned_away == 1);
}

static bool make_object(struct peer_member *m, int line)
{
	int o = object_claim(m->ledger, m->slot);
	(void)line;
	if (o < 0 || !transfer_to_object(m->ledger, m->slot, (uint32_t)o, 0, 100))
		return false;
	object_publish(m->ledger, (uint32_t)o, OBJECT_ANON, 0, 0);
	return fork_one(m, line);
}

Test(registry, keeps_an_object_charged_until_its_last_holder_goes)
{
	int line;
	pid_t pid = member("a", 1000, make_object, &line), child = grandchild(line);
	turn_for_ms(60);
	end(pid);
	cr_assert(used("a") == 1000, "900 the child's, 100 the object's: %u", used("a"));
	kill(child, SIGKILL);
	turn_until(everything_is_back("a"));
}

static int segment;

static bool make_segment(struct peer_member *m, int line)
{
	(void)line;
	int o = object_claim(m->ledger, m->slot);
	if (o < 0 || !transfer_to_object(m->ledger, m->slot, (uint32_t)o, 0, 100))
		return false;
	object_publish(m->ledger, (uint32_t)o, OBJECT_SYSV, (uint64_t)segment, IPC_PRIVATE);
	return true;
}

Test(registry, keeps_a_segment_charged_until_it_is_removed)
{
	int line;
	segment = shmget(IPC_PRIVATE, 100 * PAGE_BYTES, IPC_CREAT | 0600);
	cr_assert(segment >= 0);
	pid_t pid = member("a", 1000, make_segment, &line);
	end(pid);
	turn_for_ms(1100);
	uint32_t left = used("a");
	bool damaged = account("a")->damaged;
	shmctl(segment, IPC_RMID, NULL);
	cr_assert(left == 100 && !damaged, "%u pages are charged", left);
	turn_for_ms(1100);
	cr_assert(everything_is_back("a"));
}

/* It is killed when it has made one, and has not said which. */
static bool make_segment_silently(struct peer_member *m, int line)
{
	(void)line;
	int o = object_claim(m->ledger, m->slot);
	return o >= 0 && transfer_to_object(m->ledger, m->slot, (uint32_t)o, 0, 100) &&
	       shmget(IPC_PRIVATE, 100 * PAGE_BYTES, IPC_CREAT | 0600) >= 0;
}

/* Of that size, which that process made. */
static int segment_made_by(pid_t pid)
{
	struct shmid_ds ds;
	for (int i = 0; i <= shmctl(0, SHM_INFO, &ds); i++) {
		int id = shmctl(i, SHM_STAT_ANY, &ds);
		if (id >= 0 && ds.shm_cpid == pid && ds.shm_segsz == 100 * PAGE_BYTES)
			return id;
	}
	return -1;
}

Test(registry, keeps_a_segment_charged_that_its_maker_had_not_named)
{
	int line;
	pid_t pid = member("a", 1000, make_segment_silently, &line);
	end(pid);
	turn_for_ms(1100);
	uint32_t left = used("a");
	segment = segment_made_by(pid);
	cr_assert(segment >= 0 && shmctl(segment, IPC_RMID, NULL) == 0);
	cr_assert_eq(left, 100, "%u pages are charged", left);
	turn_for_ms(1100);
	cr_assert(everything_is_back("a"));
}

/* A member in a pid namespace below the broker's: what it says of pids means nothing. */
static bool fork_abroad(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	pid_t pid = fork_untied();
	if (pid == 0) {
		struct request_adopt q = { .head = peer_head(OPCODE_ADOPT), .slot = e.slot, .generation = e.generation };
		struct reply_join r;
		strcpy(q.account, "a");
		__atomic_fetch_or(&m->ledger->slot[e.slot].flags, SLOT_FOREIGN_PID, __ATOMIC_RELAXED);
		bool ok = embryo_adopt(m->ledger, e, 400, 0) &&
			  peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL) == STATUS_OK && r.pid != getpid();
		char said = ok ? SAY_OK : SAY_NO;
		if (write(line, &said, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	embryo_born(m->ledger, m->slot, e, pid); /* a number of its own namespace */
	return m->pid != getpid();
}

/* As in a pid namespace of its own, where the number fork returns is not to be told. */
static bool fork_unnamed_and_dead(struct peer_member *m, int line)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	(void)line;
	if (embryo_conceive(&g, 500, &e) != REASON_NONE)
		return false;
	pid_t pid = fork_tied();
	if (pid == 0)
		_exit(0); /* before it adopts */
	embryo_born(m->ledger, m->slot, e, 0);
	return waitpid(pid, NULL, 0) == pid;
}

Test(registry, gives_back_the_embryo_of_a_child_that_never_said_who_it_was)
{
	int line;
	pid_t pid = member("a", 1000, fork_unnamed_and_dead, &line);
	turn_for_ms(1300);
	cr_assert(account("a")->members == 1 && used("a") < 1500 && !account("a")->damaged, "%u", used("a"));
	end(pid);
	cr_assert(everything_is_back("a"));
}

Test(registry, gives_it_back_with_its_parent)
{
	int line;
	pid_t pid = member("a", 1000, fork_unnamed_and_dead, &line);
	turn_for_ms(60);
	cr_assert(used("a") >= 1500);
	end(pid);
	cr_assert(everything_is_back("a"));
}

Test(registry, knows_members_of_other_pid_namespaces)
{
	if (getuid() != 0)
		cr_skip_test("only root may make a pid namespace");
	int line[2];
	cr_assert(pipe(line) == 0);
	pid_t outside = fork_tied();
	if (outside == 0) {
		if (unshare(CLONE_NEWPID) != 0)
			_exit(1);
		pid_t inside = fork_tied();
		if (inside == 0) {
			struct peer_member m;
			bool ok = peer_join(door_name, "a", &m) == 0 && peer_take(&m, 1000) == REASON_NONE &&
				  fork_abroad(&m, line[1]);
			char said = ok ? SAY_OK : SAY_NO;
			if (write(line[1], &said, 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		int status;
		waitpid(inside, &status, 0);
		_exit(0);
	}
	cr_assert(turn_until_said(line[0]) == SAY_OK);
	cr_assert(turn_until_said(line[0]) == SAY_OK);
	turn_for_ms(1300);
	cr_assert(account("a")->members == 2 && !account("a")->damaged, "%u", account("a")->members);
	cr_assert(used("a") >= 1500);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) /* the first in the namespace takes all with it */
		if (account("a")->member[s].life == MEMBER_WATCHED)
			kill(account("a")->member[s].pid, SIGKILL);
	turn_for_ms(100);
	cr_assert(everything_is_back("a"));
	cr_assert(turn_until_exit(outside) == 0);
}
