/* SPDX-License-Identifier: MIT */
/* What libc's malloc says about itself and lets be tuned, answered for the heap that is
 * really there. What has no meaning in jemalloc is accepted and does nothing. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>

#include "include/base.h"
#include "shim/door.h"
#include "shim/heap.h"

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size);
extern void malloc_stats_print(void (*write)(void *, const char *), void *context, const char *options);

/* Bytes. committed = allocated + free; of the free, `idle` would come back by malloc_trim. */
struct heap_figures {
	size_t committed, allocated, idle;
};

static size_t figure(const char *name)
{
	size_t value = 0, bytes = sizeof value;
	return mallctl(name, &value, &bytes, NULL, 0) == 0 ? value : 0;
}

static size_t less(size_t a, size_t b)
{
	return a > b ? a - b : 0;
}

static struct heap_figures figures_read(void)
{
	/* jemalloc's figures are those of the last time somebody wrote here. */
	uint64_t epoch = 1;
	mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
	struct heap_figures f = {
		.committed = figure("stats.resident"),
		.allocated = figure("stats.allocated"),
		.idle = less(figure("stats.resident"), figure("stats.active") + figure("stats.metadata")),
	};
	f.committed = f.committed > f.allocated ? f.committed : f.allocated;
	return f;
}

SHIM_EXPORT struct mallinfo2 mallinfo2(void)
{
	struct heap_figures f = figures_read();
	return (struct mallinfo2){
		.arena = f.committed,
		.uordblks = f.allocated,
		.fordblks = f.committed - f.allocated,
		.keepcost = f.idle,
	};
}

static int to_int(size_t bytes)
{
	return bytes > INT_MAX ? INT_MAX : (int)bytes;
}

SHIM_EXPORT struct mallinfo mallinfo(void)
{
	struct heap_figures f = figures_read();
	return (struct mallinfo){
		.arena = to_int(f.committed),
		.uordblks = to_int(f.allocated),
		.fordblks = to_int(f.committed - f.allocated),
		.keepcost = to_int(f.idle),
	};
}

/* Totals in the form of libc's, for whoever parses it (malloc_info(3)). */
SHIM_EXPORT int malloc_info(int options, FILE *to)
{
	if (options != 0) {
		errno = EINVAL;
		return -1;
	}
	struct heap_figures f = figures_read();
	int n = fprintf(to,
			"<malloc version=\"1\">\n"
			"<total type=\"rest\" count=\"1\" size=\"%zu\"/>\n"
			"<system type=\"current\" size=\"%zu\"/>\n"
			"</malloc>\n",
			f.committed - f.allocated, f.committed);
	return n < 0 ? -1 : 0;
}

/* To standard error, as libc's; without the tables for each arena, bin and extent size. */
SHIM_EXPORT void malloc_stats(void)
{
	malloc_stats_print(NULL, NULL, "gmdablxe");
}

SHIM_EXPORT int malloc_trim(size_t keep)
{
	(void)keep;
	return heap_trim();
}

SHIM_EXPORT int mallopt(int option, int value)
{
	(void)option, (void)value;
	return 1; /* done (mallopt(3)) */
}
