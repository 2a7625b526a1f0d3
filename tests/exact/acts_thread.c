/* SPDX-License-Identifier: MIT */
/* Threads that come, wait, and go: joined, or detached and gone by themselves. Their stacks
 * are libc's; the test knows where they are because each thread says it. */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/exact/exact.h"

struct worker {
	pthread_t id;
	pid_t tid;
	bool detached;
	sem_t here, leave;
	size_t stack_bytes, guard_bytes;
	struct stack stack;
};

/* Not from the heap: the shim is measured, too. */
static struct worker workers[8 * WORKERS];

static size_t page_up(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

#define THREAD_DATA_BYTES 2368 /* sizeof(struct pthread), glibc 2.36: _thread_db_sizeof_pthread */

/* libc keeps the thread's own data at the end of the block (nptl/allocatestack.c), with the
 * stack below it and the guard below that. Asking libc would take memory. */
static struct stack own_stack(size_t stack, size_t guard)
{
	uintptr_t end = page_up((uintptr_t)pthread_self() + THREAD_DATA_BYTES);
	return (struct stack){ end - page_up(stack) - page_up(guard), end };
}

static void *work(void *arg)
{
	struct worker *w = arg;
	w->stack = own_stack(w->stack_bytes, w->guard_bytes);
	w->tid = (pid_t)syscall(SYS_gettid);
	sem_post(&w->here);
	while (sem_wait(&w->leave) != 0)
		;
	return NULL;
}

/* Overlapping ones become one: libc hands out pieces of what it kept. */
static void stack_remember(struct actor *a, struct stack s)
{
	for (uint32_t i = 0; i < a->stacks;) {
		struct stack *other = &a->stack[i];
		if (s.start > other->end || s.end < other->start) {
			i++;
			continue;
		}
		s.start = s.start < other->start ? s.start : other->start;
		s.end = s.end > other->end ? s.end : other->end;
		*other = a->stack[--a->stacks];
	}
	if (a->stacks == STACKS)
		fail("the test has no room for another stack");
	a->stack[a->stacks++] = s;
}

void thread_remember(struct actor *a, size_t stack, size_t guard)
{
	stack_remember(a, own_stack(stack, guard));
}

static void attr_roll(struct dice *d, pthread_attr_t *attr, size_t *ret_stack, size_t *ret_guard)
{
	static const size_t sizes[] = { 64 << 10, 64 << 10, 128 << 10, 1 << 20, (1 << 20) + 5000, 8 << 20, 48 << 20 };
	static const size_t guards[] = { 4096, 4096, 0, 65536, 5000 };
	*ret_stack = PICK(d, sizes);
	*ret_guard = PICK(d, guards);
	pthread_attr_init(attr);
	pthread_attr_setstacksize(attr, *ret_stack);
	pthread_attr_setguardsize(attr, *ret_guard);
}

static void create(struct actor *a, struct dice *d)
{
	uint64_t i = roll(d, WORKERS);
	struct worker *w = &workers[a->number * WORKERS + i];
	pthread_attr_t attr;
	if (a->worker[i] || a->stacks > STACKS - 8)
		return;
	memset(w, 0, sizeof *w);
	attr_roll(d, &attr, &w->stack_bytes, &w->guard_bytes);
	sem_init(&w->here, 0, 0);
	sem_init(&w->leave, 0, 0);
	w->detached = chance(d, 30);
	say(a, "pthread_create(stack %zu, guard %zu)", w->stack_bytes, w->guard_bytes);
	int error = pthread_create(&w->id, &attr, work, w);
	say_error(a, error);
	pthread_attr_destroy(&attr);
	if (error)
		return;
	while (sem_wait(&w->here) != 0)
		;
	stack_remember(a, w->stack);
	if (w->detached)
		pthread_detach(w->id);
	a->worker[i] = w;
}

static void finish(struct actor *a, struct dice *d)
{
	uint64_t i = roll(d, WORKERS);
	struct worker *w = a->worker[i];
	if (!w)
		return;
	say(a, "%s thread %d ends", w->detached ? "detached" : "joined", w->tid);
	sem_post(&w->leave);
	if (!w->detached)
		pthread_join(w->id, NULL);
	while (syscall(SYS_tgkill, getpid(), w->tid, 0) == 0)
		sched_yield();
	a->worker[i] = NULL;
}

void threads_become_child(struct actor *a)
{
	memset(a->worker, 0, sizeof a->worker);
}

const struct act acts_thread[] = {
	{ "pthread_create", 5, create, false },
	{ "thread ends", 5, finish, false },
	{ 0 },
};
