/* SPDX-License-Identifier: MIT */
#include "shim/lock.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "shim/confined.h"
#include "shim/raw.h"

#define LOCK_WAITED 0x80000000u
#define LOCK_TRY_NS 10000000L /* then see whether the holder still lives */
#define LOCK_TRIES 200

static bool word_swap(struct lock *l, uint32_t seen, uint32_t word)
{
	/* Acquire: pairs with the release in lock_release. */
	return __atomic_compare_exchange_n(&l->word, &seen, word, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* Who was killed has a tid until its parent has waited for it, which may be us, or nobody soon. It has
 * left its memory then (kernel/exit.c:do_exit), and a pidfd says so, of whosever child it is. A thread
 * has no pidfd, and no tid either when it has ended. */
static bool has_ended(uint32_t tid)
{
	long fd = confined() ? -EPERM : raw_call2(SYS_pidfd_open, tid, 0);
	if (raw_failed(fd))
		return false;
	struct pollfd end = { .fd = (int)fd, .events = POLLIN };
	struct timespec now = { 0 };
	bool ended = raw_call6(SYS_ppoll, &end, 1, &now, NULL, 0, 0) == 1;
	raw_call1(SYS_close, fd);
	return ended;
}

static bool holder_is_gone(uint32_t word)
{
	uint32_t tid = word & ~LOCK_WAITED;
	return raw_call2(SYS_tkill, tid, 0) == -ESRCH || has_ended(tid);
}

static enum lock_result lock_wait(struct lock *l, uint32_t me)
{
	for (int tries = 0; tries < LOCK_TRIES; tries++) {
		/* Marked as waited for, since others may sleep beside us and would never be
		 * woken otherwise. */
		if (word_swap(l, 0, me | LOCK_WAITED))
			return LOCK_TAKEN;
		uint32_t seen = __atomic_load_n(&l->word, __ATOMIC_RELAXED), waited = seen | LOCK_WAITED;
		if (seen == 0 || (seen != waited && !word_swap(l, seen, waited)))
			continue;
		struct timespec pause = { .tv_nsec = LOCK_TRY_NS };
		long r = raw_call4(SYS_futex, &l->word, FUTEX_WAIT_PRIVATE, waited, &pause);
		if (r == -ETIMEDOUT && holder_is_gone(waited) && word_swap(l, waited, me | LOCK_WAITED))
			return LOCK_INHERITED;
	}
	return LOCK_NOT_TAKEN;
}

enum lock_result lock_take(struct lock *l)
{
	uint32_t me = (uint32_t)raw_gettid();
	return word_swap(l, 0, me) ? LOCK_TAKEN : lock_wait(l, me);
}

void lock_release(struct lock *l)
{
	/* Release: pairs with word_swap; what was done in it is seen by the next. */
	uint32_t old = __atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE);
	if (old & LOCK_WAITED)
		raw_call3(SYS_futex, &l->word, FUTEX_WAKE_PRIVATE, 1);
}

static uint64_t mask_set(uint64_t mask)
{
	uint64_t old = 0;
	raw_call4(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof mask);
	return old;
}

uint64_t signals_block(void)
{
	return mask_set(UINT64_MAX);
}

void signals_restore(uint64_t mask)
{
	mask_set(mask);
}
