/* SPDX-License-Identifier: MIT */
/* Description: the stack of a thread that could not be started is kept by libc, and charged like
 * those of threads that have ended; the next thread on it pays nothing again.
 * Budget: 256M */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <threads.h>

#include "tests/probes/probe.h"

#define SMALL ((size_t)4 << 20) /* no stack that libc has kept so far is large enough, */
#define LARGE ((size_t)24 << 20) /* nor is the first for this one */
#define PAGES(bytes) ((long)((bytes) / 4096))

/* clone3 is not there, clone fails once it is told to. */
static void clone_forbid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		skip("no seccomp filter here");
}

static void *nothing(void *arg)
{
	return arg;
}

static int nothing_c11(void *arg)
{
	return arg != NULL;
}

static void exact(const char *when)
{
	long under = kernel_pages() - charged_pages();
	check(under <= 0, "%s: %ld pages under", when, under);
}

static void clone_fails(void)
{
	pthread_attr_t attr;
	pthread_t t;
	thrd_t c11;
	check(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, LARGE) == 0);
	exact("before");
	long before = charged_pages();
	clone_forbid();
	for (int i = 0; i < 3; i++) {
		check(pthread_create(&t, &attr, nothing, NULL) == EAGAIN);
		exact("after a thread that was none");
		check(charged_pages() - before <= PAGES(LARGE) + 8, "%ld pages more", charged_pages() - before);
	}
	check(charged_pages() - before >= PAGES(LARGE), "libc did not keep it?");
	check(thrd_create(&c11, nothing_c11, NULL) != thrd_success);
	exact("after one of C11");
}

/* The stack goes to its next thread, and is charged once. */
static void affinity_fails(void)
{
	pthread_attr_t attr;
	pthread_t t;
	cpu_set_t none;
	CPU_ZERO(&none);
	CPU_SET(CPU_SETSIZE - 1, &none);
	check(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, SMALL) == 0);
	check(pthread_attr_setaffinity_np(&attr, sizeof none, &none) == 0);
	int error = pthread_create(&t, &attr, nothing, NULL);
	if (error == 0)
		skip("there is a processor %d here", CPU_SETSIZE - 1);
	exact("after a thread without a processor");
	long kept = charged_pages();
	check(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, SMALL) == 0);
	check(pthread_create(&t, &attr, nothing, NULL) == 0 && pthread_join(t, NULL) == 0);
	exact("after one on its stack");
	check(charged_pages() - kept < PAGES(SMALL), "%ld pages more", charged_pages() - kept);
}

int main(void)
{
	affinity_fails();
	clone_fails();
	return 0;
}
