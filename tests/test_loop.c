/* SPDX-License-Identifier: MIT */
/* The loop where it is short of descriptors, and at its end. */
#define loop_init turned_init
#define loop_keep turned_keep
#define loop_run turned_run
#define loop_close turned_close
#include "daemon/loop.c"

#include <sys/resource.h>

#include "tests/broker_fixture.h"

TestSuite(loop, .timeout = 20);

static struct loop l;

static void begin(void)
{
	broker_begin("account a { limit = 64M }");
	l = (struct loop){ .broker = &b, .listener = door, .state = { .dir = -1 }, .helper = { .fd = -1 },
			   .reload = { .fd = -1 }, .notify = { .fd = -1 }, .connector = -1, .epoll = epoll_create1(EPOLL_CLOEXEC) };
	cr_assert(source_add(&l, door.fd, SOURCE_LISTENER) == 0);
}

/* Does the loop hear of who wants to connect? */
static bool hears(void)
{
	struct epoll_event e;
	return epoll_wait(l.epoll, &e, 1, 0) == 1;
}

Test(loop, does_not_listen_for_a_while_when_no_descriptor_is_left, .init = begin)
{
	struct rlimit files;
	int caller = peer_connect(door_name);
	cr_assert(caller >= 0 && hears());
	cr_assert(getrlimit(RLIMIT_NOFILE, &files) == 0);
	struct rlimit none = { .rlim_cur = 3, .rlim_max = files.rlim_max };
	cr_assert(setrlimit(RLIMIT_NOFILE, &none) == 0);
	on_listener(&l);
	look_around(&l);
	cr_assert(l.deaf && !hears(), "it would wake us at once");
	cr_assert(next_ns(&l) <= b.now_ns + TICK_NS);
	b.now_ns += TICK_NS;
	look_around(&l);
	cr_assert(!l.deaf && hears());
	cr_assert(setrlimit(RLIMIT_NOFILE, &files) == 0);
	on_listener(&l);
	cr_assert(!l.deaf && !hears());
	close(caller);
}

/* Would the next broker find the ledgers? */
static bool keeps_at_the_end(void)
{
	struct keeper keeper = { .pid = fork_tied() };
	if (keeper.pid == 0)
		for (;;)
			pause();
	pid_t pid = keeper.pid;
	l.keeper = keeper;
	loop_close(&l);
	bool kept = kill(pid, 0) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return kept;
}

Test(loop, an_empty_broker_leaves_nothing_behind, .init = begin)
{
	cr_assert(!keeps_at_the_end());
}

/* A segment, of which nobody is left. */
Test(loop, what_is_charged_is_left_to_the_next_broker, .init = begin)
{
	account("a")->ledger->header.purse.word = PURSE(10, 10);
	cr_assert(keeps_at_the_end());
}

Test(loop, a_child_that_was_rung_for_is_left_to_the_next_broker, .init = begin)
{
	account("a")->ledger->header.births++;
	cr_assert(keeps_at_the_end());
}
