/* SPDX-License-Identifier: MIT */
/* Description: a child that is let in on credit costs a fifth of its parent, which all of it would not
 * have fitted in; what it writes to is charged as it goes, and when that does not fit it is killed, not
 * its parent. Nothing stays charged.
 * Budget: 128M
 * Options: --fork 20% */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/fork_tied.h"
#include "tests/probes/probe.h"

#define HELD ((size_t)80 << 20)
#define HELD_PAGES ((long)(HELD / 4096))
#define WRITTEN ((size_t)32 << 20) /* twice what it has paid */
#define WRITTEN_PAGES ((long)(WRITTEN / 4096))
#define NOISE 512

static char *held;
static int go[2], done[2];

/* Writes to a part of what it has when it is told to, and then to all of it. */
static _Noreturn void child(void)
{
	char byte;
	if (charged_pages() < HELD_PAGES)
		_exit(1);
	if (read(go[0], &byte, 1) != 1)
		_exit(2);
	memset(held, 2, WRITTEN);
	if (write(done[1], "x", 1) != 1 || read(go[0], &byte, 1) != 1)
		_exit(3);
	memset(held, 3, HELD);
	for (;;)
		pause();
}

/* Once it has grown that far. */
static long account_grown(long expected)
{
	for (int i = 0; i < 5000 && account_pages() < expected; i++)
		usleep(2000);
	return account_pages();
}

int main(void)
{
	char byte;
	int status;
	held = mmap(NULL, HELD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(held != MAP_FAILED && pipe(go) == 0 && pipe(done) == 0);
	memset(held, 1, HELD);
	long before = account_pages(), fifth = charged_pages() / 5;
	pid_t pid = fork_tied();
	check(pid >= 0, "strict would have refused it");
	if (pid == 0)
		child();
	usleep(100000);
	long now = account_pages();
	check(now >= before + fifth && now <= before + fifth + NOISE, "let in for %ld pages, not %ld", now - before,
	      fifth);
	check(write(go[1], "x", 1) == 1 && read(done[0], &byte, 1) == 1);
	now = account_grown(before + WRITTEN_PAGES);
	check(now >= before + WRITTEN_PAGES && now <= before + WRITTEN_PAGES + 2 * NOISE, "%ld pages for %ld",
	      now - before, WRITTEN_PAGES);
	check(write(go[1], "x", 1) == 1);
	check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%#x", status);
	check(account_settled(before + 64) <= before + 64, "%ld pages left over", account_pages() - before);
	check(figures().refusals == 0);
	return 0;
}
