/* SPDX-License-Identifier: MIT */
/* This process's page map, and taking marks out of it for the length of a system call.
 *
 * An address belongs to whoever mapped it until the kernel has unmapped it; a moment
 * later another thread may be given it. So marks are lifted before the call that frees
 * the address, and laid again, there or elsewhere, when they should stand. */
#pragma once

#include "reserve/pagemap.h"

extern struct pagemap marks;

/* Zeroed memory of our own, charged like everything: `ret_paid` pages, fewer than it has where
 * it lies on what is marked as charged still (a stack that libc unmapped unseen). NULL: refused,
 * or the kernel has none. Async-signal-safe. */
void *marks_own_memory(size_t bytes, uint64_t *ret_paid);

/* A call of this thread's is about to replace whatever is in `range` by something else: until the
 * next word none of our own memory is put there. Returns the last word, which is to be said again
 * when the call was made (a signal handler's may come in between). No pages: it may be anywhere. */
struct pagemap_run marks_keep_out(struct pagemap_run range);

/* mmap of zeroed private memory for ourselves, outside of that; its address or -errno. Not charged. */
long marks_map(size_t bytes);

#define LIFT_RUNS 24

struct lifted {
	uintptr_t addr;
	uint64_t pages;   /* how much of what was asked is in here */
	uint64_t charged; /* pages */
	uint32_t n[PAGEMAP_PLANE_N];
	struct pagemap_run *run[PAGEMAP_PLANE_N]; /* `few`, or memory of its own */
	size_t more_bytes;			  /* of that; 0: there is none */
	uint64_t more_paid;			  /* pages */
	struct pagemap_run few[PAGEMAP_PLANE_N][LIFT_RUNS];
};

/* Takes the marks out of the first `ret->pages` pages of the range: all of it, unless its
 * marks are in more runs than fit. Cannot fail, and needs no marks_drop. */
void marks_lift(uintptr_t addr, uint64_t pages, struct lifted *ret);

/* Takes all of them. False: there was no memory to keep them in, and nothing has changed. End
 * it with marks_drop. */
bool marks_lift_whole(uintptr_t addr, uint64_t pages, struct lifted *ret);
void marks_drop(struct lifted *l);

/* Sees to it that they can be laid somewhere else. False: no memory for the nodes. */
bool marks_lay_prepare(const struct lifted *l);

/* Lays the pages [from, end) of it at `to`. Returns for how many of them the charge goes on:
 * those that were not charged there already. A mark that cannot be laid (no memory for a
 * node) is lost and its charge stays: too much, never too little. */
uint64_t marks_lay(const struct lifted *l, uint64_t from, uint64_t end, uintptr_t to);
