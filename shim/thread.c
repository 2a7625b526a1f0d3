/* SPDX-License-Identifier: MIT */
/* Threads: libc maps their stacks behind the doors, so the stack is charged before the
 * thread is made, and marked in the page map by the thread itself, which alone knows where
 * it is. A stack that libc kept from an earlier thread is marked already, and the charge
 * comes back at once.
 *
 * Not seen: threads that libc makes for itself (SIGEV_THREAD, aio, getaddrinfo_a). */
#include "shim/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <threads.h>

#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/loaded.h"
#include "shim/map.h"
#include "shim/next.h"
#include "shim/spans.h"

/* --- the stacks we know --- */

static struct spans stacks = { .category = CATEGORY_THREAD };

/* Pages of stacks made and left since the last sweep. */
static uint64_t stacks_turnover;

/* As much as libc keeps anyway (40 MiB, glibc.pthread.stack_cache_size in tunables). */
#define STACKS_KEPT ((uint64_t)(40 << 20) >> PAGE_SHIFT)

bool stacks_sweep(void)
{
	__atomic_store_n(&stacks_turnover, 0, __ATOMIC_RELAXED);
	return spans_sweep(&stacks);
}

/* A sweep looks at every stack; so, not before an eighth of them may have gone. */
static void stacks_turn(uint64_t pages)
{
	uint64_t turned = __atomic_add_fetch(&stacks_turnover, pages, __ATOMIC_RELAXED);
	uint64_t all = __atomic_load_n(&stacks.pages, __ATOMIC_RELAXED);
	if (turned > max_u64(STACKS_KEPT, all / 8))
		stacks_sweep();
}

/* In the new thread. What was paid and is not needed comes back in map_found. */
static void stack_settle(uint64_t paid)
{
	pthread_attr_t attr;
	void *addr;
	size_t bytes;
	/* No memory to answer with: the charge stays, without its mark. */
	if (pthread_getattr_np(pthread_self(), &attr) != 0)
		return;
	pthread_attr_getstack(&attr, &addr, &bytes);
	pthread_attr_destroy(&attr);
	enum refusal_reason reason = map_found(addr, bytes, paid, CATEGORY_THREAD);
	if (reason == REASON_TABLE)
		return;
	/* Larger than was asked for, and no budget for the difference: it cannot be refused
	 * any more, so mark what was paid, where the stack is used first. */
	if (reason != REASON_NONE) {
		addr = (char *)addr + bytes - bytes_of(paid);
		bytes = bytes_of(paid);
		map_found(addr, bytes, paid, CATEGORY_THREAD);
	}
	if (!spans_has(&stacks, (uintptr_t)addr, bytes)) {
		spans_add(&stacks, (uintptr_t)addr, bytes);
		stacks_turn(pages_of(bytes));
	}
}

/* --- what a thread will cost --- */

static uint64_t default_pages(void)
{
	pthread_attr_t attr;
	size_t bytes = 0;
	if (pthread_getattr_default_np(&attr) != 0)
		return 0;
	pthread_attr_getstacksize(&attr, &bytes);
	pthread_attr_destroy(&attr);
	return pages_of(bytes);
}

/* 0: the caller brings the stack. */
static uint64_t attr_pages(const pthread_attr_t *attr)
{
	void *addr;
	size_t bytes, whole;
	/* Without a stack of the caller's, libc answers with 0 less the size. */
	if (pthread_attr_getstack(attr, &addr, &bytes) == 0 && (uintptr_t)addr + bytes != 0)
		return 0;
	return pthread_attr_getstacksize(attr, &whole) == 0 ? pages_of(whole) : default_pages();
}

/* --- from the creator to the thread --- */

struct thread_call {
	union {
		void *(*posix)(void *);
		thrd_start_t c11;
	} start;
	void *arg;
	uint64_t paid;
};

/* The creator's side: NULL when refused (recorded) or out of memory. malloc is as legal
 * here as it is in libc's pthread_create, which uses it. */
static struct thread_call *call_make(uint64_t pages, void *arg)
{
	uint64_t paid;
	int error = errno;
	if (!afford(OP_THREAD, pages, CATEGORY_THREAD, &paid))
		return NULL;
	struct thread_call *call = malloc(sizeof *call);
	if (!call) {
		charge_give(paid, CATEGORY_THREAD);
		errno = error; /* these functions return their error */
		return NULL;
	}
	call->arg = arg;
	call->paid = paid;
	return call;
}

static void call_unmake(struct thread_call *call)
{
	charge_give(call->paid, CATEGORY_THREAD);
	free(call);
}

/* The thread's side. */
static struct thread_call call_receive(void *opaque)
{
	struct thread_call call = *(struct thread_call *)opaque;
	free(opaque);
	stack_settle(call.paid);
	return call;
}

/* The last call is a tail call: the thread's backtrace is what it would be without us. */
static void *thread_main(void *opaque)
{
	struct thread_call call = call_receive(opaque);
	return call.start.posix(call.arg);
}

static int thread_main_c11(void *opaque)
{
	struct thread_call call = call_receive(opaque);
	return call.start.c11(call.arg);
}

/* --- the doors --- */

SHIM_EXPORT int pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	uint64_t pages = self.state != SELF_MEMBER ? 0 : attr ? attr_pages(attr) : default_pages();
	if (pages == 0)
		return next()->pthread_create(ret, attr, start, arg);
	loaded_settle_due();
	struct thread_call *call = call_make(pages, arg);
	if (!call)
		return EAGAIN;
	call->start.posix = start;
	int error = next()->pthread_create(ret, attr, thread_main, call);
	if (error)
		call_unmake(call);
	return error;
}

SHIM_EXPORT int thrd_create(thrd_t *ret, thrd_start_t start, void *arg)
{
	uint64_t pages = self.state == SELF_MEMBER ? default_pages() : 0;
	if (pages == 0)
		return next()->thrd_create(ret, start, arg);
	struct thread_call *call = call_make(pages, arg);
	if (!call)
		return thrd_nomem;
	call->start.c11 = start;
	int error = next()->thrd_create(ret, thread_main_c11, call);
	if (error != thrd_success)
		call_unmake(call);
	return error;
}

/* A pthread_t is the address of what libc keeps at the top of the stack, and the stack is
 * among ours once the thread has run, be it unmapped by now. */
SHIM_EXPORT int pthread_join(pthread_t thread, void **ret)
{
	int error = next()->pthread_join(thread, ret);
	if (error == 0)
		stacks_turn(spans_around(&stacks, (uintptr_t)thread));
	return error;
}

SHIM_EXPORT int thrd_join(thrd_t thread, int *ret)
{
	int error = next()->thrd_join(thread, ret);
	if (error == thrd_success)
		stacks_turn(spans_around(&stacks, (uintptr_t)thread));
	return error;
}
