/* SPDX-License-Identifier: MIT */
/* Description: eight threads allocate, grow and free at the limit, refused all the time. No
 * block is given to two, none is lost, nothing hangs, and in the end the charge is back.
 * Budget: 96M */
#include <malloc.h>
#include <pthread.h>
#include <time.h>

#include "tests/probes/probe.h"
#include "tests/random.h"

enum { THREADS = 8, SLOTS = 64, SECONDS = 2 };

struct worker {
	pthread_t thread;
	uint64_t seed;
	unsigned long got, refused;
};

/* From a few bytes to 4 MiB, most of them small. */
static size_t random_size(uint64_t *seed)
{
	return 16 + random_next(seed) % ((size_t)1 << (4 + random_next(seed) % 19));
}

/* A block knows its size and its owner at both ends. */
static void sign(char *p, size_t n, uint64_t owner)
{
	uint64_t word = owner ^ n;
	memcpy(p, &word, 8);
	memcpy(p + n - 8, &word, 8);
}

static void is_signed(const char *p, size_t n, uint64_t owner)
{
	uint64_t word = owner ^ n;
	check(memcmp(p, &word, 8) == 0 && memcmp(p + n - 8, &word, 8) == 0, "a block of %zu bytes was shared", n);
}

static pthread_barrier_t all_made; /* before the first of them fills the budget */

static void *work(void *opaque)
{
	struct worker *w = opaque;
	pthread_barrier_wait(&all_made);
	char *block[SLOTS] = { NULL };
	size_t bytes[SLOTS];
	time_t end = time(NULL) + SECONDS;
	for (unsigned long step = 0; step % 256 || time(NULL) < end; step++) {
		int i = (int)(random_next(&w->seed) % SLOTS);
		size_t n = random_size(&w->seed);
		uint64_t owner = (uint64_t)(uintptr_t)&block[i];
		if (block[i])
			is_signed(block[i], bytes[i], owner);
		if (block[i] && random_next(&w->seed) % 3) {
			free(block[i]);
			block[i] = NULL;
			continue;
		}
		char *p = realloc(block[i], n);
		if (!p) {
			check(errno == ENOMEM);
			w->refused++;
			continue;
		}
		block[i] = p;
		bytes[i] = n;
		sign(p, n, owner);
		w->got++;
	}
	for (int i = 0; i < SLOTS; i++)
		free(block[i]);
	return NULL;
}

int main(void)
{
	static struct worker worker[THREADS];
	char *most = malloc((size_t)48 << 20);
	unsigned long refused = 0, before = figures().refusals;
	pthread_attr_t attr;
	check(most && pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 256 << 10) == 0);
	pthread_barrier_init(&all_made, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		worker[i].seed = 88172645463325252ull + (uint64_t)i * 977;
		check(pthread_create(&worker[i].thread, &attr, work, &worker[i]) == 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(worker[i].thread, NULL);
		refused += worker[i].refused;
		check(worker[i].got > 0, "thread %d got nothing", i);
	}
	check(refused > 50, "only %lu were refused", refused);
	check(figures().refusals - before == refused, "%lu refused, %lu counted", refused,
	      (unsigned long)figures().refusals - before);
	free(most);
	malloc_trim(0);
	check(charged_pages() < (64 << 20) / 4096, "%ld pages stay charged", charged_pages());
	return 0;
}
