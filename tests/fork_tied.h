/* SPDX-License-Identifier: MIT */
/* Children whom a test that failed does not leave behind, holding a ledger, or spinning. */
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#define UNTIED_S 60 /* longer than any test takes */

/* The caller ends with its parent. Again after it has become another user, who is not tied (prctl(2)). */
__attribute__((unused)) static void tie_to(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pid_t now = getppid();
	/* Gone already? In another pid namespace it has no number: 0. */
	if (now != parent && now != 0)
		_exit(1);
}

/* fork(2), and the child ends with the thread that has called this. */
__attribute__((unused)) static pid_t fork_tied(void)
{
	pid_t parent = getpid(), pid = fork();
	if (pid == 0)
		tie_to(parent);
	return pid;
}

/* For a child that is to outlive its parent: it does not outlive the test for long. */
__attribute__((unused)) static void untied_end_soon(void)
{
	alarm(UNTIED_S);
}

/* fork(2) of such a one. */
__attribute__((unused)) static pid_t fork_untied(void)
{
	pid_t pid = fork();
	if (pid == 0)
		untied_end_soon();
	return pid;
}
