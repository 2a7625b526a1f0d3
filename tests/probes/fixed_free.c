/* SPDX-License-Identifier: MIT */
/* Description: a fixed mapping to where nothing is does not fall on memory of our own that is needed to
 * remember it.
 * Budget: 256M */
#include <fcntl.h>
#include <sys/mman.h>

#include "tests/probes/probe.h"

#define HOLE ((size_t)40 << 30) /* a node for each GiB, 14 of which fit into 64 KiB */
#define BLOCK ((size_t)64 << 10)

static char path[] = "/var/tmp/solvent-fixed-XXXXXX";

static void *nothing_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(p != MAP_FAILED);
	return p;
}

/* Everything above it is filled: the kernel takes the highest place that is free. */
static char *hole_make(void)
{
	char *hole = nothing_map(HOLE), *p;
	check(munmap(hole, HOLE) == 0);
	for (int i = 0; i < 30000; i++) {
		p = nothing_map(BLOCK);
		if (p >= hole && p < hole + HOLE) {
			check(munmap(p, BLOCK) == 0);
			return hole;
		}
	}
	skip("there are too many holes here");
}

int main(void)
{
	int fd = mkstemp(path);
	check(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)HOLE) == 0, "%s", path);
	char *hole = hole_make();
	char *p = mmap(hole, HOLE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	check(p == hole);
	/* Marks of ours would be at its end, and be the file's. */
	for (size_t at = HOLE - 16 * BLOCK; at < HOLE; at++)
		check(p[at] == 0, "%zu bytes before its end something was written", HOLE - at);
	check(munmap(p, HOLE) == 0);
	return 0;
}
