/* SPDX-License-Identifier: MIT */
/* Description: children of a threaded program, forked while other threads are inside the heap
 * or being refused, can use the heap, be refused and purge.
 * Budget: 512M */
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define TOO_MUCH ((size_t)2 << 30)

static volatile int enough;

static void *churn(void *opaque)
{
	(void)opaque;
	for (unsigned i = 0; !enough; i++) {
		char *p = malloc(i % 16 ? 100 + i % 50000 : TOO_MUCH);
		check((p == NULL) == (i % 16 == 0), "step %u", i);
		free(p);
	}
	return NULL;
}

static int child(void)
{
	char *p = malloc(1 << 20);
	if (!p)
		return 1;
	memset(p, 1, 1 << 20);
	free(p);
	if (malloc(TOO_MUCH) != NULL || errno != ENOMEM)
		return 2;
	malloc_trim(0);
	p = malloc(3000);
	return p ? 0 : 3;
}

int main(void)
{
	pthread_t thread[3];
	alarm(50);
	for (int i = 0; i < 3; i++)
		check(pthread_create(&thread[i], NULL, churn, NULL) == 0);
	for (int i = 0; i < 100; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0) {
			alarm(10);
			_exit(child());
		}
		check(pid > 0, "fork %d", i);
		check(waitpid(pid, &status, 0) == pid && status == 0, "child %d ended with status %x", i, status);
	}
	enough = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
