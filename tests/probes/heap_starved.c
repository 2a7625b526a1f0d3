/* SPDX-License-Identifier: MIT */
/* Description: threads that start when the account is full to the page find no memory for
 * what the heap keeps for each: they may be refused, but they live, and can use what there is.
 * Budget: 64M */
#include <pthread.h>
#include <sys/mman.h>

#include "tests/probes/probe.h"

enum { THREADS = 12, ROUNDS = 4, STACK = 128 << 10, SPARES = 640 };

/* To the last page: with mappings, then with small blocks. */
static void fill(void)
{
	for (size_t bytes = 16 << 20; bytes >= 4096; bytes /= 2)
		while (mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
			;
	for (size_t bytes = 16; bytes <= 4096; bytes += 16)
		while (malloc(bytes) != NULL)
			;
}

/* What making a thread takes itself: blocks of all small sizes, freed when they are needed. */
static char *spare[ROUNDS][SPARES];

static void spare_take(void)
{
	for (int round = 0; round < ROUNDS; round++)
		for (int i = 0; i < SPARES; i++)
			check((spare[round][i] = malloc(16 + (size_t)i % 64 * 32)));
}

static void spare_free(int round)
{
	for (int i = 0; i < SPARES; i++)
		free(spare[round][i]);
}

static void *work(void *opaque)
{
	char *block[64];
	(void)opaque;
	for (int i = 0; i < 64; i++) {
		block[i] = malloc(64 + (size_t)i * 40);
		if (block[i])
			memset(block[i], i, 64 + (size_t)i * 40);
		else if (errno != ENOMEM)
			return (void *)1;
	}
	for (int i = 0; i < 64; i++) {
		if (block[i] && block[i][0] != i)
			return (void *)2;
		free(block[i]);
	}
	return NULL;
}

int main(void)
{
	static char stack[THREADS][STACK] __attribute__((aligned(4096)));
	pthread_t thread[THREADS];
	pthread_attr_t attr;
	unsigned long made = 0;
	pthread_attr_init(&attr);
	spare_take();
	fill();
	unsigned long refusals = figures().refusals;
	check(refusals > 0);
	for (int round = 0; round < ROUNDS; round++) {
		int n = 0;
		spare_free(round);
		for (int i = 0; i < THREADS; i++) {
			pthread_attr_setstack(&attr, stack[n], STACK);
			n += pthread_create(&thread[n], &attr, work, NULL) == 0;
		}
		for (int i = 0; i < n; i++) {
			void *wrong;
			pthread_join(thread[i], &wrong);
			check(!wrong, "thread %d: %ld", i, (long)wrong);
		}
		made += (unsigned long)n;
	}
	check(made > THREADS, "only %lu threads were made", made);
	return 0;
}
