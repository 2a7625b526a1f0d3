/* SPDX-License-Identifier: MIT */
/* Description: shared memory that the parent lets go of while it forks is not held by the child, which
 * does not have it.
 * Budget: 256M */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define BYTES ((size_t)16 << 20)

static void *kept, *dropped;

static void prepare(void)
{
	if (dropped)
		check(munmap(dropped, BYTES) == 0);
	dropped = NULL;
}

static void *shared_map(void)
{
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	return p;
}

int main(void)
{
	long pages = (long)(BYTES / 4096);
	check(pthread_atfork(prepare, NULL, NULL) == 0);
	kept = shared_map();
	long before = account_pages();
	dropped = shared_map();
	check(account_pages() >= before + pages);
	pid_t pid = fork();
	if (pid == 0)
		_exit(pause());
	check(pid > 0);
	long child = charged_pages() + 64; /* its private memory */
	check(account_settled(before + child) <= before + child, "%ld pages, %ld before", account_pages(), before);
	check(munmap(kept, BYTES) == 0);
	check(account_pages() >= before, "what the child has is charged");
	check(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	check(account_settled(before - pages) <= before - pages, "%ld pages, %ld before", account_pages(), before);
	return 0;
}
