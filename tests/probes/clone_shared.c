/* SPDX-License-Identifier: MIT */
/* Description: a copy that was made by libc's own clone, past our door, and whose first call is about
 * shared memory, acts in its own name and not in that of its parent.
 * Budget: 256M */
#include <dlfcn.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define BYTES ((size_t)16 << 20)

static _Alignas(16) char stack[64 << 10];

static int child(void *shared)
{
	return munmap(shared, BYTES) != 0;
}

int main(void)
{
	int status;
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	long before = account_pages();
	int (*copy)(int (*)(void *), void *, int, void *, ...) =
		(int (*)(int (*)(void *), void *, int, void *, ...))(uintptr_t)dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "clone");
	check(copy != NULL && copy != clone);
	pid_t pid = copy(child, stack + sizeof stack, SIGCHLD, p);
	check(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0, "%#x", status);
	account_settled(before);
	check(account_pages() >= (long)(BYTES / 4096), "only %ld pages are charged", account_pages());
	return 0;
}
