/* SPDX-License-Identifier: MIT */
/* What one call costs a process. Run bare, preloaded with some allocator, or under Solvent:
 * the program is the same and knows nothing of it.
 *
 * usage: doors CALL...       a line "CALL NANOSECONDS" for each; without any: their names
 *        doors turns CALL    a batch of it for each line that is read (tests/bench/turns.py) */
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/stopwatch.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

static void fail(const char *what) __attribute__((noreturn));
static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static char *map(size_t bytes, int prot)
{
	char *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

/* --- mappings --- */

static void map_and_unmap(uint64_t n, size_t bytes, int prot, bool touch)
{
	while (n-- > 0) {
		char *p = map(bytes, prot);
		for (size_t at = 0; touch && at < bytes; at += 4 * KIB)
			p[at] = 1;
		munmap(p, bytes);
	}
}

static void map_4k(uint64_t n) { map_and_unmap(n, 4 * KIB, PROT_READ | PROT_WRITE, false); }
static void map_64k(uint64_t n) { map_and_unmap(n, 64 * KIB, PROT_READ | PROT_WRITE, false); }
static void map_2m(uint64_t n) { map_and_unmap(n, 2 * MIB, PROT_READ | PROT_WRITE, false); }
static void map_2m_touched(uint64_t n) { map_and_unmap(n, 2 * MIB, PROT_READ | PROT_WRITE, true); }
static void map_1g(uint64_t n) { map_and_unmap(n, GIB, PROT_READ | PROT_WRITE, false); }
static void map_1t_none(uint64_t n) { map_and_unmap(n, 1024 * GIB, PROT_NONE, false); }

static void protect(uint64_t n)
{
	static char *p;
	if (!p)
		p = map(64 * KIB, PROT_READ | PROT_WRITE);
	for (; n-- > 0; mprotect(p, 64 * KIB, PROT_READ | PROT_WRITE))
		mprotect(p, 64 * KIB, PROT_READ);
}

static void share_64k(uint64_t n)
{
	while (n-- > 0)
		munmap(mmap(NULL, 64 * KIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), 64 * KIB);
}

/* --- processes and threads --- */

static size_t resident;

static void fork_wait(uint64_t n)
{
	static char *held;
	if (!held && resident > 0)
		held = memset(map(resident, PROT_READ | PROT_WRITE), 1, resident);
	while (n-- > 0) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid < 0)
			fail("fork");
		waitpid(pid, NULL, 0);
	}
}

static void fork_of(uint64_t n, size_t bytes)
{
	resident = bytes;
	fork_wait(n);
}

static void fork_small(uint64_t n) { fork_of(n, 0); }
static void fork_10m(uint64_t n) { fork_of(n, 10 * MIB); }
static void fork_160m(uint64_t n) { fork_of(n, 160 * MIB); }
static void fork_1000m(uint64_t n) { fork_of(n, 1000 * MIB); }

static void spawn(uint64_t n)
{
	extern char **environ;
	static char name[] = "true";
	char *argv[] = { name, NULL };
	while (n-- > 0) {
		pid_t pid;
		if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0)
			fail("posix_spawn");
		waitpid(pid, NULL, 0);
	}
}

static void *thread_main(void *p)
{
	return p;
}

static void thread(uint64_t n)
{
	while (n-- > 0) {
		pthread_t t;
		if (pthread_create(&t, NULL, thread_main, NULL) != 0)
			fail("pthread_create");
		pthread_join(t, NULL);
	}
}

/* --- the heap --- */

/* Kept from the optimiser. */
static void *volatile kept;

static void pairs(uint64_t n, size_t bytes)
{
	while (n-- > 0) {
		kept = malloc(bytes);
		free(kept);
	}
}

static void malloc_16(uint64_t n) { pairs(n, 16); }
static void malloc_256(uint64_t n) { pairs(n, 256); }
static void malloc_4k(uint64_t n) { pairs(n, 4 * KIB); }
static void malloc_64k(uint64_t n) { pairs(n, 64 * KIB); }
static void malloc_1m(uint64_t n) { pairs(n, MIB); }
static void malloc_16m(uint64_t n) { pairs(n, 16 * MIB); }

static void *pairs_main(void *n)
{
	void *volatile mine;
	for (uint64_t i = *(uint64_t *)n; i > 0; i--) {
		mine = malloc(16 + i % 1000);
		free(mine);
	}
	return NULL;
}

static void malloc_2_threads(uint64_t n)
{
	pthread_t t;
	if (pthread_create(&t, NULL, pairs_main, &n) != 0)
		fail("pthread_create");
	pairs_main(&n);
	pthread_join(t, NULL);
}

/* One allocates, the other frees. */
enum { RING = 256 };
static void *ring[RING];
static sem_t full, empty;

static void *free_main(void *n)
{
	for (uint64_t i = 0; i < *(uint64_t *)n; i++) {
		sem_wait(&full);
		for (int k = 0; k < RING; k++)
			free(ring[k]);
		sem_post(&empty);
	}
	return NULL;
}

static void malloc_cross(uint64_t n)
{
	pthread_t t;
	uint64_t rounds = n / RING + 1;
	sem_init(&full, 0, 0);
	sem_init(&empty, 0, 1);
	if (pthread_create(&t, NULL, free_main, &rounds) != 0)
		fail("pthread_create");
	for (uint64_t i = 0; i < rounds; i++) {
		sem_wait(&empty);
		for (int k = 0; k < RING; k++)
			ring[k] = malloc(16 + (i * 37 + (uint64_t)k * 101) % 2000);
		sem_post(&full);
	}
	pthread_join(t, NULL);
}

static const struct {
	const char *name;
	stopwatch_work work;
} calls[] = {
	{ "map-4k", map_4k },
	{ "map-64k", map_64k },
	{ "map-2m", map_2m },
	{ "map-2m-touched", map_2m_touched },
	{ "map-1g", map_1g },
	{ "map-1t-none", map_1t_none },
	{ "protect", protect },
	{ "share-64k", share_64k },
	{ "fork-small", fork_small },
	{ "fork-10m", fork_10m },
	{ "fork-160m", fork_160m },
	{ "fork-1000m", fork_1000m },
	{ "spawn", spawn },
	{ "thread", thread },
	{ "malloc-16", malloc_16 },
	{ "malloc-256", malloc_256 },
	{ "malloc-4k", malloc_4k },
	{ "malloc-64k", malloc_64k },
	{ "malloc-1m", malloc_1m },
	{ "malloc-16m", malloc_16m },
	{ "malloc-2-threads", malloc_2_threads },
	{ "malloc-cross", malloc_cross },
};

static stopwatch_work work_of(const char *name)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (strcmp(calls[i].name, name) == 0)
			return calls[i].work;
	fprintf(stderr, "doors: no call named %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "turns") == 0) {
		stopwatch_turns(work_of(argv[2]), stopwatch_alone, stopwatch_alone);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		printf("%s %.1f\n", argv[i], stopwatch(work_of(argv[i])));
	for (size_t i = 0; argc == 1 && i < sizeof calls / sizeof *calls; i++)
		puts(calls[i].name);
	return 0;
}
