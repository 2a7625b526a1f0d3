/* SPDX-License-Identifier: MIT */
/* Description: a thread whose stack the budget does not allow is EAGAIN from pthread_create
 * and thrd_nomem from thrd_create, does not run, and leaves no charge; errors of libc's own
 * leave none either. Stacks that libc has given back without a word do not stand in the way.
 * Budget: 200M */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <threads.h>

#include "tests/probes/probe.h"

#define MiB ((size_t)1 << 20)

static atomic_int ran;

static void *count(void *arg)
{
	atomic_fetch_add(&ran, 1);
	return arg;
}
static int count_c11(void *arg)
{
	atomic_fetch_add(&ran, 1);
	return arg == NULL;
}

static int create(pthread_t *ret, size_t bytes, int detached)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	check(pthread_attr_setstacksize(&attr, bytes) == 0);
	check(pthread_attr_setdetachstate(&attr, detached) == 0);
	return pthread_create(ret, &attr, count, NULL);
}

int main(void)
{
	pthread_t thread;
	thrd_t c11;
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	check(create(&thread, MiB, 0) == 0 && pthread_join(thread, NULL) == 0);
	check(thrd_create(&c11, count_c11, NULL) == thrd_success && thrd_join(c11, NULL) == thrd_success);

	for (int i = 0; i < 3; i++) {
		long before = charged_pages(), account = account_pages();
		unsigned long refusals = figures().refusals;
		int runs = atomic_load(&ran);
		check(create(&thread, 256 * MiB, 0) == EAGAIN);
		check(figures().refusals == refusals + 1);
		check(atomic_load(&ran) == runs, "the thread ran");
		check(charged_pages() <= before + 64 && account_pages() <= account + 64);
	}

	/* Room for less than a default stack. */
	size_t held = 200 * MiB - (size_t)account_pages() * 4096 - 4 * MiB;
	char *much = mmap(NULL, held, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(much != MAP_FAILED);
	pthread_t several[3];
	thrd_t several_c11[3];
	int first_c11 = thrd_success, n = 0;
	for (int i = 0; i < 3 && first_c11 == thrd_success; i++)
		if ((first_c11 = thrd_create(&several_c11[i], count_c11, NULL)) == thrd_success)
			n++;
	check(first_c11 == thrd_nomem, "thrd_create says %d", first_c11);
	while (n > 0)
		thrd_join(several_c11[--n], NULL);
	check(munmap(much, held) == 0);

	/* libc refuses a scheduling policy nobody has heard of. */
	pthread_attr_t attr;
	struct sched_param parameter = { .sched_priority = 1 };
	cpu_set_t no_cpu;
	CPU_ZERO(&no_cpu);
	pthread_attr_init(&attr);
	check(pthread_attr_setaffinity_np(&attr, sizeof no_cpu, &no_cpu) == 0);
	(void)parameter;
	long before = charged_pages();
	for (int i = 0; i < 10; i++)
		check(pthread_create(&thread, &attr, count, NULL) == EINVAL);
	check(charged_pages() <= before + 2560, "failed creations left %ld pages", charged_pages() - before);
	pthread_attr_destroy(&attr);

	/* 60 times 50 MiB one after the other, each given back by libc: the budget holds three. */
	for (int i = 0; i < 60; i++) {
		int runs = atomic_load(&ran), error = create(&several[0], 50 * MiB, PTHREAD_CREATE_DETACHED);
		check(error == 0, "thread %d: error %d", i, error);
		while (atomic_load(&ran) == runs)
			sched_yield();
		usleep(2000);
	}
	return 0;
}
