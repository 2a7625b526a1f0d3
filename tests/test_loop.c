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
