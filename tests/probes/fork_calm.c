/* SPDX-License-Identifier: MIT */
/* Description: a child that was born and died while the broker slept long is given back at
 * once all the same: whoever forks knocks. One that may not, for it has confined itself, is
 * not killed for it.
 * Budget: 64M */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/probes/probe.h"

#define ROUNDS 5
#define SLEEP_US 2200000 /* a second of quiet and the next tick: it is calm by then */

static long now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* How long the charge of a child stayed that died at once. */
static long round_ms(void)
{
	usleep(SLEEP_US);
	long before = account_pages(), begun = now_ms();
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0)
		_exit(0);
	check(waitpid(pid, NULL, 0) == pid);
	while (account_pages() > before && now_ms() - begun < 10000)
		usleep(1000);
	return now_ms() - begun;
}

static void confine(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof code / sizeof *code, code };
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

int main(void)
{
	int prompt = 0;
	for (int i = 0; i < ROUNDS; i++)
		prompt += round_ms() <= 100;
	check(prompt > ROUNDS / 2, "within 100 ms only %d of %d times", prompt, ROUNDS);
	confine();
	check(round_ms() < 10000);
	return 0;
}
