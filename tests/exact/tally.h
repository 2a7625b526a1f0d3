/* SPDX-License-Identifier: MIT */
/* What a sequence reports to tests/exact/drive.c: records, one from each of its processes. */
#pragma once

#include "include/base.h"

/* Names for pages that are charged and not counted by the kernel. */
enum over {
	OVER_NORESERVE, /* MAP_NORESERVE, which the kernel leaves out */
	OVER_PROTECTED, /* made read-only again unwritten: the kernel gave it back */
	OVER_NO_COPY,	/* MADV_DONTFORK, in a child */
	OVER_STACK,	/* the main thread's stack, paid for and not used yet */
	OVER_GUARD,	/* guard pages of threads' stacks */
	OVER_STALE,	/* threads' stacks that libc has unmapped: until it is noticed, or something of the loader's
			 * that was put there goes */
	OVER_HOLES,	/* of files in memory: not instantiated yet */
	OVER_N
};

/* What was done and seen. Records are added up by tests/exact/drive.c. */
struct tally {
	uint64_t calls, refused, forks, checks;
	uint64_t barriers; /* checks of several threads */
	struct {
		uint64_t checks; /* in which there were any */
		uint64_t most;	 /* pages in one of them */
	} over[OVER_N];
};

/* Of SysV segments: so that those that a killed sequence left behind are known by it. */
#define SEGMENT_MODE 0642

#define ACTORS 5	 /* at most; the first is the main thread */
#define STEPS_TOGETHER 8 /* of each thread between two barriers */
