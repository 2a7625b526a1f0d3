/* SPDX-License-Identifier: MIT */
/* Description: threads that end leave a little of the heap to those that come after them, who
 * find it in memory; no more than a 64th of what the account may use, and a refusal takes it.
 * Budget: 256M */
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/probes/probe.h"

#define BLOCKS 200
#define LITTLE_BYTES 8192 /* a block; 1.6 MiB in all */
#define MUCH_BYTES 65536  /* 12.5 MiB in all */
#define MUCH_PAGES (BLOCKS * MUCH_BYTES / 4096)
#define MAY_STAY_PAGES (256 / 64 * 256)
#define ROUNDS 20
#define CROWD 6

static long faults(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

static void *use(void *opaque)
{
	size_t bytes = *(size_t *)opaque;
	char *block[BLOCKS];
	for (int i = 0; i < BLOCKS; i++) {
		block[i] = malloc(bytes);
		check(block[i]);
		memset(block[i], 1, bytes);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	return NULL;
}

static void threads_run(int n, size_t bytes)
{
	pthread_t thread[CROWD];
	for (int i = 0; i < n; i++)
		check(pthread_create(&thread[i], NULL, use, &bytes) == 0);
	for (int i = 0; i < n; i++)
		pthread_join(thread[i], NULL);
}

int main(void)
{
	threads_run(1, LITTLE_BYTES);
	long before = faults();
	for (int i = 0; i < ROUNDS; i++)
		threads_run(1, LITTLE_BYTES);
	long each = (faults() - before) / ROUNDS;
	check(each < BLOCKS, "%ld page faults a thread", each);

	size_t rest = (size_t)figures().limit_bytes - (size_t)figures().used_bytes + BLOCKS * LITTLE_BYTES / 2;
	char *p = mmap(NULL, rest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED, "%zu bytes, some of them to be purged", rest);
	munmap(p, rest);

	/* Beside what may stay there is what two threads that met in one arena had. */
	for (int i = 0; i < ROUNDS; i++)
		threads_run(CROWD, MUCH_BYTES);
	long stayed = charged_pages();
	malloc_trim(0);
	long left = stayed - charged_pages();
	check(left <= MAY_STAY_PAGES + 2 * MUCH_PAGES, "%ld pages stayed", left);
	return 0;
}
