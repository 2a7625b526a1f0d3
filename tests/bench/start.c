/* SPDX-License-Identifier: MIT */
/* How long a program takes from its start to its end, by the clock of its parent, which has no
 * preload itself.
 *
 * usage: start N [NAME=VALUE]... COMMAND...    "start NANOSECONDS": the median of N */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/bench/stopwatch.h"

enum { NAMES = 64 };

static double once(char **argv, char **environment)
{
	pid_t pid;
	int status;
	double from = stopwatch_now();
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environment) != 0 || waitpid(pid, &status, 0) != pid)
		exit(1);
	double took = stopwatch_now() - from;
	if (status != 0) {
		fprintf(stderr, "start: %s ended with status %x\n", argv[0], status);
		exit(1);
	}
	return took;
}

int main(int argc, char **argv)
{
	static char path[] = "PATH=/usr/bin:/bin";
	char *environment[NAMES] = { path };
	int names = 1, at = 2;
	for (; at < argc && strchr(argv[at], '=') && names < NAMES - 1; at++)
		environment[names++] = argv[at];
	size_t n = argc > 2 ? (size_t)atoi(argv[1]) : 0;
	double *took = calloc(n ? n : 1, sizeof *took);
	if (n == 0 || at >= argc || !took) {
		fprintf(stderr, "usage: start N [NAME=VALUE]... COMMAND...\n");
		return 2;
	}
	for (size_t i = 0; i < n; i++)
		took[i] = once(argv + at, environment);
	printf("start %.0f\n", stopwatch_median(took, n));
	return 0;
}
