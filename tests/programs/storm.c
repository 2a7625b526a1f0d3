/* SPDX-License-Identifier: MIT */
/* storm N: N processes that malloc, mmap, fork and exit as fast as they can, each killed with
 * SIGKILL at a random moment, some dozens at a time. The last thing it does is to wait for the
 * last of them, and to end. */
#include <errno.h>
#include <stdint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 32 };

static uint64_t seed = 88172645463325252ull;

static unsigned below(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

static void fork_once(void)
{
	pid_t pid = fork();
	if (pid == 0) {
		free(malloc(below(100000)));
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

static _Noreturn void live(void)
{
	void *kept[16] = { 0 };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		unsigned i = below(16);
		switch (below(4)) {
		case 0:
			free(kept[i]);
			kept[i] = malloc(below(1 << 20));
			if (kept[i])
				memset(kept[i], 1, 100);
			break;
		case 1: {
			size_t n = (below(64) + 1) * 4096;
			char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, (below(4) ? MAP_PRIVATE : MAP_SHARED) | MAP_ANONYMOUS, -1, 0);
			if (p != MAP_FAILED && below(2)) {
				p[0] = 1;
				munmap(p, n);
			} else if (p != MAP_FAILED)
				munmap(p, n / 2 ? n / 8192 * 4096 : n);
			break;
		}
		case 2:
			fork_once();
			break;
		default:
			if (below(50) == 0)
				_exit(0);
		}
	}
}

int main(int argc, char **argv)
{
	int left = argc > 1 ? atoi(argv[1]) : 2000, killed = 0;
	pid_t pid[AT_ONCE] = { 0 };
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	while (left > 0 || killed < 0) {
		int i = (int)below(AT_ONCE);
		if (pid[i] == 0) {
			seed += (uint64_t)left * 7919;
			pid[i] = fork();
			if (pid[i] == 0)
				live();
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
