/* SPDX-License-Identifier: MIT */
/* A lock for a few instructions and system calls, whose holder may be somebody who dies in it:
 * a child of vfork, which runs in our memory. Not recursive: whoever may be interrupted by a
 * handler that wants it, too, blocks signals. All zero is free; a child of fork makes it so. */
#pragma once

#include "include/base.h"

struct lock {
	uint32_t word; /* 0: free; else the tid of the holder, with the high bit when somebody waits */
};

enum lock_result {
	LOCK_TAKEN,
	LOCK_INHERITED, /* from a holder that was killed: what it began is for us to end */
	LOCK_NOT_TAKEN, /* after 2 s: its holder is alive, and does not come */
};

enum lock_result lock_take(struct lock *l);
void lock_release(struct lock *l);

/* All of them; the mask there was. For lock_take, and other places that must not be left. */
uint64_t signals_block(void);
void signals_restore(uint64_t mask);
