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
#include "shim/marks.h"
#include "shim/next.h"
#include "shim/present.h"
#include "shim/spans.h"

/* --- the stacks we know --- */

static struct spans stacks = { .category = CATEGORY_THREAD };

/* Pages of stacks made and left since the last sweep. */
static uint64_t stacks_turnover;

/* What libc keeps at the top of a stack, struct pthread, and its alignment: no more than so
 * much; and exactly (glibc 2.36, _thread_db_sizeof_pthread). */
#define THREAD_DATA_BYTES (2 * PAGE_BYTES)
#define THREAD_DATA_SIZE 2368

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

/* Is the thread on a stack that libc kept from an earlier one? It is among ours, ends where libc
 * keeps the thread's own data, and all of it is charged still. */
static bool stack_was_kept(uintptr_t own, uint64_t pages)
{
	struct span s;
	return spans_around(&stacks, own, &s) && s.pages >= pages &&
	       s.addr + bytes_of(s.pages) - own <= THREAD_DATA_BYTES && span_is_whole(&s);
}

/* What was asked for, if libc mapped it for this thread: it ends with the thread's own data. */
static uintptr_t stack_guess(uintptr_t own, uint64_t asked)
{
	return ((own + THREAD_DATA_SIZE + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1)) - bytes_of(asked);
}

/* The guard page is charged with the stack: the next thread on it may want a smaller one,
 * and libc from 2.42 on maps it writable, too. Without memory libc cannot say. */
static void stack_find(uint64_t asked, uintptr_t *ret_addr, size_t *ret_bytes)
{
	pthread_attr_t attr;
	void *addr;
	size_t bytes, guard;
	if (pthread_getattr_np(pthread_self(), &attr) != 0) {
		*ret_bytes = bytes_of(asked);
		*ret_addr = stack_guess((uintptr_t)pthread_self(), asked);
		return;
	}
	pthread_attr_getstack(&attr, &addr, &bytes);
	pthread_attr_getguardsize(&attr, &guard);
	pthread_attr_destroy(&attr);
	*ret_addr = (uintptr_t)addr - guard;
	*ret_bytes = bytes + guard;
}

static void stack_add(uintptr_t addr, size_t bytes)
{
	if (spans_has(&stacks, addr, bytes))
		return;
	spans_add(&stacks, addr, bytes);
	stacks_turn(pages_of(bytes));
}

/* In the new thread. What was paid and is not needed comes back. */
static void stack_settle(uint64_t paid)
{
	uintptr_t addr;
	size_t bytes;
	if (stack_was_kept((uintptr_t)pthread_self(), paid)) {
		charge_give(paid, CATEGORY_THREAD);
		return;
	}
	stack_find(paid, &addr, &bytes);
	enum refusal_reason reason = map_found((void *)addr, bytes, paid, CATEGORY_THREAD);
	if (reason == REASON_TABLE)
		return;
	/* Larger than was asked for, and no budget for the difference: it cannot be refused
	 * any more, so mark what was paid, where the stack is used first. */
	if (reason != REASON_NONE) {
		addr += bytes - bytes_of(paid);
		bytes = bytes_of(paid);
		map_found((void *)addr, bytes, paid, CATEGORY_THREAD);
	}
	stack_add(addr, bytes);
}

/* libc keeps the stack of a thread that could not be started after all, too (nptl/pthread_create.c
 * stores who it would have been before it asks the kernel). `own` 0: it did not come so far. */
static void stack_unborn(uintptr_t own, uint64_t paid)
{
	uintptr_t addr = own ? stack_guess(own, paid) : 0;
	if (own == 0 || stack_was_kept(own, paid) || !present_whole(addr, paid) ||
	    map_found((void *)addr, bytes_of(paid), paid, CATEGORY_THREAD) != REASON_NONE)
		charge_give(paid, CATEGORY_THREAD);
	else
		stack_add(addr, bytes_of(paid));
}

/* --- what a thread will cost --- */

/* The stack and its guard as `attr` asks for them; libc puts its defaults in what it does
 * not say. 0: the caller brings the stack. */
