/* SPDX-License-Identifier: MIT */
/* Who asked is called when the account comes up to its warn (80 %), once, and again after it was
 * well below; and by nobody's signals.
 * Budget: 64M */
#include "tests/probes/probe.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/wait.h>

static int called, level, asked;
static pthread_t caller;

static void on_alert(int how, void *context)
{
	level = how;
	caller = pthread_self();
	*(int *)context = 1;
	__atomic_fetch_add(&called, 1, __ATOMIC_RELEASE);
}

static int calls_until(int wanted)
{
	for (int i = 0; i < 1000 && __atomic_load_n(&called, __ATOMIC_ACQUIRE) < wanted; i++)
		usleep(5000);
	return called;
}

static void *take(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	return p;
}

int main(void)
{
	size_t most = 55u << 20;
	check(solvent_on_alert(on_alert, &asked) == 0);
	check(solvent_on_alert(on_alert, &asked) == -1 && errno == EBUSY);
	pid_t pid = fork();
	if (pid == 0)
		_exit(solvent_on_alert(on_alert, &asked) != 0);
	int status = 1;
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child may ask again");
	usleep(200000);
	check(called == 0);
	void *p = take(most - figures().used_bytes);
	check(calls_until(1) == 1 && level == SOLVENT_ALERT_BUDGET && asked == 1);
	check(!pthread_equal(caller, pthread_self()));
	usleep(200000);
	check(called == 1, "it is said once");
	munmap(p, most);
	usleep(1500000); /* a broker that is calm looks twice a second */
	take(most - figures().used_bytes);
	check(calls_until(2) == 2, "and again, after it was below");
	return 0;
}
