/* SPDX-License-Identifier: MIT */
/* Description: a child that was forked while other threads gave memory back can give back what is
 * free in its heap, in every arena.
 * Budget: 512M */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

enum { THREADS = 3, PIECES = 256, PIECE_BYTES = 40 << 10, FORKS = 300 };

static bool stop;

static void *take_and_free(void *arg)
{
	static char *piece[THREADS][PIECES];
	char **mine = piece[(uintptr_t)arg];
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		for (int i = 0; i < PIECES; i++)
			mine[i] = malloc(PIECE_BYTES);
		for (int i = 0; i < PIECES; i += 2)
			free(mine[i]);
		malloc_trim(0);
		for (int i = 1; i < PIECES; i += 2)
			free(mine[i]);
	}
	return NULL;
}

static size_t dirty_pages(void)
{
	size_t pages = 0, size = sizeof pages;
	uint64_t epoch = 1;
	mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
	check(mallctl("stats.arenas.4096.pdirty", &pages, &size, NULL, 0) == 0); /* in all of them */
	return pages;
}

static int child(void)
{
	malloc_trim(0);
	return dirty_pages() == 0 ? 0 : 2;
}

int main(void)
{
	pthread_t thread[THREADS];
	int left = 0, status;
	for (uintptr_t i = 0; i < THREADS; i++)
		check(pthread_create(&thread[i], NULL, take_and_free, (void *)i) == 0);
	dirty_pages();
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(child());
		check(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
		left += WEXITSTATUS(status) != 0;
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	check(left == 0, "%d of %d children", left, FORKS);
	return 0;
}
