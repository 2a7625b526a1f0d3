/* SPDX-License-Identifier: MIT */
#pragma once

#include <errno.h>

#include "include/base.h"
#include "shim/raw.h"

/* Can the page at `address` be read? That memory is charged does not say so: it may have been
 * protected since. The kernel copies a signal mask from there before it finds that it does
 * not know what to do with it (kernel/signal.c:rt_sigprocmask), and no sandbox forbids that.
 * The lowest page of a growing stack is there if it can be. Async-signal-safe. */
static inline bool peek_is_readable(uintptr_t address)
{
	return raw_call4(SYS_rt_sigprocmask, -1, address & ~(PAGE_BYTES - 1), NULL, sizeof(uint64_t)) != -EFAULT;
}
