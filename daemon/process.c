/* SPDX-License-Identifier: MIT */
#include "daemon/process.h"

#include <errno.h>
#include <stddef.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "daemon/proc.h"

static int signal_by(int pidfd, int signal)
{
	return pidfd_send_signal(pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
}

int process_open(int32_t pid, uint64_t start_ticks)
{
	struct proc_stat now;
	/* The descriptor first: what is read then is of the process it stands for, or of none. */
	int pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return -errno;
	int error = proc_stat(pid, &now);
	if (!error && now.start_ticks == start_ticks)
		return pidfd;
	close(pidfd);
	return !error || error == -ENOENT ? -ESRCH : error;
}

int process_signal(int32_t pid, uint64_t start_ticks, int pidfd, int signal)
{
	if (pidfd >= 0)
		return signal_by(pidfd, signal);
	int own = process_open(pid, start_ticks);
	if (own < 0)
		return own;
	int error = signal_by(own, signal);
	close(own);
	return error;
}
