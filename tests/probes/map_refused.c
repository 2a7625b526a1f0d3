/* SPDX-License-Identifier: MIT */
/* Description: a refusal sets errno to ENOMEM and changes nothing: not the address space,
 * not the charge, not what was mapped where a fixed mapping was to go. And success leaves
 * errno alone.
 * Budget: 64M */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "tests/probes/probe.h"

#define TOO_MUCH ((size_t)256 << 20)
#define S ((size_t)4 << 20)
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

static char *small;

static int try_mmap(void) { return mmap(NULL, TOO_MUCH, RW, PRIVATE, -1, 0) == MAP_FAILED; }
static int try_shared(void) { return mmap(NULL, TOO_MUCH, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED; }
static int try_huge(void) { return mmap(NULL, (size_t)1 << 45, RW, PRIVATE, -1, 0) == MAP_FAILED; }
static int try_growsdown(void) { return mmap(NULL, S, RW, PRIVATE | MAP_GROWSDOWN, -1, 0) == MAP_FAILED; }
static int try_mremap(void) { return mremap(small, S, TOO_MUCH, MREMAP_MAYMOVE) == MAP_FAILED; }
static int try_sbrk(void) { return sbrk(TOO_MUCH) == (void *)-1; }
static int try_malloc(void) { return malloc(TOO_MUCH) == NULL; }
static int try_calloc(void) { return calloc(TOO_MUCH / 16, 16) == NULL; }
static int try_shmget(void)
{
	int id = shmget(IPC_PRIVATE, TOO_MUCH, 0600);
	return id == -1 || shmctl(id, IPC_RMID, NULL) != 0;
}
static int try_realloc(void)
{
	char *p = malloc(100);
	memset(p, 7, 100);
	char *bigger = realloc(p, TOO_MUCH);
	int error = errno;
	if (bigger)
		return 0;
	check(p[0] == 7 && p[99] == 7, "the old block was lost");
	free(p);
	errno = error;
	return 1;
}
static int try_mprotect(void)
{
	char *p = mmap(NULL, TOO_MUCH, PROT_NONE, PRIVATE, -1, 0);
	check(p != MAP_FAILED);
	int refused = mprotect(p, TOO_MUCH, RW) == -1, error = errno;
	munmap(p, TOO_MUCH);
	errno = error;
	return refused;
}
static int try_fixed(void)
{
	char *p = mmap(NULL, TOO_MUCH, PROT_NONE, PRIVATE, -1, 0);
	check(p != MAP_FAILED && mprotect(p, 4096, RW) == 0);
	p[0] = 42;
	int refused = mmap(p, TOO_MUCH, RW, PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED, error = errno;
	check(p[0] == 42, "the old mapping is gone");
	munmap(p, TOO_MUCH);
	errno = error;
	return refused;
}

static const struct {
	const char *name;
	int (*act)(void);
} rows[] = {
	{ "mmap", try_mmap },
	{ "mmap shared", try_shared },
	{ "mmap 32 TiB", try_huge },
	{ "mmap GROWSDOWN", try_growsdown },
	{ "mremap", try_mremap },
	{ "sbrk", try_sbrk },
	{ "shmget", try_shmget },
	{ "mprotect", try_mprotect },
	{ "mmap FIXED", try_fixed },
	/* the heap keeps books of its own */
	{ "malloc", try_malloc },
	{ "calloc", try_calloc },
	{ "realloc", try_realloc },
};
enum { HEAP_ROWS = 9, NODES = 16 }; /* the page map takes 64 KiB at a time */

static void *nothing(void *arg) { return arg; }

int main(void)
{
	small = mmap(NULL, S, RW, PRIVATE, -1, 0);
	check(small != MAP_FAILED);
	long start = 0;
	for (int round = 0; round < 20; round++) {
		if (round == 1) /* the first time may map memory of our own */
			start = charged_pages();
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			long before = charged_pages(), account = account_pages(), maps = mappings();
			unsigned long refusals = figures().refusals;
			errno = 0;
			check(rows[i].act(), "%s was not refused", rows[i].name);
			check(errno == ENOMEM, "%s", rows[i].name);
			check(figures().refusals == refusals + 1, "%s: %lu refusals recorded", rows[i].name,
			      figures().refusals - refusals);
			if (round == 0 || i >= HEAP_ROWS)
				continue;
			check(charged_pages() <= before + NODES, "%s: charge grew by %ld", rows[i].name, charged_pages() - before);
			check(account_pages() <= account + NODES, "%s: the account grew", rows[i].name);
			check(mappings() == maps, "%s: %ld mappings more", rows[i].name, mappings() - maps);
		}
	}
	/* The heap may keep a slab or two of what a row allocated, but not one for each. */
	check(charged_pages() - start < 64, "%ld pages stayed charged", charged_pages() - start);

	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, TOO_MUCH);
	check(pthread_create(&thread, &attr, nothing, NULL) == EAGAIN, "a thread with too much stack");

	/* The kernel's own refusal, of what no program can map, is none of ours. */
	unsigned long refusals = figures().refusals;
	check(mprotect((void *)((1ul << 47) - 4096), 16 * 4096, RW) == -1 && errno == ENOMEM);
	check(mprotect((void *)(1ul << 60), 4096, RW) == -1 && errno == ENOMEM);
	check(figures().refusals == refusals, "a refusal of the kernel's was recorded");

	errno = 77;
	char *p = mmap(NULL, S, RW, PRIVATE, -1, 0);
	check(p != MAP_FAILED && mprotect(p, S, PROT_READ) == 0 && munmap(p, S) == 0);
	free(malloc(S));
	check(errno == 77, "success touched errno");
	return 0;
}
