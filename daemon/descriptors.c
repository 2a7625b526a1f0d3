/* SPDX-License-Identifier: MIT */
/* What a daemon inherits by mistake - a shell's pipe, a test's log - somebody else waits
 * to see closed. */
#include "daemon/descriptors.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int number_order(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

void descriptors_keep(int *keep, uint32_t n)
{
	int from = STDERR_FILENO + 1;
	qsort(keep, n, sizeof *keep, number_order);
	for (uint32_t i = 0; i < n; i++) {
		if (keep[i] < from)
			continue;
		if (keep[i] > from)
			close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
		from = keep[i] + 1;
	}
	close_range((unsigned)from, ~0u, 0);
}

void descriptors_drop_stdio(void)
{
	int null = open("/dev/null", O_RDWR);
	for (int fd = 0; fd <= STDERR_FILENO && null >= 0; fd++)
		dup2(null, fd);
	if (null > STDERR_FILENO)
		close(null);
}
