/* SPDX-License-Identifier: MIT */
/* The shim's lock, whose holder may die in it: what is a child to the kernel is a thread to the lock,
 * as a child of vfork is. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "shim/confined.c"
#include "shim/lock.c"

TestSuite(lock, .timeout = 20);

enum { STACK_BYTES = 64 << 10 };

static struct lock lock;
static volatile bool holds;
static volatile pid_t holder;
static _Alignas(16) char stacks[2][STACK_BYTES];

static pid_t child(int (*main)(void *), int i)
{
	pid_t pid = clone(main, stacks[i] + STACK_BYTES, CLONE_VM | SIGCHLD, NULL);
	cr_assert(pid > 0);
	return pid;
}

static int hold(void *unused)
{
	(void)unused;
	raw_call2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody behind */
	holds = lock_take(&lock) == LOCK_TAKEN;
	while (raw_call0(SYS_pause) != 0)
		;
	return 0;
}

/* Whose child it is that holds it. */
static int hold_by_a_child(void *unused)
{
	(void)unused;
	raw_call2(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
	holder = clone(hold, stacks[1] + STACK_BYTES, CLONE_VM | SIGCHLD, NULL);
	while (raw_call0(SYS_pause) != 0)
		;
	return 0;
}

static void until_it_holds(void)
{
	while (!holds)
		sched_yield();
}

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void is_inherited(void)
{
	double begun = seconds();
	cr_assert_eq(lock_take(&lock), LOCK_INHERITED);
	cr_assert(seconds() - begun < 1, "after %f s", seconds() - begun);
	lock_release(&lock);
	cr_assert_eq(lock_take(&lock), LOCK_TAKEN);
}

Test(lock, of_a_child_that_was_killed_and_not_waited_for_is_inherited)
{
	pid_t pid = child(hold, 0);
	until_it_holds();
	cr_assert(kill(pid, SIGKILL) == 0);
	is_inherited();
	cr_assert(waitpid(pid, NULL, 0) == pid, "it can still be waited for");
}

Test(lock, of_somebody_elses_child_is_inherited_too)
{
	pid_t pid = child(hold_by_a_child, 0);
	until_it_holds();
	cr_assert(kill(holder, SIGKILL) == 0);
	is_inherited();
	cr_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

Test(lock, of_who_lives_is_not_taken)
{
	pid_t pid = child(hold, 0);
	until_it_holds();
	cr_assert(kill(pid, SIGSTOP) == 0);
	cr_assert_eq(lock_take(&lock), LOCK_NOT_TAKEN);
	cr_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
}

static void *hold_in_a_thread(void *unused)
{
	hold(unused);
	return NULL;
}

Test(lock, of_a_thread_that_lives_is_not_taken)
{
	pthread_t thread;
	cr_assert(pthread_create(&thread, NULL, hold_in_a_thread, NULL) == 0);
	until_it_holds();
	cr_assert_eq(lock_take(&lock), LOCK_NOT_TAKEN);
}
