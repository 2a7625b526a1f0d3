/* SPDX-License-Identifier: MIT */
/* Description: 64 threads that start, allocate and end, again and again, from 8 makers at
 * once: no charge is lost or kept beyond the stacks that libc keeps.
 * Budget: 2G */
#include <pthread.h>

#include "tests/probes/probe.h"

#define MAKERS 8
#define THREADS 8
#define ROUNDS 25

static void *work(void *arg)
{
	for (int i = 0; i < 20; i++)
		free(memset(malloc(50000), 1, 50000));
	return arg;
}

static void *make(void *arg)
{
	pthread_t threads[THREADS];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	for (int round = 0; round < ROUNDS; round++) {
		pthread_attr_setstacksize(&attr, (size_t)(1 + round % 10) << 20);
		for (int i = 0; i < THREADS; i++)
			check(pthread_create(&threads[i], &attr, work, NULL) == 0);
		for (int i = 0; i < THREADS; i++)
			check(pthread_join(threads[i], NULL) == 0);
	}
	return arg;
}

int main(void)
{
	pthread_t makers[MAKERS], last;
	pthread_attr_t attr;
	alarm(50);
	for (int i = 0; i < MAKERS; i++)
		check(pthread_create(&makers[i], NULL, make, NULL) == 0);
	for (int i = 0; i < MAKERS; i++)
		check(pthread_join(makers[i], NULL) == 0);
	check(charged_pages() >= kernel_pages(), "%ld pages under", kernel_pages() - charged_pages());
	/* A stack that is too large to be kept makes us look for those that are gone. */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)128 << 20);
	check(pthread_create(&last, &attr, work, NULL) == 0 && pthread_join(last, NULL) == 0);
	long drift = charged_pages() - kernel_pages();
	check(drift >= 0, "%ld pages under", -drift);
	check(drift <= 2048, "%ld pages over the kernel's", drift);
	return 0;
}
