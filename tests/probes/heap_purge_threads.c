/* SPDX-License-Identifier: MIT */
/* Description: what is free in the heap is not refused to a thread because another gives it back
 * at that moment.
 * Budget: 64M */
#include <pthread.h>
#include <sys/mman.h>

#include "tests/probes/probe.h"

#define THREADS 4
#define BLOCK_BYTES ((size_t)5 << 20)
#define STACK_BYTES ((size_t)128 << 10)
#define PIECES 128 /* too large for the caches of threads */
#define ROUNDS 200

static int failed;
static pthread_barrier_t all_made;

static void expect(const void *p)
{
	if (!p)
		__atomic_fetch_add(&failed, 1, __ATOMIC_RELAXED);
}

/* Each has so much at a time, in pieces or in one: what it freed before is of no use to it, in
 * many parts, and must be given back first. */
static void *take_and_free(void *arg)
{
	static char *piece[THREADS][PIECES];
	unsigned me = (unsigned)(uintptr_t)arg;
	free(malloc(1));
	pthread_barrier_wait(&all_made);
	for (int n = 0; n < ROUNDS; n++) {
		for (int i = 0; i < PIECES; i++)
			expect(piece[me][i] = malloc(BLOCK_BYTES / PIECES));
		for (int i = 0; i < PIECES; i += 2)
			free(piece[me][i]);
		char *p = malloc(BLOCK_BYTES / 2);
		expect(p);
		free(p);
		for (int i = 1; i < PIECES; i += 2)
			free(piece[me][i]);
	}
	return NULL;
}

int main(void)
{
	pthread_t thread[THREADS];
	pthread_attr_t attr;
	pthread_barrier_init(&all_made, NULL, THREADS + 1);
	check(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK_BYTES) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		check(pthread_create(&thread[i], &attr, take_and_free, (void *)i) == 0);
	usleep(100000);
	/* All that is not for them. */
	size_t spare = figures().limit_bytes - figures().used_bytes - THREADS * BLOCK_BYTES - ((size_t)2 << 20);
	check(mmap(NULL, spare, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	pthread_barrier_wait(&all_made);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	check(failed == 0, "%d of %d", failed, THREADS * ROUNDS * (PIECES + 1));
	return 0;
}
