/* SPDX-License-Identifier: MIT */
/* Description: before it says no, the heap gives back what it does not need: freed small
 * blocks make room for a large one, for a mapping, and for a fork. It is not seen from
 * outside: no refusal is recorded, errno stays. And freed memory does come back by itself.
 * Budget: 100M */
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define LARGE ((size_t)60 << 20)
#define RW (PROT_READ | PROT_WRITE)

struct block {
	struct block *next;
	char rest[92];
};

/* Takes all there is, 100 bytes a time, and frees it again: the heap keeps the pages. */
static unsigned long fill_and_free(void)
{
	struct block *all = NULL, *b;
	unsigned long n = 0;
	while ((b = malloc(sizeof *b)) != NULL) {
		b->next = all;
		all = b;
		n++;
	}
	check(errno == ENOMEM);
	usleep(200000); /* the broker has seen it, and asked: now, not while they are freed */
	while (all) {
		b = all->next;
		free(all);
		all = b;
	}
	return n;
}

/* Above its warn the account is asked for what its heaps keep (shim/asked.c), at once and then
 * every second; should that come now, there is nothing left to try with. */
static void keep_much(void)
{
	for (int tries = 0; tries < 5; tries++) {
		unsigned long n = fill_and_free();
		check(n > 600000, "only %lu blocks fit", n);
		if (figures().process_bytes > ((size_t)48 << 20))
			return;
	}
	check(!"kept", "nothing to purge");
}

static void room_for(const char *what, int (*act)(void))
{
	keep_much();
	unsigned long refusals = figures().refusals;
	errno = 77;
	check(act(), "no room for %s after everything was freed", what);
	check(errno == 77, "%s changed errno", what);
	check(figures().refusals == refusals, "%s: a refusal was recorded", what);
}

static int by_malloc(void)
{
	char *p = malloc(LARGE);
	if (p)
		p[0] = p[LARGE - 1] = 1;
	free(p);
	return p != NULL;
}
static int by_posix_memalign(void)
{
	void *p = NULL;
	int error = posix_memalign(&p, 4096, LARGE);
	free(p);
	return error == 0;
}
static int by_mmap(void)
{
	void *p = mmap(NULL, LARGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && munmap(p, LARGE) == 0;
}
static int by_mprotect(void)
{
	void *p = mmap(NULL, LARGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p != MAP_FAILED && mprotect(p, LARGE, RW) == 0 && munmap(p, LARGE) == 0;
}
static int by_sbrk(void)
{
	return sbrk(LARGE) != (void *)-1 && sbrk(-(intptr_t)LARGE) != (void *)-1;
}
static int by_fork(void)
{
	pid_t pid = fork();
	if (pid == 0)
		_exit(0);
	return pid > 0 && waitpid(pid, NULL, 0) == pid;
}

int main(void)
{
	room_for("a large block", by_malloc);
	room_for("an aligned block", by_posix_memalign);
	room_for("a mapping", by_mmap);
	room_for("mprotect", by_mprotect);
	room_for("sbrk", by_sbrk);
	room_for("fork", by_fork);

	fill_and_free();
	check(malloc_trim(0) == 1, "nothing to trim");
	long trimmed = charged_pages();
	check(trimmed < (24 << 20) / 4096, "%ld pages are left after a trim", trimmed);
	check(malloc_trim(0) == 0, "trimmed twice");

	void *p = malloc((size_t)40 << 20);
	check(p && charged_pages() >= trimmed + 10240);
	free(p);
	check(charged_pages() <= trimmed + 512, "a large block stays charged: %ld", charged_pages() - trimmed);
	return 0;
}
