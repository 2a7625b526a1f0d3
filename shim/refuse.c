/* SPDX-License-Identifier: MIT */
/* Recording a refusal: counted always, written down with all its circumstances as long as
 * that does not slow the program more than the refusal itself. A program that answers
 * ENOMEM by trying again may be refused a million times a second. */
#include "shim/refuse.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "reserve/ledger.h"
#include "reserve/refusal.h"
#include "shim/blame.h"
#include "shim/door.h"
#include "shim/origin.h"
#include "shim/raw.h"
#include "shim/self.h"

/* Records a process may write in one second of the clock; the rest is only counted. */
#define RECORDS_A_SECOND 100

/* second:32 | records:32 */
static uint64_t pace;

static bool pace_allows(uint64_t now_ns)
{
	uint64_t second = now_ns / 1000000000 << 32;
	uint64_t seen = __atomic_load_n(&pace, __ATOMIC_RELAXED), next;
	do {
		next = (seen & ~(uint64_t)UINT32_MAX) == second ? seen + 1 : second + 1;
		if ((uint32_t)next > RECORDS_A_SECOND)
			return false;
		/* Relaxed: only the number of records depends on it. */
	} while (!__atomic_compare_exchange_n(&pace, &seen, next, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return true;
}

static uint64_t clock_ns(void)
{
	struct timespec now = { 0 };
	raw_call2(SYS_clock_gettime, CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* May the walker run for this? Not in the loader's doors (it may have to load itself), nor
 * on the way to another image. */
static bool op_is_walked(enum refusal_op op)
{
	return op != OP_DLOPEN && op != OP_EXEC && op != OP_JOIN;
}

static void origin_find(struct refusal *r, const void *caller)
{
	uintptr_t frames[REFUSAL_FRAMES];
	int n = op_is_walked(r->op) ? blame_walk(frames, REFUSAL_FRAMES, caller) : 0;
	if (n == 0 && caller)
		frames[n++] = (uintptr_t)caller;
	origin_fill(r, frames, n);
}

static uint32_t to_u32(uint64_t pages)
{
	return pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
}

static void record(enum refusal_op op, uint64_t bytes, enum refusal_reason reason, bool observed,
		   const void *caller)
{
	struct ledger *l = self.ledger;
	uint64_t now = clock_ns();
	if (self.state != SELF_MEMBER || blame_is_walking())
		return;
	refusal_count(l, self.slot, pages_of(bytes), observed);
	if (!pace_allows(now))
		return;
	int error = errno;
	struct refusal r = {
		.time_ns = now,
		.pid = raw_getpid(),
		.tid = raw_gettid(),
		.op = (uint16_t)op,
		.reason = (uint16_t)reason,
		.observed = observed,
		.bytes = bytes,
		.limit = l->header.limit,
		.used = to_u32(ledger_used(l)),
		.member_used = PURSE_USED(__atomic_load_n(&l->slot[self.slot].purse.word, __ATOMIC_RELAXED)),
	};
	raw_call2(SYS_prctl, PR_GET_NAME, r.comm);
	origin_find(&r, caller);
	refusal_push(l, &r);
	errno = error;
}

void refuse_by(enum refusal_op op, uint64_t bytes, enum refusal_reason reason, const void *caller)
{
	record(op, bytes, reason, false, caller);
}

void door_refused(enum refusal_op op, uint64_t bytes, enum refusal_reason reason)
{
	record(op, bytes, reason, false, NULL);
}

void door_observed(enum refusal_op op, uint64_t bytes)
{
	record(op, bytes, REASON_LIMIT, true, NULL);
}
