/* SPDX-License-Identifier: MIT */
/* Standing in front of a command without being in its way: signals pass through, stops
 * are shared with the shell, and in the end we end as it ended. */
#pragma once

#include <signal.h>
#include <sys/types.h>

/* What the command is to find as we found it. */
struct wait {
	sigset_t mask;
	struct sigaction child_action;
};

/* Before the fork: from now on no signal acts on us, each waits for wait_for. */
void wait_begin(struct wait *w);

/* In the child, before exec: signals as they were. */
void wait_restore(const struct wait *w);

/* Waits for `child` and forwards to it every signal sent to us; what is typed at a
 * terminal reaches it by itself. Returns the status of waitpid(2). */
int wait_for(pid_t child);

/* Ends this process as `status` says the child ended: with its exit status, or by the
 * same signal, without a core of our own. */
void wait_end_as(int status) __attribute__((noreturn));
