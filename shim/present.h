/* SPDX-License-Identifier: MIT */
/* Which addresses are mapped, asked of the kernel by the way: without /proc, which may not be
 * there, and without changing anything. A range that nobody owns may of course be another
 * thread's before the answer is read. Async-signal-safe; errno stays. */
#pragma once

#include "include/base.h"

/* Is all of it mapped? */
bool present_whole(uintptr_t addr, uint64_t pages);

/* How many pages from `addr` on are mapped without a hole, at most `pages`. */
uint64_t present_prefix(uintptr_t addr, uint64_t pages);

/* How many pages from `addr` on are not mapped, at most `pages`. Where the kernel has no room
 * for one more mapping it cannot be asked, and the answer is 0. */
uint64_t present_gap(uintptr_t addr, uint64_t pages);

/* The same where present_prefix has just found a page missing: at least that one, whatever the
 * kernel says now. 0 of no pages. */
uint64_t present_missing(uintptr_t addr, uint64_t pages);

/* Maps a range that is free, without access, so that nobody else can: 0, or -EEXIST when
 * something is mapped there, or another -errno when the kernel has no room. The caller
 * unmaps it (raw_munmap). */
long present_occupy(uintptr_t addr, uint64_t pages);
