/* SPDX-License-Identifier: MIT */
/* Description: four threads fork at once while others allocate, map and free. Nobody
 * deadlocks, every child can allocate and is charged no less than the kernel counts, and
 * at the end the process owes what it owed.
 * Budget: 1500M */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define FORKERS 4
#define ALLOCATORS 3
#define FORKS 60

static atomic_bool over;
static atomic_int bad;

static void *allocate(void *arg)
{
	unsigned int seed = (unsigned int)(uintptr_t)arg;
	void *blocks[64] = { 0 };
	while (!atomic_load(&over)) {
		int i = rand_r(&seed) % 64;
		free(blocks[i]);
		blocks[i] = malloc((size_t)rand_r(&seed) % 300000);
		char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p != MAP_FAILED) {
			p[0] = 1;
			munmap(p, 65536);
		}
	}
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
	return NULL;
}

/* Without stdio, whose lock another thread may have held. */
static _Noreturn void child(void)
{
	for (int i = 0; i < 10; i++) {
		char *p = malloc(100000);
		if (!p)
			_exit(2);
		memset(p, 1, 100000);
		free(p);
	}
	_exit(charged_pages() >= kernel_pages() ? 0 : 3);
}

static void *forker(void *arg)
{
	int status;
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0)
			child();
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
			fprintf(stderr, "child %d: pid %d, status %x, errno %d\n", i, pid, status, errno);
			atomic_fetch_add(&bad, 1);
		}
	}
	return arg;
}

int main(void)
{
	pthread_t forkers[FORKERS], allocators[ALLOCATORS];
	alarm(50); /* a deadlock ends here, by SIGALRM */
	for (long i = 0; i < ALLOCATORS; i++)
		check(pthread_create(&allocators[i], NULL, allocate, (void *)(i + 1)) == 0);
	for (int i = 0; i < FORKERS; i++)
		check(pthread_create(&forkers[i], NULL, forker, NULL) == 0);
	for (int i = 0; i < FORKERS; i++)
		pthread_join(forkers[i], NULL);
	atomic_store(&over, true);
	for (int i = 0; i < ALLOCATORS; i++)
		pthread_join(allocators[i], NULL);
	check(atomic_load(&bad) == 0, "%d children went wrong", atomic_load(&bad));
	check(charged_pages() >= kernel_pages(), "%ld pages under", kernel_pages() - charged_pages());
	return 0;
}
