/* SPDX-License-Identifier: MIT */
/* What every door (exported libc name) shares: the export mark, recording a refusal,
 * and turning -errno into errno, which is written here and nowhere else. */
#pragma once

#include <errno.h>

#include "include/ledger.h"
#include "shim/raw.h"

/* Exported: shim/shim.map must list it too; `make exports` compares. */
#define SHIM_EXPORT __attribute__((visibility("default")))

/* Records a refusal in the account's ring and its counters: who, what, how much, why,
 * and where from (return addresses, shim/blame.c). Preserves errno. Not to be called
 * with jemalloc's locks held, nor with self_lock held. No effect when not a member. */
void door_refused(enum refusal_op op, uint64_t bytes, enum refusal_reason reason);

/* As above for observe mode: it went through, but would not have. */
void door_observed(enum refusal_op op, uint64_t bytes);

/* The last line of a door: the kernel's result as libc gives it. Success leaves errno
 * alone. */
static inline long door_result(long result)
{
	if (!raw_failed(result))
		return result;
	errno = (int)-result;
	return -1;
}
