/* SPDX-License-Identifier: MIT */
/* A fork on credit that was stopped goes on when nobody looks after it any more. */
#include <sys/prctl.h>

#include "tests/broker_fixture.h"

#include "daemon/credit.h"
#include "daemon/damage.h"
#include "daemon/frozen.h"

TestSuite(credit, .timeout = 30);

/* A member that waits to be killed. */
static struct member *member_make(pid_t *ret_pid)
{
	struct peer_member peer;
	int line[2];
	cr_assert(pipe(line) == 0);
	pid_t pid = fork_tied();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
		bool joined = peer_join(door_name, "a", &peer) == 0;
		_exit(!joined || write(line[1], "x", 1) != 1 || pause());
	}
	turn_until_said(line[0]);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		struct member *m = &account("a")->member[s];
		if (m->life != MEMBER_WATCHED || m->pid != pid)
			continue;
		*ret_pid = pid;
		return m;
	}
	cr_assert_fail("it did not join");
	return NULL;
}

/* One that the broker has stopped. */
static struct member *stopped_make(pid_t *ret_pid)
{
	int status;
	broker_begin("account a { limit = 64M fork = 20% }\n");
	struct member *m = member_make(ret_pid);
	m->frozen = true;
	cr_assert(kill(*ret_pid, SIGSTOP) == 0);
	cr_assert(waitpid(*ret_pid, &status, WUNTRACED) == *ret_pid && WIFSTOPPED(status));
	return m;
}

static void goes_on(const struct member *m, pid_t pid)
{
	int status;
	cr_assert(!m->frozen);
	cr_assert(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	end(pid);
}

Test(credit, who_was_stopped_goes_on_when_a_reload_ends_all_credit)
{
	pid_t pid;
	struct member *m = stopped_make(&pid);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M fork = 30% }\n")) == 0);
	cr_assert(m->frozen, "there is credit as before");
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M fork = strict }\n")) == 0);
	goes_on(m, pid);
}

Test(credit, who_was_stopped_goes_on_when_the_books_are_damaged)
{
	pid_t pid;
	struct member *m = stopped_make(&pid);
	damage_found(&b, account("a"), "the test says so");
	goes_on(m, pid);
}

Test(credit, who_was_stopped_goes_on_when_it_owes_nothing)
{
	pid_t pid;
	struct member *m = stopped_make(&pid);
	credit_tick(&b); /* its slot says that it has nothing on credit */
	goes_on(m, pid);
}

Test(credit, nobody_is_killed_for_another_where_there_is_no_credit)
{
	pid_t pid;
	broker_begin("account a { limit = 64M fork = 20% }\n");
	struct member *m = member_make(&pid);
	account("a")->ledger->slot[member_slot(account("a"), m)].credit = 1000;
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M fork = strict }\n")) == 0);
	cr_assert(!credit_call(&b, account("a"), LEDGER_SLOTS - 1) && !m->called);
	cr_assert(broker_configure(&b, config_of("account a { limit = 64M fork = 20% }\n")) == 0);
	cr_assert(credit_call(&b, account("a"), LEDGER_SLOTS - 1) && m->called);
	end(pid);
}

/* Descriptors were short when it came. */
static void descriptor_lose(struct member *m)
{
	cr_assert(close(m->pidfd) == 0);
	m->pidfd = -1;
	b.registry.pidfds--;
	account("a")->polled++;
}

Test(credit, a_borrower_without_a_descriptor_is_killed_like_any_other)
{
	pid_t pid;
	int status;
	broker_begin("account a { limit = 64M fork = 20% }\n");
	struct member *m = member_make(&pid);
	account("a")->ledger->slot[member_slot(account("a"), m)].credit = 1000;
	descriptor_lose(m);
	m->start_ticks++; /* as if its number were another's by now */
	cr_assert(credit_call(&b, account("a"), LEDGER_SLOTS - 1));
	pause_ms(20);
	cr_assert(waitpid(pid, &status, WNOHANG) == 0);
	m->start_ticks--;
	cr_assert(credit_call(&b, account("a"), LEDGER_SLOTS - 1));
	cr_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

Test(credit, a_borrower_without_a_descriptor_is_stopped_and_goes_on)
{
	pid_t pid;
	int status;
	struct member *m = stopped_make(&pid);
	cr_assert(kill(pid, SIGCONT) == 0 && waitpid(pid, &status, WCONTINUED) == pid);
	descriptor_lose(m);
	cr_assert(frozen_stop(&b, pid, m->start_ticks, m->pidfd) == 0);
	cr_assert(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	credit_tick(&b);
	goes_on(m, pid);
}

/* As somebody leaves it there who was late, in a slot that is free. */
Test(credit, whoever_is_taken_in_owes_nothing_that_was_left_in_the_slot)
{
	broker_begin("account a { limit = 64M fork = 20% }\n");
	struct slot *slot = account("a")->ledger->slot;
	slot[0].credit = slot[0].soft = slot[1].credit = slot[1].soft = 1000;
	cr_assert_eq(registry_claim(&b, account("a"), SLOT_LIVE), 0);
	cr_assert_eq(registry_claim(&b, account("a"), SLOT_UNATTACHED), 1);
	cr_assert(slot[0].credit == 0 && slot[0].soft == 0 && slot[1].credit == 0 && slot[1].soft == 0);
}

/* It is known who it will be, and its parent has written what it is let in with. */
Test(credit, an_embryo_is_no_borrower)
{
	pid_t pid;
	broker_begin("account a { limit = 64M fork = 20% }\n");
	struct member *m = member_make(&pid);
	struct slot *slot = &account("a")->ledger->slot[member_slot(account("a"), m)];
	uint64_t lives = slot->state;
	slot->credit = 1000;
	slot->state = SLOT_WORD(SLOT_GEN(lives), 1, SLOT_EMBRYO);
	cr_assert(!credit_call(&b, account("a"), LEDGER_SLOTS - 1) && !m->called);
	slot->state = lives;
	cr_assert(credit_call(&b, account("a"), LEDGER_SLOTS - 1) && m->called);
	end(pid);
}
