/* SPDX-License-Identifier: MIT */
/* Description: threads are what they are without us: their results, pthread_exit,
 * cancellation at once and later with its clean-up handlers, thread-specific data, signal
 * masks, detached threads, and a backtrace in which nobody stands between libc and the
 * start routine.
 * Budget: 1500M */
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <threads.h>

#include "tests/probes/probe.h"

static atomic_int cleaned, destroyed, detached_ran;
static pthread_key_t key;

static void *returns(void *arg) { return (char *)arg + 1; }
static void *exits(void *arg) { pthread_exit((char *)arg + 2); }
static void destroy(void *value) { atomic_fetch_add(&destroyed, (int)(long)value); }
static void clean(void *arg) { (void)arg; atomic_fetch_add(&cleaned, 1); }
static void *specific(void *arg) { pthread_setspecific(key, (void *)5); return arg; }
static void *runs_detached(void *arg) { atomic_fetch_add(&detached_ran, 1); return arg; }
static int returns_c11(void *arg) { return (int)(long)arg; }
static int exits_c11(void *arg) { (void)arg; thrd_exit(42); }

static void *waits(void *arg)
{
	pthread_cleanup_push(clean, NULL);
	for (;;)
		pause();
	pthread_cleanup_pop(0);
	return arg;
}

static void *masked(void *arg)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int s = 1; s < 32; s++)
		check(sigismember(&mask, s) == (s == SIGUSR2), "signal %d", s);
	return arg;
}

static void *traces(void *arg)
{
	void *frames[16];
	Dl_info above, self;
	int n = backtrace(frames, 16);
	check(n >= 3, "%d frames", n);
	check(dladdr(frames[0], &self) && dladdr(frames[1], &above));
	check(strstr(above.dli_fname, "libc.so"), "called from %s", above.dli_fname);
	return arg;
}

static void *run(void *(*start)(void *), void *arg)
{
	pthread_t thread;
	void *result;
	check(pthread_create(&thread, NULL, start, arg) == 0);
	check(pthread_join(thread, &result) == 0);
	return result;
}

static void cancelled(int wait_us)
{
	pthread_t thread;
	void *result;
	check(pthread_create(&thread, NULL, waits, NULL) == 0);
	if (wait_us)
		usleep(wait_us);
	check(pthread_cancel(thread) == 0);
	check(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
}

int main(void)
{
	void *frames[4];
	thrd_t c11;
	int result;
	alarm(40);
	backtrace(frames, 4); /* loads libgcc_s */
	check(pthread_key_create(&key, destroy) == 0);
	for (long i = 0; i < 200; i++) {
		check(run(returns, (void *)i) == (void *)(i + 1));
		check(run(exits, (void *)i) == (void *)(i + 2));
		run(specific, NULL);
		check(thrd_create(&c11, i % 2 ? returns_c11 : exits_c11, (void *)i) == thrd_success);
		check(thrd_join(c11, &result) == thrd_success && result == (i % 2 ? i : 42));
	}
	check(atomic_load(&destroyed) == 1000, "destructors: %d", atomic_load(&destroyed));
	for (int i = 0; i < 50; i++)
		cancelled(i % 2 ? 0 : 1000);
	/* Cancelled at once, a thread may end before it has pushed its handler. */
	check(atomic_load(&cleaned) >= 25 && atomic_load(&cleaned) <= 50, "%d clean-ups", atomic_load(&cleaned));
	run(traces, NULL);

	sigset_t usr2;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	pthread_sigmask(SIG_SETMASK, &usr2, NULL);
	run(masked, NULL);

	for (int i = 0; i < 100; i++) {
		pthread_t thread;
		check(pthread_create(&thread, NULL, runs_detached, NULL) == 0 && pthread_detach(thread) == 0);
	}
	while (atomic_load(&detached_ran) < 100)
		usleep(1000);
	return 0;
}
