/* SPDX-License-Identifier: MIT */
/* This process's page map, and taking marks out of it for the length of a system call.
 *
 * An address belongs to whoever mapped it until the kernel has unmapped it; a moment
 * later another thread may be given it. So marks are lifted before the call that frees
 * the address, and laid again, there or elsewhere, when they should stand. */
#pragma once

#include "reserve/pagemap.h"

extern struct pagemap marks;

#define LIFT_RUNS 24

struct lifted {
	uintptr_t addr;
	uint64_t pages;   /* how much of what was asked is in here */
	uint64_t charged; /* pages */
	uint32_t n[PAGEMAP_PLANE_N];
	struct pagemap_run run[PAGEMAP_PLANE_N][LIFT_RUNS];
};

/* Takes the marks out of the first `ret->pages` pages of the range: all of it, unless its
 * marks are in more runs than fit. */
void marks_lift(uintptr_t addr, uint64_t pages, struct lifted *ret);

/* Lays the first `pages` pages of it at `to`. A mark that cannot be laid (no memory for a
 * node) is lost and its charge stays: too much, never too little. */
void marks_lay(const struct lifted *l, uintptr_t to, uint64_t pages);

/* How many of the lifted pages at or after page `from` were charged. */
uint64_t marks_charged_from(const struct lifted *l, uint64_t from);
