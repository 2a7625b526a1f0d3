/* SPDX-License-Identifier: MIT */
/* fork, and everything that forks inside libc: the child's charge is taken first, so that
 * a fork over budget is a -1 that the caller can handle and not a kill at some later write.
 *
 * Between the charge and the fork every signal is blocked. A handler that forked there
 * would open a second window in the same thread (shim/charge.c knows one), and a handler
 * that jumped out would leave ours open. libc blocks signals around its own fork, too.
 *
 * vfork is not here: its child runs in the parent's memory and costs nothing, and a
 * wrapper would return into a frame that the child has overwritten. */
#include "shim/fork.h"

#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "shim/afford.h"
#include "shim/broker.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/inject.h"
#include "shim/loaded.h"
#include "shim/lock.h"
#include "shim/next.h"
#include "shim/raw.h"
#include "shim/self.h"

/* The fork this thread is in the middle of. The child finds it here, in its copy of this
 * variable and of the stack: pthread_atfork handlers take no argument. */
static __thread __attribute__((tls_model("initial-exec"))) struct birth *under_way;

/* --- the parent, before --- */

/* What the child is let in with. */
static uint64_t entry_pages(uint64_t pages)
{
	uint64_t percent = self.ledger->header.fork_percent;
	return percent < 100 ? (pages * percent + 99) / 100 : pages;
}

/* What will cover the child beside its charge, the audit must find as soon as it lives in the slot,
 * and the child must not write there sooner: its embryo may be given up by then, and the slot
 * another's. So it is written now. */
static void child_cover(struct embryo *e, uint64_t credit)
{
	e->credit = (uint32_t)credit;
	/* Relaxed: the child is born, and the slot adopted, after it. */
	__atomic_store_n(&self.ledger->slot[e->slot].credit, e->credit, __ATOMIC_RELAXED);
	charge_soft_show(e->slot);
}

static enum refusal_reason embryo_pay(uint64_t pages, struct embryo *ret)
{
	if (inject_refuses())
		return REASON_LIMIT;
	if (!self_lock_blocked())
		return REASON_BROKER;
	struct gather g = self_gather();
	g.context = ret; /* for a child: shim/broker.c:broker_extend */
	uint64_t entry = entry_pages(pages);
	enum refusal_reason reason = embryo_conceive(&g, entry, ret);
	if (reason == REASON_NONE)
		child_cover(ret, pages - entry);
	self_unlock_blocked();
	return reason;
}

/* Opens the window in which others' charges pay for the child too; refused, it is shut. */
static enum refusal_reason birth_pay(struct birth *b, uint64_t *ret_pages)
{
	*ret_pages = charge_fork_begin();
	enum refusal_reason reason = embryo_pay(*ret_pages, &b->embryo);
	b->covered = reason == REASON_NONE;
	if (b->covered)
		charge_fork_cover(&b->embryo);
	else
		charge_fork_end();
	return reason;
}

/* The child may be gone before the broker looks again, and only the broker gives back what it
 * leaves behind. */
static void bell_answer(void)
{
	if (unlikely(embryo_bell_is_unheard(self.ledger)))
		broker_knock();
}

static bool birth_refuse(const struct birth *b, uint64_t pages, enum refusal_reason reason)
{
	signals_restore(b->signals);
	door_refused(OP_FORK, bytes_of(pages), reason);
	errno = reason == REASON_SLOTS ? EAGAIN : ENOMEM;
	return false;
}

bool birth_begin(struct birth *b)
{
	uint64_t pages;
	b->counted = b->covered = false;
	if (self.state == SELF_MEMBER && self_is_copy())
		self_become_child(NULL);
	if (self.state != SELF_MEMBER)
		return true;
	loaded_settle_due();
	b->signals = signals_block();
	enum refusal_reason reason = birth_pay(b, &pages);
	/* What a purge gives back is not inherited either, so the price is asked again. */
	if (afford_may_help(reason) && afford_purge())
		reason = birth_pay(b, &pages);
	bool observed = self.ledger->header.mode == ACCOUNT_OBSERVE;
	if (!b->covered && !observed)
		return birth_refuse(b, pages, reason);
	if (observed && (!b->covered || gather_is_over(self.ledger)))
		door_observed(OP_FORK, bytes_of(pages));
	if (b->covered)
		bell_answer();
	b->outer = under_way;
	under_way = b;
	b->counted = true;
	return true;
}

