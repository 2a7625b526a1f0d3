/* SPDX-License-Identifier: MIT */
/* Ranges of this address space that libc maps and unmaps without us, and that we charged
 * when we heard of them: stacks of threads, data of libraries. A set remembers them, so
 * that those that are gone can be found and uncharged.
 *
 * Lock-free and fork-safe: one word a range, words are never moved. */
#pragma once

#include "include/ledger.h"

#define SPANS_FIRST 64
#define SPANS_MORE 511

struct spans_block {
	struct spans_block *next;
	uint64_t word[SPANS_MORE];
};

/* All zero is an empty set. A word is 0 or page number:35 | pages:29. */
struct spans {
	enum category category;
	uint64_t pages; /* in all of them; relaxed, for pacing */
	struct spans_block *more;
	uint64_t word[SPANS_FIRST];
};

/* `addr` is rounded down and the end up to whole pages. When there is no memory to remember
 * it by, the range is forgotten: its charge stays until this process ends. */
void spans_add(struct spans *s, uintptr_t addr, size_t bytes);

/* Is exactly this range in the set? */
bool spans_has(const struct spans *s, uintptr_t addr, size_t bytes);

struct span {
	uintptr_t addr;
	uint64_t pages;
};

/* The range that contains `addr`. False: none does. */
bool spans_around(const struct spans *s, uintptr_t addr, struct span *ret);

/* Is it mapped without a hole and charged without a gap? */
bool span_is_whole(const struct span *s);

/* Forgets and uncharges what is gone. True if anything came back. Async-signal-safe; errno
 * stays. One system call for each range that is still there. */
bool spans_sweep(struct spans *s);
