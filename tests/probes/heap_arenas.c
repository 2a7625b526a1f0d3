/* SPDX-License-Identifier: MIT */
/* Description: arenas that a program makes and destroys (jemalloc(3), arenas.create) are out of the
 * way of a thread that is refused and purges them all, and leave nothing charged.
 * Budget: 64M */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>

#include "tests/probes/probe.h"

#define ARENA(n) ((int)(((n) + 1) << 20)) /* MALLOCX_ARENA */
#define NO_CACHE ((int)(1 << 8))	  /* MALLOCX_TCACHE_NONE */

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));
extern void *mallocx(size_t bytes, int flags) __attribute__((weak));
extern void dallocx(void *p, int flags) __attribute__((weak));

enum { ROUNDS = 200, PIECES = 40, PIECE_BYTES = 40 << 10 };

static bool stop;

static void *be_refused(void *unused)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		if (malloc((size_t)50 << 20))
			return &stop;
	return unused;
}

static void come_and_go(void)
{
	static void *piece[PIECES];
	unsigned arena;
	size_t size = sizeof arena;
	char name[64];
	if (mallctl("arenas.create", &arena, &size, NULL, 0) != 0)
		return; /* refused */
	for (int i = 0; i < PIECES; i++)
		piece[i] = mallocx(PIECE_BYTES, ARENA(arena) | NO_CACHE);
	for (int i = 0; i < PIECES; i += 2)
		if (piece[i])
			dallocx(piece[i], NO_CACHE);
	snprintf(name, sizeof name, "arena.%u.destroy", arena);
	check(mallctl(name, NULL, NULL, NULL, 0) == 0);
}

int main(void)
{
	pthread_t thread;
	pthread_attr_t attr;
	void *wrong, *volatile most = malloc((size_t)20 << 20);
	check(most && pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 128 << 10) == 0);
	come_and_go();
	long charged = charged_pages();
	check(pthread_create(&thread, &attr, be_refused, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		come_and_go();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	check(pthread_join(thread, &wrong) == 0 && !wrong);
	free(most);
	malloc_trim(0);
	/* jemalloc keeps the addresses of each, and we its tables for them. */
	check(charged_pages() < charged - 5120 + 4 * ROUNDS, "%ld pages more", charged_pages() - charged);
	return 0;
}
