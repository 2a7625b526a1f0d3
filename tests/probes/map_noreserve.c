/* SPDX-License-Identifier: MIT */
/* Description: where the account lets memory be free that nobody reserves, a program maps many times its
 * budget of it, whatever it does with it then; all other memory is charged as everywhere.
 * Budget: 64M
 * Account: noreserve = free */
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define S ((size_t)16 << 20)
#define P ((long)(S / 4096))
#define MUCH ((size_t)4 << 30)
#define NODE 16 /* pages that the page map takes when it needs more */
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define FREE (PRIVATE | MAP_NORESERVE)

static char *map(size_t bytes, int prot, int flags, int fd)
{
	char *p = mmap(NULL, bytes, prot, flags, fd, 0);
	check(p != MAP_FAILED);
	return p;
}

static void unmap(char *p, size_t bytes)
{
	check(munmap(p, bytes) == 0);
}

static void written_and_protected(void)
{
	char *p = map(MUCH, RW, FREE, -1);
	memset(p, 1, S);
	check(mprotect(p, MUCH, PROT_NONE) == 0 && mprotect(p, MUCH, RW) == 0);
	check(madvise(p, S, MADV_DONTNEED) == 0);
	check(munmap(p + S, S) == 0);
	unmap(p, MUCH);
	p = map(MUCH, PROT_NONE, FREE, -1);
	check(mprotect(p, MUCH, RW) == 0);
	unmap(p, MUCH);
}

static void moved(void)
{
	char *p = map(S, RW, FREE, -1);
	p = mremap(p, S, MUCH, MREMAP_MAYMOVE);
	check(p != MAP_FAILED && mremap(p, MUCH, MUCH / 2, 0) == p);
	unmap(p, MUCH / 2);
}

static void of_a_file(void)
{
	int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	if (fd < 0)
		fd = open("/proc/self/exe", O_RDONLY);
	char *p = map(MUCH, RW, MAP_PRIVATE | MAP_NORESERVE, fd);
	close(fd);
	unmap(p, MUCH);
}

/* A child has it, and does not pay for it either. */
static void forked(void)
{
	int status;
	char *p = map(MUCH, RW, FREE, -1);
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0)
		_exit(mprotect(p, MUCH, PROT_READ) != 0 || mprotect(p, MUCH, RW) != 0 || munmap(p, MUCH) != 0);
	check(waitpid(pid, &status, 0) == pid && status == 0, "%#x", status);
	unmap(p, MUCH);
}

static void costs(const char *what, long before, long pages)
{
	long paid = charged_pages() - before;
	check(paid >= pages && paid <= pages + NODE, "%s: %ld pages, expected %ld", what, paid, pages);
}

static void is_free(const char *what, void (*act)(void))
{
	unsigned long refusals = figures().refusals;
	long before = charged_pages();
	act();
	costs(what, before, 0);
	check(figures().refusals == refusals, "%s: a refusal was recorded", what);
}

/* What takes the place of the other kind is charged, or not, as itself. */
static void replaced(void)
{
	long before = charged_pages();
	char *p = map(MUCH, RW, FREE, -1);
	check(mmap(p, S, RW, PRIVATE | MAP_FIXED, -1, 0) == p);
	costs("over free memory", before, P);
	check(mmap(p, S, RW, FREE | MAP_FIXED, -1, 0) == p);
	costs("free memory over it", before, 0);
	unmap(p, MUCH);
	costs("nothing", before, 0);
}

static void others_are_charged(void)
{
	long before = charged_pages();
	char *p = map(S, RW, PRIVATE, -1);
	costs("private memory", before, P);
	check(mmap(NULL, (size_t)128 << 20, RW, PRIVATE, -1, 0) == MAP_FAILED && errno == ENOMEM);
	check(malloc((size_t)128 << 20) == NULL);
	unmap(p, S);
}

static void shared_is_charged(void)
{
	long before = account_pages();
	char *p = map(S, RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1);
	check(account_pages() >= before + P, "shared memory: %ld pages", account_pages() - before);
	unmap(p, S);
}

static bool kernel_reserves_all(void)
{
	char mode = 0;
	int fd = open("/proc/sys/vm/overcommit_memory", O_RDONLY);
	check(fd >= 0 && read(fd, &mode, 1) == 1);
	close(fd);
	return mode == '2';
}

int main(void)
{
	if (kernel_reserves_all())
		skip("vm.overcommit_memory is 2: nothing is free here");
	check(malloc((size_t)1 << 40) == NULL); /* makes the unwinder */
	is_free("written and protected", written_and_protected);
	is_free("moved", moved);
	is_free("of a file", of_a_file);
	is_free("forked", forked);
	replaced();
	others_are_charged();
	shared_is_charged();
	return 0;
}
