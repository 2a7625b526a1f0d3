/* SPDX-License-Identifier: MIT */
/* Description: however memory is asked for, a refusal is ENOMEM, is recorded once, and leaves
 * the old block, the charge and the addresses as they were. posix_memalign says so by its
 * result and leaves errno alone; xallocx has no error to give.
 * Budget: 64M */
#include <dlfcn.h>
#include <malloc.h>

#include "tests/probes/probe.h"

#define TOO_MUCH ((size_t)256 << 20)
#define OLD 1000

static void *(*mallocx)(size_t, int);
static void *(*rallocx)(void *, size_t, int);
static size_t (*xallocx)(void *, size_t, size_t, int);
static unsigned char *old;

static int try_malloc(void) { return malloc(TOO_MUCH) == NULL; }
static int try_calloc(void) { return calloc(TOO_MUCH / 8, 8) == NULL; }
static int try_realloc(void) { return realloc(old, TOO_MUCH) == NULL; }
static int try_realloc_new(void) { return realloc(NULL, TOO_MUCH) == NULL; }
static int try_reallocarray(void) { return reallocarray(old, TOO_MUCH / 8, 8) == NULL; }
static int try_memalign(void) { return memalign(1 << 16, TOO_MUCH) == NULL; }
static int try_aligned_alloc(void) { return aligned_alloc(64, TOO_MUCH) == NULL; }
static int try_valloc(void) { return valloc(TOO_MUCH) == NULL; }
static int try_pvalloc(void) { return pvalloc(TOO_MUCH) == NULL; }
static int try_mallocx(void) { return mallocx(TOO_MUCH, 0) == NULL; }
static int try_rallocx(void) { return rallocx(old, TOO_MUCH, 0) == NULL; }

static const struct {
	const char *name;
	int (*act)(void);
	int sets_errno;
} rows[] = {
	{ "malloc", try_malloc, 1 },		 { "calloc", try_calloc, 1 },
	{ "realloc", try_realloc, 1 },		 { "realloc of NULL", try_realloc_new, 1 },
	{ "reallocarray", try_reallocarray, 1 }, { "memalign", try_memalign, 1 },
	{ "aligned_alloc", try_aligned_alloc, 1 }, { "valloc", try_valloc, 1 },
	{ "pvalloc", try_pvalloc, 1 },		 { "mallocx", try_mallocx, 1 },
	{ "rallocx", try_rallocx, 1 },
};

static void old_is_whole(const char *name)
{
	for (int i = 0; i < OLD; i++)
		check(old[i] == (unsigned char)i, "%s: the old block is damaged", name);
}

int main(void)
{
	mallocx = (void *(*)(size_t, int))(uintptr_t)dlsym(RTLD_DEFAULT, "mallocx");
	rallocx = (void *(*)(void *, size_t, int))(uintptr_t)dlsym(RTLD_DEFAULT, "rallocx");
	xallocx = (size_t(*)(void *, size_t, size_t, int))(uintptr_t)dlsym(RTLD_DEFAULT, "xallocx");
	old = malloc(OLD);
	for (int i = 0; i < OLD; i++)
		old[i] = (unsigned char)i;
	for (int round = 0; round < 3; round++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			unsigned long refusals = figures().refusals;
			long charge = charged_pages();
			errno = 77;
			check(rows[i].act(), "%s was not refused", rows[i].name);
			check(errno == ENOMEM, "%s", rows[i].name);
			check(figures().refusals == refusals + 1, "%s: recorded %lu times", rows[i].name,
			      figures().refusals - refusals);
			old_is_whole(rows[i].name);
			/* The first refusal loads what walks the stack. */
			check(round == 0 || charged_pages() <= charge, "%s: charge grew by %ld", rows[i].name,
			      charged_pages() - charge);
		}

	void *p = (void *)1;
	unsigned long refusals = figures().refusals;
	errno = 77;
	check(posix_memalign(&p, 64, TOO_MUCH) == ENOMEM && errno == 77 && p == (void *)1);
	check(figures().refusals == refusals + 1);

	void *big = malloc(8 << 20);
	check(big && xallocx(big, TOO_MUCH, 0, 0) < TOO_MUCH && errno == 77);
	check(figures().refusals == refusals + 1, "xallocx recorded a refusal that is none");
	check(malloc_usable_size(big) >= 8 << 20);

	/* After all this the heap is as good as before. */
	check((p = malloc(16 << 20)) != NULL && errno == 77);
	return 0;
}
