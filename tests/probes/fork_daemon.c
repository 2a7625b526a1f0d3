/* SPDX-License-Identifier: MIT */
/* Description: daemon(3) forks inside libc. Over budget it is refused and the caller goes
 * on; within it the daemon is a member with a charge of its own, though its parent never
 * came back from libc to say whom it made.
 * Budget: 256M */
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define MUCH ((size_t)160 << 20)

static void become_daemon(int out)
{
	long before = charged_pages();
	if (daemon(1, 1) != 0)
		_exit(1);
	long mine = charged_pages();
	char *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long grown = charged_pages() - mine;
	char said = more == MAP_FAILED ? 'm' : grown != 256 ? 'g' : mine < before - 64 ? 'c' : 'y';
	_exit(write(out, &said, 1) == 1 ? 0 : 1);
}

/* In a child, because daemon's caller ends in libc when it is not refused. */
static void be_refused(void)
{
	char *much = mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t me = getpid();
	_exit(much != MAP_FAILED && daemon(1, 1) == -1 && errno == ENOMEM && getpid() == me ? 5 : 1);
}

int main(void)
{
	int ends[2], status;
	char said = '?';
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0)
		be_refused();
	check(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5,
	      "was not refused: %x", status);

	check(pipe(ends) == 0);
	pid = fork();
	check(pid >= 0);
	if (pid == 0)
		become_daemon(ends[1]);
	check(waitpid(pid, &status, 0) == pid && status == 0, "daemon's parent ended with %x", status);
	check(read(ends[0], &said, 1) == 1 && said == 'y', "the daemon said '%c'", said);
	return 0;
}
