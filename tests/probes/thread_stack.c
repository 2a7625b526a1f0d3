/* SPDX-License-Identifier: MIT */
/* Description: a thread's stack is charged while the thread lives, no less than the kernel
 * counts; a stack that libc keeps for the next thread stays charged and is not charged
 * twice; one that libc gives back is uncharged, though nobody says so; a stack that the
 * caller brings costs nothing.
 * Budget: 512M */
#include <pthread.h>
#include <sys/mman.h>
#include <threads.h>

#include "tests/probes/probe.h"

#define MiB ((size_t)1 << 20)
#define PAGES(bytes) ((long)((bytes) / 4096))

static pthread_barrier_t here, leave;

static void *wait_in_thread(void *arg)
{
	pthread_barrier_wait(&here);
	pthread_barrier_wait(&leave);
	return arg;
}

static void *nothing(void *arg) { return arg; }
static int nothing_c11(void *arg) { return arg != NULL; }

/* What a living thread with a stack of `bytes` and a guard of `guard` adds. */
static long cost_with_guard(size_t bytes, size_t guard)
{
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	if (bytes != 0)
		check(pthread_attr_setstacksize(&attr, bytes) == 0);
	check(pthread_attr_setguardsize(&attr, guard) == 0);
	long before = charged_pages();
	check(pthread_create(&thread, &attr, wait_in_thread, NULL) == 0);
	pthread_barrier_wait(&here);
	long cost = charged_pages() - before;
	check(charged_pages() >= kernel_pages(), "%zu bytes: %ld pages under", bytes,
	      kernel_pages() - charged_pages());
	pthread_barrier_wait(&leave);
	check(pthread_join(thread, NULL) == 0);
	return cost;
}

static long cost_of(size_t bytes) { return cost_with_guard(bytes, 4096); }

static void own_stack(void)
{
	pthread_t thread;
	pthread_attr_t attr;
	size_t left = (size_t)(figures().limit_bytes - figures().used_bytes) - 24 * MiB;
	char *filler = mmap(NULL, left, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *stack = mmap(NULL, 16 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(stack != MAP_FAILED && filler != MAP_FAILED);
	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, stack, 16 * MiB) == 0);
	long before = charged_pages();
	check(pthread_create(&thread, &attr, wait_in_thread, NULL) == 0);
	pthread_barrier_wait(&here);
	check(charged_pages() - before < PAGES(4 * MiB), "the caller's stack cost %ld pages",
	      charged_pages() - before);
	pthread_barrier_wait(&leave);
	check(pthread_join(thread, NULL) == 0);
	check(munmap(stack, 16 * MiB) == 0 && munmap(filler, left) == 0);
}

int main(void)
{
	pthread_t thread;
	thrd_t c11;
	int result;
	pthread_barrier_init(&here, NULL, 2);
	pthread_barrier_init(&leave, NULL, 2);
	for (int i = 0; i < 8; i++)
		cost_of(MiB); /* an arena of the heap for each of the first threads */

	/* Larger than what libc keeps: there while it lives, gone when it has been joined. */
	for (int i = 0; i < 5; i++) {
		long before = charged_pages(), cost = cost_of(64 * MiB);
		check(cost >= PAGES(64 * MiB) && cost <= PAGES(66 * MiB), "64 MiB cost %ld pages", cost);
		check(charged_pages() <= before + PAGES(2 * MiB), "%ld pages left over",
		      charged_pages() - before);
	}

	/* Small ones are kept by libc, and taken again. */
	cost_of(3 * MiB);
	long before = charged_pages();
	for (int i = 0; i < 50; i++)
		check(cost_of(3 * MiB) < PAGES(MiB), "a stack that was kept was charged again");
	check(charged_pages() <= before + PAGES(MiB), "%ld pages left over", charged_pages() - before);

	/* An odd size, rounded up by libc and the kernel. */
	check(cost_of(5 * MiB + 5000) >= PAGES(5 * MiB) + 2);

	/* What was guard for one thread is stack for the next. */
	cost_with_guard(3 * MiB, 12 * MiB);
	cost_with_guard(15 * MiB - 4096, 4096);

	for (int i = 0; i < 200; i++) {
		check(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
		check(thrd_create(&c11, nothing_c11, &c11) == thrd_success);
		check(thrd_join(c11, &result) == thrd_success && result == 1);
	}
	check(charged_pages() >= kernel_pages(), "%ld pages under", kernel_pages() - charged_pages());
	own_stack();
	return 0;
}