/* --- both, after --- */

static void birth_child(struct birth *b)
{
	under_way = b->outer;
	self_born(b->covered ? &b->embryo : NULL);
}

static void birth_release(struct birth *b)
{
	/* Where the lock cannot be had the embryo stays ours, and goes when we go. */
	if (!self_lock_blocked())
		return;
	embryo_release(self.ledger, self.slot, b->embryo);
	self_unlock_blocked();
}

static void birth_parent(struct birth *b, pid_t pid)
{
	under_way = b->outer;
	if (!b->covered)
		return;
	charge_fork_end();
	/* In a pid namespace of our own the broker cannot use the number; the child tells it. */
	if (pid <= 0) {
		birth_release(b);
		return;
	}
	embryo_born(self.ledger, self.slot, b->embryo, self.pid == self.broker_pid ? pid : 0);
	bell_answer();
}

void birth_end(struct birth *b, pid_t pid)
{
	if (!b->counted)
		return;
	/* daemon(3) returns -1 from the child too: there our handler has run already. */
	if (under_way == b && pid != 0)
		birth_parent(b, pid);
	else if (under_way == b)
		birth_child(b);
	signals_restore(b->signals);
}

static void fork_in_child(void)
{
	if (under_way)
		birth_child(under_way);
	else if (self_is_copy())
		self_become_child(NULL);
}

void fork_register(void)
{
	static bool done;
	/* Relaxed: the constructor is alone, and so is malloc's first call before it. */
	if (!__atomic_exchange_n(&done, true, __ATOMIC_RELAXED))
		pthread_atfork(NULL, NULL, fork_in_child);
}

/* --- the doors --- */

SHIM_EXPORT pid_t fork(void)
{
	struct birth b;
	if (!birth_begin(&b))
		return -1;
	pid_t pid = next()->fork();
	birth_end(&b, pid);
	return pid;
}

/* Older programs and some libraries call it by this name (posix/fork.c). */
SHIM_EXPORT pid_t __fork(void) __attribute__((alias("fork"), copy(fork)));

SHIM_EXPORT pid_t _Fork(void)
{
	struct birth b;
	if (!birth_begin(&b))
		return -1;
	pid_t pid = next()->_Fork();
	birth_end(&b, pid);
	return pid;
}

/* Forks in libc and ends the parent there: it never comes back to tell the child's pid.
 * The broker finds the child by the embryo's owner. */
SHIM_EXPORT int daemon(int nochdir, int noclose)
{
	struct birth b;
	if (!birth_begin(&b))
		return -1;
	int r = next()->daemon(nochdir, noclose);
	birth_end(&b, r);
	return r;
}

SHIM_EXPORT int forkpty(int *master, char *name, const struct termios *terminal, const struct winsize *size)
{
	struct birth b;
	if (!birth_begin(&b))
		return -1;
	pid_t pid = next()->forkpty(master, name, terminal, size);
	birth_end(&b, pid);
	return pid;
}

/* --- clone --- */

struct clone_call {
	int (*start)(void *);
	void *arg;
	struct birth birth;
};

/* In the child, on the caller's stack, in a copy of the parent's memory. */
static int clone_main(void *opaque)
{
	struct clone_call *call = opaque;
	birth_end(&call->birth, 0);
	return call->start(call->arg);
}

SHIM_EXPORT int clone(int (*start)(void *), void *stack, int flags, void *arg, ...)
{
	va_list rest;
	va_start(rest, arg);
	pid_t *parent_tid = va_arg(rest, pid_t *);
	void *tls = va_arg(rest, void *);
	pid_t *child_tid = va_arg(rest, pid_t *);
	va_end(rest);
	/* A child in our memory costs nothing; one with thread-local storage of its own could
	 * not find ours, and is found by its first charge (shim/self.h:self_is_copy). */
	if (flags & (CLONE_VM | CLONE_SETTLS))
		return next()->clone(start, stack, flags, arg, parent_tid, tls, child_tid);
	struct clone_call call = { .start = start, .arg = arg };
	if (!birth_begin(&call.birth))
		return -1;
	int pid = next()->clone(clone_main, stack, flags, &call, parent_tid, tls, child_tid);
	birth_end(&call.birth, pid);
	return pid;
}

SHIM_EXPORT int __clone(int (*start)(void *), void *stack, int flags, void *arg, ...)
	__attribute__((alias("clone"), copy(clone)));
