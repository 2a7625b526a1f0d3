/* SPDX-License-Identifier: MIT */
/* Charging before an act of libc's whose memory we do not map ourselves: exec, a thread's
 * stack, a library. */
#pragma once

#include "include/ledger.h"
#include "shim/raw.h"
#include "shim/self.h"

/* Takes the charge, purging what this process can spare before it gives up. True: go on;
 * `ret_paid` pages were charged and are to be given back or settled (fewer than asked only
 * in observe mode). False: refused, and recorded under `op`. errno stays. */
bool afford(enum refusal_op op, uint64_t pages, enum category category, uint64_t *ret_paid);

/* Is this a refusal that pages given back could cure? */
static inline bool afford_may_help(enum refusal_reason reason)
{
	return reason == REASON_LIMIT || reason == REASON_POOL || reason == REASON_BROKER;
}

/* Uncharges what libc has unmapped unseen: stacks of threads, and data of libraries that were
 * closed by a way round our door, or just when something else stood in their place for a moment
 * (the stack of a posix_spawn). True if anything came back. */
bool afford_sweep(void);

/* In a child of fork: nobody sweeps. */
void afford_child(void);

/* Gives back what this process holds and does not need: idle heap, and what is gone. True if
 * anything came back. Not in a child of vfork: it would be killed, if it is, with its parent's
 * locks. */
bool afford_purge(void);

/* Are we a guest in this address space: a child of vfork, or of clone with CLONE_VM? It
 * pays and is paid for as its parent, but must leave nothing behind when it calls exec. */
static inline bool space_is_borrowed(void)
{
	return self.pid != raw_getpid() && !self_is_copy();
}
