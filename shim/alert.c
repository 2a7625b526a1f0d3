/* SPDX-License-Identifier: MIT */
/* A program that wants to hear of memory getting short before it is refused any. The thread is the
 * program's own, made because it asked: we start none by ourselves. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>

#include "include/solvent/solvent.h"
#include "reserve/ledger.h"
#include "shim/alert.h"
#include "shim/door.h"
#include "shim/raw.h"
#include "shim/self.h"

static solvent_alert_fn *callback;
static void *context;

/* Acquire: pairs with the release in daemon/alert.c, so that the level is of this alert or later. */
static uint32_t alerts_read(void)
{
	return __atomic_load_n(&self.ledger->header.alert, __ATOMIC_ACQUIRE);
}

static void *alerts_wait(void *nothing)
{
	for (uint32_t seen = alerts_read();;) {
		raw_call4(SYS_futex, &self.ledger->header.alert, FUTEX_WAIT, seen, 0);
		uint32_t now = alerts_read();
		if (now != seen)
			callback((int)__atomic_load_n(&self.ledger->header.alert_level, __ATOMIC_RELAXED), context);
		seen = now;
	}
	return nothing;
}

/* The program's signals are for its own threads. */
static int waiter_start(void)
{
	pthread_t thread;
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, NULL, alerts_wait, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_detach(thread);
	return error;
}

void alert_child(void)
{
	if (callback) /* what is written to is copied */
		callback = NULL;
}

SHIM_EXPORT int solvent_on_alert(solvent_alert_fn *function, void *with)
{
	if (self.state != SELF_MEMBER || !function) {
		errno = self.state != SELF_MEMBER ? ENOTCONN : EINVAL;
		return -1;
	}
	solvent_alert_fn *none = NULL;
	/* The context before the thread, which starts after both. */
	if (!__atomic_compare_exchange_n(&callback, &none, function, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		errno = EBUSY;
		return -1;
	}
	context = with;
	int error = waiter_start();
	if (!error)
		return 0;
	__atomic_store_n(&callback, NULL, __ATOMIC_RELEASE);
	errno = error;
	return -1;
}
