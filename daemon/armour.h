/* SPDX-License-Identifier: MIT */
/* A daemon that cannot be caught short: its pages stay, it never allocates, it is the last to be
 * killed and the first to run. What the kernel denies of this is said once, and gone without. */
#pragma once

#include "include/base.h"

/* Priority, slice and oom_score_adj, while we have the privileges for it; and what was denied. */
void armour_raise(void);
void armour_say(void);

/* For a child that runs somebody else's program: it goes first and runs last like everybody's. */
void armour_leave(void);

/* Locks what is resident of the program, its tables, libc and the stack: not mlockall(2), which
 * would lock tables for 400,000 members and every ledger. What was touched since the last time is
 * locked by the next. 0 or -errno, said once. */
int armour_lock(void);

/* The pages that lie wholly within are empty again, and nobody's. */
void armour_shed(void *start, size_t bytes);

/* Code and constants of files that were needed once are dropped: what is needed comes back, and is
 * what armour_lock finds. */
void armour_forget(void);

/* From now on this process and its children get no memory: mmap (but of shared files: ledgers at
 * a reload), brk, mremap and shmat are denied, and execve with them. 0 or -errno, said once. */
int armour_seal(void);

/* Ahead of everybody (SCHED_FIFO) while memory is short, or as before. */
void armour_hurry(bool hurry);
