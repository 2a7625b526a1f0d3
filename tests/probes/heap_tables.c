/* SPDX-License-Identifier: MIT */
/* Description: jemalloc's own tables are paid for as they are used: a process that does little
 * is charged little, one that uses addresses in a hundred GiBs and all arenas is not charged
 * below the kernel's count, and a child of it can do the same. What jemalloc only tries when it
 * starts leaves no mapping behind: each is copied at every fork.
 * Budget: 256G */
#include <pthread.h>
#include <sys/wait.h>

#include "include/base.h"
#include "tests/probes/probe.h"

enum { GIBS = 80, BLOCKS = 20000, THREADS = 12 };

#define PAGES_SMALL 768 /* 3 MiB */
#define PAGES_OVER 150  /* of the stack that is paid for and not used, and the page map's nodes */

static void compare(const char *when)
{
	long charged = charged_pages(), kernel = kernel_pages();
	check(charged >= kernel, "%s: charged %ld, the kernel counts %ld", when, charged, kernel);
	check(charged <= kernel + PAGES_OVER, "%s: charged %ld, the kernel counts %ld", when, charged, kernel);
}

/* Of pages without access there is one, before the heap's first addresses; and of read-only ones that
 * are nobody's none, where a block is set apart by having no huge pages. */
static void guards_count(void)
{
	unsigned long start, end, inode;
	int guards = 0, read_only = 0;
	char line[512], may[5];
	FILE *f = fopen("/proc/self/maps", "r");
	check(f);
	while (fgets(line, sizeof line, f)) {
		check(sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &start, &end, may, &inode) == 4);
		bool one_page = end - start == PAGE_BYTES && inode == 0;
		guards += one_page && strcmp(may, "---p") == 0;
		read_only += one_page && strcmp(may, "r--p") == 0;
	}
	fclose(f);
	check(guards <= 1, "%d", guards);
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0)
		check(read_only == 0, "%d", read_only);
}

static void fill(char **block, unsigned seed)
{
	for (int i = 0; i < BLOCKS; i++) {
		size_t bytes = 1 + (seed = seed * 1103515245 + 12345) % (i % 50 ? 3000 : 300000);
		block[i] = malloc(bytes);
		check(block[i]);
		block[i][0] = block[i][bytes - 1] = (char)i;
	}
}

static void empty(char **block)
{
	for (int i = 0; i < BLOCKS; i++) {
		check(block[i][0] == (char)i);
		free(block[i]);
	}
}

static void *thread_main(void *block)
{
	fill(block, (unsigned)(uintptr_t)block);
	empty(block);
	return NULL;
}

/* Untouched, so they cost nobody anything but addresses. */
static void spread(void)
{
	static char *large[GIBS];
	for (int i = 0; i < GIBS; i++) {
		large[i] = malloc(((size_t)1 << 30) + 4096);
		check(large[i], "the %d. GiB", i);
		large[i][5] = 1;
	}
	compare("with 80 GiB");
	for (int i = 0; i < GIBS; i++)
		free(large[i]);
}

static void all(void)
{
	char *(*block)[BLOCKS] = malloc(THREADS * sizeof *block);
	pthread_t thread[THREADS];
	pthread_attr_t small; /* glibc keeps their stacks */
	check(block);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 256 << 10);
	spread();
	for (int i = 0; i < THREADS; i++)
		check(pthread_create(&thread[i], &small, thread_main, block[i]) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	compare("after twelve threads");
	fill(block[0], 1);
	compare("full");
	empty(block[0]);
	free(block);
}

int main(void)
{
	int status;
	check(charged_pages() < PAGES_SMALL, "%ld pages for a process that does nothing", charged_pages());
	compare("at the start");
	guards_count();
	all();
	pid_t pid = fork();
	if (pid == 0) {
		all();
		_exit(0);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "the child ended with status %x", status);
	all();
	return 0;
}
