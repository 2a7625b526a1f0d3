/* SPDX-License-Identifier: MIT */
/* The counters behind a watch, opened and read once in advance: from then on a reading is a
 * pread of files whose buffers exist, so it needs no memory when there is none. */
#pragma once

#include "daemon/killer/watch.h"

struct sensor {
	bool open;
	bool unified;
	int memory;	/* /proc/meminfo; or the group's usage */
	int limit, stat; /* the group's; else -1 */
	int stall;	/* the kernel's PSI file, where the policy asks for it; -1: it has none */
	int bell;	/* an eventfd that the kernel rings when usage crosses a threshold; -1: none */
	uint32_t machine; /* what no limit is beyond: RAM and swap, in pages */
	uint32_t limit_pages;
	uint64_t limit_ns; /* the limit was read last */
	uint32_t belled;   /* for this limit */
	uint32_t act, warn; /* pages, as of then */
};

/* Opens what the policy is about. 0, or -errno: there is no such group (yet). */
int sensor_open(struct sensor *s, const struct watch_policy *p);

/* 0 and `ret`, or -errno: the group is gone. Time lost is PSI's "full" total (Documentation/accounting/
 * psi.rst), 0 where there is none: its triggers need a window of 2 s or CAP_SYS_RESOURCE. The
 * machine's memory is what the kernel says is available (MemAvailable); a group's is its limit less
 * its usage, and what of that are files that can be read again: all inactive ones and half of the
 * active. */
int sensor_read(struct sensor *s, const struct watch_policy *p, uint64_t now_ns, struct reading *ret);

/* The bell was heard: it can ring again. */
void sensor_hear(const struct sensor *s);

void sensor_close(struct sensor *s);
