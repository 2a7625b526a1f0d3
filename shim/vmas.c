/* SPDX-License-Identifier: MIT */
/* A process may have 65530 mappings (vm.max_map_count, mm/mmap.c), and every piece of heap
 * that is given back for good splits one. A fragmented heap would end by being refused
 * everything, by the kernel, with memory left. So from half of that on pieces are given
 * back softly: see shim/heap.c.
 *
 * A change makes two mappings more at most. Counting takes 0.2 us for each, so the next
 * count is put off until the changes made since could matter. */
#include "shim/vmas.h"

#include <fcntl.h>
#include <stdint.h>

#include "include/base.h"
#include "shim/confined.h"
#include "shim/raw.h"

#define MAX_DEFAULT 65530
#define COUNT_FIRST 4096 /* changes before the first count */
#define COUNT_SOONEST 512
#define COUNTING INT32_MAX

static int32_t changes_left = COUNT_FIRST;
static bool are_short;

static long file_open(const char *path)
{
	return confined() ? -1 : raw_call4(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

static uint32_t max_read(void)
{
	char text[16];
	uint32_t max = 0;
	long fd = file_open("/proc/sys/vm/max_map_count");
	if (raw_failed(fd))
		return MAX_DEFAULT;
	long n = raw_call3(SYS_read, fd, text, sizeof text);
	raw_call1(SYS_close, fd);
	for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9' && max < UINT32_MAX / 16; i++)
		max = max * 10 + (uint32_t)(text[i] - '0');
	return max ? max : MAX_DEFAULT;
}

/* Lines of /proc/self/maps; 0 when it cannot be read. */
static uint32_t mappings_count(void)
{
	char text[4096];
	uint32_t lines = 0;
	long n, fd = file_open("/proc/self/maps");
	if (raw_failed(fd))
		return 0;
	while ((n = raw_call3(SYS_read, fd, text, sizeof text)) > 0)
		for (long i = 0; i < n; i++)
			lines += text[i] == '\n';
	raw_call1(SYS_close, fd);
	return lines;
}

static int32_t between(uint32_t low, uint32_t value, uint32_t high)
{
	return (int32_t)(value < low ? low : value > high ? high : value);
}

static void recount(void)
{
	uint32_t max = max_read(), now = mappings_count(), half = max / 2;
	/* A little early, so that the counts do not crowd as the half comes near. */
	bool enough = now >= half - half / 8;
	uint32_t room = enough ? (now < max ? (max - now) / 4 : 0) : (half - now) / 2;
	/* Relaxed, both: whoever reads an old answer counts once more, or splits once more. */
	__atomic_store_n(&are_short, enough, __ATOMIC_RELAXED);
	__atomic_store_n(&changes_left, between(COUNT_SOONEST, room, max / 8), __ATOMIC_RELAXED);
}

bool vmas_are_short(void)
{
	int32_t left = __atomic_fetch_sub(&changes_left, 1, __ATOMIC_RELAXED);
	if (unlikely(left <= 0) &&
	    /* Relaxed: it only chooses who counts. */
	    __atomic_exchange_n(&changes_left, COUNTING, __ATOMIC_RELAXED) <= 0)
		recount();
	return __atomic_load_n(&are_short, __ATOMIC_RELAXED);
}

void vmas_child(void)
{
	if (__atomic_load_n(&changes_left, __ATOMIC_RELAXED) > COUNTING / 2)
		__atomic_store_n(&changes_left, 0, __ATOMIC_RELAXED);
}
