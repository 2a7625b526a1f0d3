/* SPDX-License-Identifier: MIT */
/* What the heap keeps of freed memory is given back while the account is above its warn (80 %),
 * within the second in which the broker asks again; by itself the heap keeps it for two.
 * Budget: 128M */
#include "tests/probes/probe.h"

#include <sys/mman.h>
#include <time.h>

#define BLOCKS 46
#define WARN_PAGES (103 << 8) /* a little above it */
#define LEFT_PAGES (80 << 8)  /* without what was freed */

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The heap is looked after when it is used. */
static void heap_use(void)
{
	for (int i = 0; i < 5000; i++) {
		void *volatile small = malloc(32 + i % 64);
		free(small);
	}
}

/* Goes above the warn, and frees. What is charged then. */
static long fill_and_free(void)
{
	static void *volatile block[BLOCKS];
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(1 << 20);
		memset(block[i], 1, 1 << 20);
	}
	usleep(300000); /* the broker has seen it by now */
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	return account_pages();
}

/* Should the broker ask in the very moment, nothing is kept. */
static long keep_much(void)
{
	long kept = 0;
	for (int tries = 0; tries < 5 && kept <= WARN_PAGES; tries++)
		kept = fill_and_free();
	check(kept > WARN_PAGES, "the heap keeps nothing by itself: %ld pages", kept);
	return kept;
}

int main(void)
{
	check(mmap(NULL, 70 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	long kept = keep_much();
	double until = now_s() + 1.5;
	while (account_pages() > LEFT_PAGES && now_s() < until) {
		heap_use();
		usleep(10000);
	}
	printf("%ld pages were kept, %ld are\n", kept, account_pages());
	check(account_pages() <= LEFT_PAGES, "%ld pages", account_pages());
	return 0;
}
