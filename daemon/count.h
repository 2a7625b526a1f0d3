/* SPDX-License-Identifier: MIT */
/* What the kernel counts for the memory of a process. */
#pragma once

#include "include/base.h"

struct count {
	uint64_t size;     /* field 1; 0: no address space, a first thread that has ended, or a kernel thread */
	uint64_t shared;   /* field 3 */
	uint64_t data;     /* private and writable, and the stack: field 6 of statm (proc_pid_statm(5)) */
	uint64_t resident; /* field 2 */
};

/* What count_quick reads, to be kept open; the descriptor (the caller's) or -errno. */
int count_open(int32_t pid);

/* Costs 2 us, whatever the process's size, and everybody may ask; 5 us more where `fd`, from
 * count_open, is below 0. 0 and `ret`, or -errno. */
int count_quick(int32_t pid, int fd, struct count *ret);

/* The pages of its mappings with VM_ACCOUNT, `ac` in smaps: what the kernel promised to it
 * privately. Some 3 us a mapping and 30 ms a resident GiB, in which the process can map
 * nothing, and not one instant. 0 and `ret`, or -errno. */
int count_whole(int32_t pid, uint64_t *ret_pages);

/* The pages that are its alone, resident or swapped out: what its end returns, exactly. 4 ms a
 * resident GiB. 0 and `ret`, or -errno. */
int count_alone(int32_t pid, uint64_t *ret_pages);

/* Do the two run in one address space, as a child of vfork does with its parent? False
 * also when they may not be asked. */
bool count_is_shared(int32_t one, int32_t other);
