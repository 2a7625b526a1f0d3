/* SPDX-License-Identifier: MIT */
#include "daemon/killer/reclaim.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/proc.h"

#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define RANGES 512u

struct ranges {
	int pidfd;
	uint32_t n;
	int error;
	struct iovec range[RANGES];
};

/* One at a time where the kernel stops at one: a locked range, or one that is gone. */
static void ranges_flush(struct ranges *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		if (syscall(SYS_process_madvise, r->pidfd, &r->range[i], 1, MADV_PAGEOUT, 0) < 0 && errno != EINVAL)
			r->error = errno;
	r->n = 0;
}

static bool line_add(void *context, const char *line)
{
	struct ranges *r = context;
	unsigned long start, end;
	if (sscanf(line, "%lx-%lx", &start, &end) != 2)
		return false;
	r->range[r->n++] = (struct iovec){ (void *)start, end - start };
	if (r->n == RANGES)
		ranges_flush(r);
	return r->error == ESRCH || r->error == EPERM;
}

int reclaim_try(int pidfd, int32_t pid)
{
	static struct ranges r;
	r = (struct ranges){ .pidfd = pidfd };
	int error = proc_lines(proc_file(pid, "maps"), line_add, &r);
	if (error < 0)
		return error;
	ranges_flush(&r);
	return -r.error;
}
