/* SPDX-License-Identifier: MIT */
/* Description: while a child lives the account pays for it; when it is gone its charge is
 * back, after one fork as after two hundred.
 * Budget: 256M */
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define HELD ((size_t)32 << 20)
#define HELD_PAGES ((long)(HELD / 4096))

static pid_t child_that_waits(int ends[2])
{
	check(pipe(ends) == 0);
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		char c;
		close(ends[1]);
		_exit(read(ends[0], &c, 1) == 0 ? 0 : 1);
	}
	close(ends[0]);
	return pid;
}

int main(void)
{
	int ends[2], status;
	char *held = mmap(NULL, HELD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(held != MAP_FAILED);
	long before = account_pages(), mine = charged_pages();

	pid_t pid = child_that_waits(ends);
	check(account_pages() >= before + HELD_PAGES, "the account pays %ld for the child",
	      account_pages() - before);
	check(charged_pages() <= mine + 64, "the parent's own charge grew by %ld", charged_pages() - mine);
	close(ends[1]);
	check(waitpid(pid, &status, 0) == pid && status == 0);
	check(account_settled(before) <= before + 64, "%ld pages left over", account_pages() - before);

	for (int i = 0; i < 200; i++) {
		pid = fork();
		check(pid >= 0, "fork %d", i);
		if (pid == 0)
			_exit(0);
		check(waitpid(pid, &status, 0) == pid && status == 0);
	}
	check(account_settled(before) <= before + 64, "%ld pages left over after many", account_pages() - before);
	check(charged_pages() <= mine + 64, "the parent's own charge grew by %ld", charged_pages() - mine);
	return 0;
}
