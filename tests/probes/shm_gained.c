/* SPDX-License-Identifier: MIT */
/* Description: shared memory that is mapped while a fork is under way, and unmapped in the parent
 * before the child has looked, is charged while the child has it.
 * Budget: 256M */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define BYTES ((size_t)16 << 20)
#define ROUNDS 40

static void *gained;

/* The child's charge has been taken, and what it holds written down. */
static void prepare(void)
{
	gained = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(gained != MAP_FAILED);
}

static void parent(void)
{
	check(munmap(gained, BYTES) == 0);
}

/* On one processor who forked goes on before the child runs, nearly always. */
static void one_processor(void)
{
	cpu_set_t set;
	check(sched_getaffinity(0, sizeof set, &set) == 0);
	for (int c = 0; c < CPU_SETSIZE; c++)
		if (CPU_ISSET(c, &set)) {
			CPU_ZERO(&set);
			CPU_SET(c, &set);
		}
	check(sched_setaffinity(0, sizeof set, &set) == 0);
}

static void round_go(long before)
{
	int lives[2];
	char byte = 0;
	check(pipe(lives) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		check(write(lives[1], &byte, 1) == 1);
		_exit(pause());
	}
	check(pid > 0 && read(lives[0], &byte, 1) == 1);
	long with_child = account_pages();
	check(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	check(with_child >= before + (long)(BYTES / 4096), "%ld pages, %ld before", with_child, before);
	check(account_settled(before + 64) <= before + 64, "%ld pages, %ld before", account_pages(), before);
	close(lives[0]);
	close(lives[1]);
}

int main(void)
{
	one_processor();
	long before = account_pages();
	check(pthread_atfork(prepare, parent, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		round_go(before);
	return 0;
}