static uint64_t attr_pages(const pthread_attr_t *attr)
{
	void *addr;
	size_t bytes = 0, guard = 0;
	/* Without a stack of the caller's, libc answers with 0 less the size. */
	pthread_attr_getstack(attr, &addr, &bytes);
	if ((uintptr_t)addr + bytes != 0)
		return 0;
	pthread_attr_getstacksize(attr, &bytes);
	pthread_attr_getguardsize(attr, &guard);
	return pages_of(bytes) + pages_of(guard);
}

static uint64_t default_pages(void)
{
	pthread_attr_t attr;
	if (pthread_getattr_default_np(&attr) != 0)
		return 0;
	uint64_t pages = attr_pages(&attr);
	pthread_attr_destroy(&attr);
	return pages;
}

/* --- from the creator to the thread --- */

struct thread_call {
	bool taken;
	union {
		void *(*posix)(void *);
		thrd_start_t c11;
	} start;
	void *arg;
	uint64_t paid;
};

/* Of threads that have been made and did not run yet. Not from the heap: it would be
 * given back in the new thread, and a thread that never allocates is spared a cache. */
static struct thread_call calls[64];

static struct thread_call *call_claim(void)
{
	for (size_t i = 0; i < ARRAY_N(calls); i++)
		/* Acquire: pairs with the release in call_release. */
		if (!__atomic_load_n(&calls[i].taken, __ATOMIC_RELAXED) &&
		    !__atomic_exchange_n(&calls[i].taken, true, __ATOMIC_ACQUIRE))
			return &calls[i];
	/* malloc is as legal here as it is in libc's pthread_create, which uses it. */
	return malloc(sizeof(struct thread_call));
}

static void call_release(struct thread_call *call)
{
	if (call >= calls && call < calls + ARRAY_N(calls))
		__atomic_store_n(&call->taken, false, __ATOMIC_RELEASE);
	else
		free(call);
}

/* The creator's side: NULL when refused (recorded) or out of memory. errno stays: these
 * functions return their error. */
static struct thread_call *call_make(uint64_t pages, void *arg)
{
	uint64_t paid;
	int error = errno;
	/* Its marks must find room: the thread cannot be refused any more. */
	if (pagemap_stock(&marks, 1, pages) != 0) {
		door_refused(OP_THREAD, bytes_of(pages), REASON_TABLE);
		return NULL;
	}
	if (!afford(OP_THREAD, pages, CATEGORY_THREAD, &paid))
		return NULL;
	struct thread_call *call = call_claim();
	if (!call) {
		charge_give(paid, CATEGORY_THREAD);
		errno = error;
		return NULL;
	}
	call->arg = arg;
	call->paid = paid;
	return call;
}

static void call_unmake(struct thread_call *call, uintptr_t thread)
{
	stack_unborn(thread, call->paid);
	call_release(call);
}

/* The thread's side. */
static struct thread_call call_receive(void *opaque)
{
	struct thread_call call = *(struct thread_call *)opaque;
	call_release(opaque);
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
	*ret = 0;
	int error = next()->pthread_create(ret, attr, thread_main, call);
	if (error)
		call_unmake(call, *ret);
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
	*ret = 0;
	int error = next()->thrd_create(ret, thread_main_c11, call);
	if (error != thrd_success)
		call_unmake(call, *ret);
	return error;
}

/* A pthread_t is the address of what libc keeps at the top of the stack, and the stack is
 * among ours once the thread has run, be it unmapped by now. */
static void stack_left(uintptr_t thread)
{
	struct span s;
	if (spans_around(&stacks, thread, &s))
		stacks_turn(s.pages);
}

SHIM_EXPORT int pthread_join(pthread_t thread, void **ret)
{
	int error = next()->pthread_join(thread, ret);
	if (error == 0)
		stack_left((uintptr_t)thread);
	return error;
}

SHIM_EXPORT int thrd_join(thrd_t thread, int *ret)
{
	int error = next()->thrd_join(thread, ret);
	if (error == thrd_success)
		stack_left((uintptr_t)thread);
	return error;
}
