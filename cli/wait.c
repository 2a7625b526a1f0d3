/* SPDX-License-Identifier: MIT */
/* The parent of `solvent run --summary`. Whoever started us sees us and not the command:
 * kill, a service manager's stop, the shell's job control. So whatever comes to us by
 * kill(2) goes on to the command. What is typed (^C, ^Z) or a window that changes its size
 * went to the whole foreground process group, the command included, unless it has made a
 * group of its own (timeout(1)): it is not sent twice. The two are told apart by si_code,
 * which a sender cannot forge to be the kernel's. */
#include "cli/wait.h"

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* All that can be waited for, except those that report a fault of our own. */
static void waited_signals(sigset_t *set)
{
	static const int FAULTS[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
	sigfillset(set);
	for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
		sigdelset(set, FAULTS[i]);
}

void wait_begin(struct wait *w)
{
	sigset_t set;
	struct sigaction action = { .sa_handler = SIG_DFL };
	waited_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &w->mask);
	/* Inherited as ignored, SIGCHLD would take the child's status from us. */
	sigaction(SIGCHLD, &action, &w->child_action);
}

void wait_restore(const struct wait *w)
{
	sigaction(SIGCHLD, &w->child_action, NULL);
	sigprocmask(SIG_SETMASK, &w->mask, NULL);
}

static bool is_in_our_group(pid_t child)
{
	return getpgid(child) == getpgrp();
}

/* The command was stopped from the keyboard, or for touching the terminal: our shell must
 * see its job stopped. Somebody who stops the command alone, by SIGSTOP, will continue it
 * alone, and we would never hear of it; unless it is a shell that stopped its own group
 * (suspend), which our shell would never see stopped otherwise. */
static void share_stop(pid_t child, int status)
{
	int signal = WSTOPSIG(status);
	if (signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU ||
	    (signal == SIGSTOP && !is_in_our_group(child)))
		raise(SIGSTOP);
}

/* True when the child has ended. */
static bool look_at(pid_t child, int *ret_status)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(child, &status, WNOHANG | WUNTRACED)) == child) {
		if (!WIFSTOPPED(status)) {
			*ret_status = status;
			return true;
		}
		share_stop(child, status);
	}
	return false;
}

/* A hang-up is not among them: it goes to the session's leader alone, which we may be. */
static bool came_from_keyboard(const siginfo_t *info)
{
	switch (info->si_signo) {
	case SIGINT:
	case SIGQUIT:
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGWINCH:
		return info->si_code == SI_KERNEL;
	default:
		return false;
	}
}

/* Has the command had it already, from the keyboard, or by sending it to its whole group? */
static bool has_had(pid_t child, const siginfo_t *info)
{
	if (!is_in_our_group(child))
		return false;
	return came_from_keyboard(info) || (info->si_code == SI_USER && info->si_pid == child);
}

int wait_for(pid_t child)
{
	sigset_t set;
	int status;
	waited_signals(&set);
	while (!look_at(child, &status)) {
		siginfo_t info;
		if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD && !has_had(child, &info))
			kill(child, info.si_signo);
	}
	return status;
}

void wait_end_as(int status)
{
	if (WIFSIGNALED(status)) {
		int signal_number = WTERMSIG(status);
		struct rlimit none = { 0, 0 };
		sigset_t only;
		setrlimit(RLIMIT_CORE, &none);
		signal(signal_number, SIG_DFL);
		sigemptyset(&only);
		sigaddset(&only, signal_number);
		raise(signal_number);
		sigprocmask(SIG_UNBLOCK, &only, NULL);
		/* Only a signal that does not end a process by default comes here. */
		_exit(128 + signal_number);
	}
	_exit(WEXITSTATUS(status));
}
