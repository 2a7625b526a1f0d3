/* SPDX-License-Identifier: MIT */
/* Description: a process without threads forks without taking the heap's locks, which spares
 * both sides the pages that they lie in; its child has the whole heap all the same, threads in
 * it too, and so has one that a handler forks in the middle of malloc.
 * Budget: 1G */
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

enum { FORKS = 100, BLOCKS = 1000, HANDLER_FORKS = 200, SPARED = 8 };

static long faults_of(int who)
{
	struct rusage u;
	check(getrusage(who, &u) == 0);
	return u.ru_minflt;
}

/* Page faults of both sides of a fork, on average. */
static long faults_of_a_fork(void)
{
	long before = faults_of(RUSAGE_SELF) + faults_of(RUSAGE_CHILDREN);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		check(pid >= 0);
		if (pid == 0)
			_exit(0);
		check(waitpid(pid, NULL, 0) == pid);
	}
	return (faults_of(RUSAGE_SELF) + faults_of(RUSAGE_CHILDREN) - before) / FORKS;
}

static void *use_the_heap(void *arg)
{
	void *block[BLOCKS];
	for (int i = 0; i < BLOCKS; i++)
		check((block[i] = malloc((size_t)i * 37 % 20000)) != NULL);
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	return arg;
}

static void *wait_for_ever(void *arg)
{
	for (;;)
		pause();
	return arg;
}

/* Of its own and of its parent's blocks, in threads of its own, and in a child of its own. */
static void child_uses_the_heap(void)
{
	static char *inherited;
	pthread_t t[4];
	check((inherited = malloc(100000)) != NULL);
	pid_t pid = fork();
	if (pid != 0) {
		int status;
		check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
		free(inherited);
		return;
	}
	free(inherited);
	for (int i = 0; i < 4; i++)
		check(pthread_create(&t[i], NULL, use_the_heap, NULL) == 0);
	for (int i = 0; i < 4; i++)
		check(pthread_join(t[i], NULL) == 0);
	use_the_heap(NULL);
	if ((pid = fork()) == 0) {
		use_the_heap(NULL);
		_exit(0);
	}
	int status;
	check(waitpid(pid, &status, 0) == pid && status == 0);
	_exit(0);
}

static volatile sig_atomic_t forked;

/* Once: a timer that goes on by itself has run out again before a slow fork has returned, and nobody
 * else is ever served. */
static void timer_set(long us)
{
	struct itimerval once = { { 0, 0 }, { 0, us } };
	check(setitimer(ITIMER_REAL, &once, NULL) == 0);
}

static void fork_in_handler(int signal)
{
	(void)signal;
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	timer_set(++forked < HANDLER_FORKS ? 500 : 0);
}

/* Its locks are its own thread's: nobody has to wait for them. */
static void handler_forks_in_malloc(void)
{
	signal(SIGALRM, fork_in_handler);
	timer_set(500);
	while (forked < HANDLER_FORKS)
		for (int i = 1; i < 64; i++)
			free(malloc((size_t)i << 14)); /* beyond the thread's cache: with locks */
}

int main(void)
{
	pthread_t t;
	use_the_heap(NULL);
	child_uses_the_heap();
	handler_forks_in_malloc();
	long alone = faults_of_a_fork();
	check(pthread_create(&t, NULL, wait_for_ever, NULL) == 0);
	long beside = faults_of_a_fork();
	check(alone + SPARED <= beside, "%ld page faults a fork alone, %ld beside a thread", alone, beside);
	child_uses_the_heap();
	printf("%ld page faults a fork alone, %ld beside a thread\n", alone, beside);
	return 0;
}
