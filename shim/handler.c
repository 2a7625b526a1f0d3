/* SPDX-License-Identifier: MIT */
/* The kernel does not tell a thread that it is in a signal handler, but it cannot hide it:
 * every handler returns to the restorer of its signal (sa_restorer, which x86-64 demands:
 * arch/x86/kernel/signal_64.c:x64_setup_rt_frame), so that address stands on the stack above
 * us. One that an earlier signal left behind makes us careful for nothing. */
#include "shim/handler.h"

#include <stdint.h>

#include "shim/peek.h"
#include "shim/raw.h"

#define SIGNALS 64
#define RESTORERS 8			       /* libc's, and those of other runtimes */
#define LOOK_BYTES ((uintptr_t)128 << 10) /* a handler's own frames are not deeper */

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

struct restorers {
	int n;
	uintptr_t at[RESTORERS];
};

static bool is_among(const struct restorers *r, uintptr_t value)
{
	for (int i = 0; i < r->n; i++)
		if (r->at[i] == value)
			return true;
	return false;
}

/* False: there are more than fit. */
static bool restorers_collect(struct restorers *r)
{
	for (int signal = 1; signal <= SIGNALS; signal++) {
		struct kernel_sigaction action = { .restorer = 0 };
		raw_call4(SYS_rt_sigaction, signal, NULL, &action, sizeof action.mask);
		if (action.restorer == 0 || is_among(r, action.restorer))
			continue;
		if (r->n == RESTORERS)
			return false;
		r->at[r->n++] = action.restorer;
	}
	return true;
}

/* As far as we look: to the end of the stack, if that comes first. A thread's ends at its own
 * descriptor (glibc, nptl/allocatestack.c), and what lies behind may be anybody's, who unmaps
 * it while we read. */
static uintptr_t stack_end(uintptr_t here)
{
	uintptr_t end = (here & ~(PAGE_BYTES - 1)) + PAGE_BYTES, most = here + LOOK_BYTES;
	uintptr_t thread = (uintptr_t)__builtin_thread_pointer() & ~(sizeof here - 1);
	if (thread > here && thread < most)
		most = thread;
	while (end < most && peek_is_readable(end))
		end += PAGE_BYTES;
	return end < most ? end : most;
}

bool handler_is_running(void)
{
	struct restorers restorers = { .n = 0 };
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), end = stack_end(here);
	if (!restorers_collect(&restorers))
		return true;
	for (uintptr_t at = here; restorers.n != 0 && at < end; at += sizeof at)
		if (is_among(&restorers, *(const uintptr_t *)at))
			return true;
	return false;
}
