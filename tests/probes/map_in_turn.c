/* SPDX-License-Identifier: MIT */
/* Description: a process that maps and unmaps most of the budget in turn keeps what it let go as
 * slack. It is not in use, and a child gets all of it.
 * Budget: 256M */
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define MIB ((size_t)1 << 20)
#define TURNS 100
#define OURS ((size_t)256 << 10) /* what marking it may cost */

static char *map(size_t bytes)
{
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void in_turn(void)
{
	for (int i = 0; i < TURNS; i++) {
		char *p = map(200 * MIB);
		check(p != MAP_FAILED && munmap(p, 200 * MIB) == 0);
	}
}

int main(void)
{
	in_turn();
	check(account_pages() == charged_pages() && charged_pages() < (long)(20 * MIB / 4096), "%ld pages", account_pages());
	pid_t pid = fork();
	if (pid == 0) {
		in_turn();
		malloc_trim(0); /* or what the heap can spare would make room as well */
		size_t rest = (size_t)(figures().limit_bytes - figures().used_bytes);
		_exit(map(rest - OURS) == MAP_FAILED ? 1 : map(OURS + 4096) != MAP_FAILED ? 2 : 0);
	}
	int status = -1;
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ended with status %x", status);
	return 0;
}
