/* SPDX-License-Identifier: MIT */
#include "shim/present.h"

#include <errno.h>
#include <sys/mman.h>

#include "shim/raw.h"

/* msync with MS_ASYNC does nothing but look, and says ENOMEM when it meets a hole
 * (mm/msync.c). */
bool present_whole(uintptr_t addr, uint64_t pages)
{
	return raw_call3(SYS_msync, addr, bytes_of(pages), MS_ASYNC) != -ENOMEM;
}

/* The largest n up to `pages` for which `holds`, which does for 0 and for no more than one
 * stretch from there. */
static uint64_t largest(bool (*holds)(uintptr_t addr, uint64_t pages), uintptr_t addr, uint64_t pages)
{
	uint64_t low = 0, high = pages;
	if (pages == 0 || holds(addr, pages))
		return pages;
	for (high--; low < high;) {
		uint64_t middle = low + (high - low + 1) / 2;
		if (holds(addr, middle))
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

uint64_t present_prefix(uintptr_t addr, uint64_t pages)
{
	return largest(present_whole, addr, pages);
}

static bool is_free(uintptr_t addr, uint64_t pages)
{
	bool is = present_occupy(addr, pages) == 0;
	if (is)
		raw_munmap((void *)addr, bytes_of(pages));
	return is;
}

uint64_t present_gap(uintptr_t addr, uint64_t pages)
{
	return largest(is_free, addr, pages);
}

uint64_t present_missing(uintptr_t addr, uint64_t pages)
{
	return pages == 0 ? 0 : max_u64(present_gap(addr, pages), 1);
}

long present_occupy(uintptr_t addr, uint64_t pages)
{
	long r = raw_mmap((void *)addr, bytes_of(pages), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (raw_failed(r))
		return r;
	if ((uintptr_t)r == addr)
		return 0;
	raw_munmap((void *)r, bytes_of(pages)); /* before Linux 4.17 it was only a hint */
	return -EEXIST;
}
