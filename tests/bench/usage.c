/* SPDX-License-Identifier: MIT */
/* What a program takes of the clock, of the processor, and of memory at its most. The kernel
 * counts as a program's also what was resident before its execve (fs/exec.c:exec_mmap), so that
 * whoever is started by Python is never smaller than Python; this is small, and not preloaded.
 *
 * usage: usage FD [NAME=VALUE]... COMMAND...    "SECONDS CPU-SECONDS PEAK-KIB" to FD; ends as it does */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/bench/stopwatch.h"

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
	extern char **environ;
	struct rusage u;
	pid_t pid;
	int status, at = 2;
	for (; at < argc && strchr(argv[at], '='); at++)
		putenv(argv[at]);
	if (at >= argc) {
		fprintf(stderr, "usage: usage FD [NAME=VALUE]... COMMAND...\n");
		return 2;
	}
	double from = stopwatch_now();
	if (posix_spawnp(&pid, argv[at], NULL, NULL, argv + at, environ) != 0 || wait4(pid, &status, 0, &u) != pid)
		return 1;
	double took = (stopwatch_now() - from) / 1e9;
	dprintf(atoi(argv[1]), "%f %f %ld\n", took, seconds(u.ru_utime) + seconds(u.ru_stime), u.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
