/* SPDX-License-Identifier: MIT */
/* Description: the program's own pthread_atfork handlers run once each, may allocate, and
 * in the child find a member that is charged already, once and not twice; signals blocked by the program stay
 * blocked, others do not, on both sides.
 * Budget: 256M */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

static int prepared, parents, children;
static long charged_in_child, account_in_child;

static void allocate(void)
{
	char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	free(malloc(100000));
	munmap(p, 1 << 20);
}

static void prepare(void) { prepared++; allocate(); }
static void parent(void) { parents++; allocate(); }
static void child(void)
{
	children++;
	charged_in_child = charged_pages();
	allocate();
	account_in_child = account_pages();
}

static void masks_check(const char *who)
{
	sigset_t mask;
	sigprocmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < 32; s++)
		check(sigismember(&mask, s) == (s == SIGUSR1), "%s: signal %d", who, s);
}

int main(void)
{
	sigset_t usr1;
	int status;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_SETMASK, &usr1, NULL);
	check(pthread_atfork(prepare, parent, child) == 0);
	long mine = charged_pages(), account = account_pages();
	pid_t pid = fork();
	check(pid >= 0);
	masks_check(pid ? "parent" : "child");
	check(prepared == 1 && parents == (pid != 0) && children == (pid == 0));
	if (pid == 0) {
		check(charged_in_child >= mine - 64, "the handler found %ld of %ld pages",
		      charged_in_child, mine);
		check(account_in_child <= account + mine + 2048,
		      "two processes cost %ld pages more than one of %ld", account_in_child - account, mine);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);

	/* A child of the child, and a fork whose handlers are skipped. */
	pid = _Fork();
	check(pid >= 0);
	if (pid == 0) {
		masks_check("child of _Fork");
		_exit(children == 0 && charged_pages() >= mine - 64 ? 0 : 1);
	}
	check(waitpid(pid, &status, 0) == pid && status == 0);
	masks_check("parent of _Fork");

	check(account_settled(account + 512) <= account + 512, "%ld pages left over", account_pages() - account);
	return 0;
}
