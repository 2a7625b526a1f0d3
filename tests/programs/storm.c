/* SPDX-License-Identifier: MIT */
/* Processes that malloc, mmap, fork, exec, share and start threads as fast as they can.
 *
 * storm N         N of them, each killed with SIGKILL at a random moment, some dozens at a time.
 *                 The last thing it does is to wait for the last of them, and to end.
 * storm --life    one of them, until somebody kills it. ENOMEM and EAGAIN are taken for answers;
 *                 whatever else goes wrong is said, and ends it with 9.
 * storm --spoilt  the same, and every refusal is wrong. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/random.h"

enum { AT_ONCE = 32, KEPT = 16, WRONG = 9, CANNOT_START = 125 };

static uint64_t seed = 88172645463325252ull;
static int spoilt;

static unsigned below(unsigned n)
{
	return (unsigned)(random_next(&seed) >> 11) % n;
}

/* A call said no. */
static void refused(const char *what, int error)
{
	if (!spoilt && (error == ENOMEM || error == EAGAIN))
		return;
	dprintf(STDERR_FILENO, "storm: %s: %s\n", what, strerror(error));
	_exit(WRONG);
}

/* A child has ended; who kills us may have killed it too. */
static void child_wait(pid_t pid, const char *what)
{
	int status;
	if (waitpid(pid, &status, 0) != pid || WIFSIGNALED(status))
		return;
	if (WEXITSTATUS(status) == WRONG || (WEXITSTATUS(status) == CANNOT_START && spoilt)) {
		dprintf(STDERR_FILENO, "storm: a child %s: %d\n", what, WEXITSTATUS(status));
		_exit(WRONG);
	}
}

static void heap(void)
{
	static void *kept[KEPT];
	unsigned i = below(KEPT);
	free(kept[i]);
	kept[i] = malloc(below(1 << 20));
	if (kept[i])
		memset(kept[i], 1, 100);
	else
		refused("malloc", errno);
}

static void map(void)
{
	size_t n = (below(64) + 1) * 4096;
	int flags = (below(4) ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS;
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED) {
		refused("mmap", errno);
		return;
	}
	p[0] = 1;
	/* In two pieces, or one, as it comes. */
	size_t half = below(2) ? n : (n / 8192) * 4096;
	munmap(p, half);
	munmap(p + half, n - half);
}

static pid_t fork_or_refuse(void)
{
	pid_t pid = fork();
	if (pid < 0)
		refused("fork", errno);
	return pid;
}

static void fork_once(void)
{
	pid_t pid = fork_or_refuse();
	if (pid == 0) {
		free(malloc(below(100000)));
		_exit(0);
	}
	if (pid > 0)
		child_wait(pid, "of fork");
}

static void share(void)
{
	size_t n = (below(32) + 1) * 4096;
	int fd = memfd_create("storm", MFD_CLOEXEC);
	char *p = fd < 0 || ftruncate(fd, (off_t)n) != 0 ? MAP_FAILED :
		  mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		refused("a shared mapping", errno);
	close(fd);
	if (p == MAP_FAILED)
		return;
	pid_t pid = fork_or_refuse();
	if (pid == 0) {
		p[0] = 1;
		_exit(0);
	}
	if (pid > 0)
		child_wait(pid, "that shares");
	munmap(p, n);
}

static void *thread_main(void *unused)
{
	void *p = malloc(20000);
	if (p)
		memset(p, 1, 20000);
	free(p);
	return unused;
}

static void thread(void)
{
	pthread_t t;
	int error = pthread_create(&t, NULL, thread_main, NULL);
	if (error != 0)
		refused("pthread_create", error);
	else
		pthread_join(t, NULL);
}

static void exec(void)
{
	pid_t pid = fork_or_refuse();
	if (pid == 0) {
		execl("/proc/self/exe", "storm", "--leaf", (char *)NULL);
		refused("exec", errno);
		_exit(0);
	}
	if (pid > 0)
		child_wait(pid, "of exec");
}

static void step(void)
{
	static void (*const steps[])(void) = { heap, heap, heap, heap, map, map, map, fork_once, share, thread };
	/* Dear, and so rarer. */
	if (below(40) == 0)
		exec();
	else
		steps[below(sizeof steps / sizeof *steps)]();
}

static _Noreturn void live(void)
{
	for (;;)
		step();
}

static _Noreturn void live_until_killed(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		step();
		if (below(100) == 0)
			_exit(0);
	}
}

static int storm(int left)
{
	int killed = 0;
	pid_t pid[AT_ONCE] = { 0 };
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (left > 0) {
		int i = (int)below(AT_ONCE);
		if (pid[i] == 0) {
			seed += (uint64_t)left * 7919;
			pid[i] = fork();
			if (pid[i] == 0)
				live_until_killed();
			if (pid[i] < 0) { /* refused: the account is full of the others */
				pid[i] = 0;
				continue;
			}
			left--;
		} else if (below(3) == 0) {
			kill(pid[i], SIGKILL);
			waitpid(pid[i], NULL, 0);
			pid[i] = 0;
			killed++;
		}
		struct timespec pause = { .tv_nsec = below(300000) };
		nanosleep(&pause, NULL);
	}
	for (int i = 0; i < AT_ONCE; i++)
		if (pid[i]) {
			kill(pid[i], SIGKILL);
			killed++;
		}
	/* Grandchildren too: they are ours now. */
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		;
	printf("%d killed\n", killed);
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "2000";
	seed += (uint64_t)getpid() << 24;
	if (strcmp(what, "--leaf") == 0)
		return memset(malloc(65536), 1, 65536) == NULL;
	spoilt = strcmp(what, "--spoilt") == 0;
	if (spoilt || strcmp(what, "--life") == 0)
		live();
	return storm(atoi(what));
}
