/* SPDX-License-Identifier: MIT */
/* What the kernel says about this process: its mappings with their flags
 * (proc_pid_smaps(5)) and its own sum of private writable pages (statm, field 6). */
#pragma once

#include "include/base.h"

enum mapping_is {
	MAPPING_ACCOUNTED = 1 << 0, /* ac: counted against the commit limit */
	MAPPING_WRITABLE = 1 << 1,  /* wr */
	MAPPING_SHARED = 1 << 2,    /* sh */
	MAPPING_NORESERVE = 1 << 3, /* nr */
	MAPPING_STACK = 1 << 4,     /* gd */
	MAPPING_DROPPABLE = 1 << 5, /* dp */
	MAPPING_HUGE = 1 << 6,      /* ht */
	MAPPING_NO_COPY = 1 << 7,   /* dc: not for children */
};

struct mapping {
	uintptr_t start, end;
	uint32_t is;
};

#define MAPPINGS 4096

struct kernel {
	uint32_t n;
	uint64_t accounted; /* pages of all `ac` mappings */
	uint64_t data;      /* statm, field 6 */
	struct mapping mapping[MAPPINGS]; /* by address */
};

/* Reads both, allocating nothing. 0; or -errno, -E2BIG for too many mappings, -EBADMSG for
 * what is not smaps. The caller sees to it that nobody maps meanwhile. */
int kernel_read(struct kernel *ret);

/* The pages that statm should count, by the flags alone: mm/vma.h:is_data_mapping and
 * is_stack_mapping. They differ from `data` when a mapping was misread. */
uint64_t kernel_data(const struct kernel *k);

/* The mapping that holds `addr`, or the first one after it; NULL: none. */
const struct mapping *kernel_at(const struct kernel *k, uintptr_t addr);
