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

int process_signal(int32_t pid, uint64_t start_ticks, int pidfd, int signal)
{
	struct proc_stat now;
	if (pidfd >= 0)
		return signal_by(pidfd, signal);
	/* The descriptor first: what is read then is of the process it stands for, or of none. */
	int fd = pidfd_open(pid, 0);
	if (fd < 0)
		return -errno;
	int error = proc_stat(pid, &now);
	if (!error)
		error = now.start_ticks == start_ticks ? signal_by(fd, signal) : -ESRCH;
	close(fd);
	return error == -ENOENT ? -ESRCH : error;
}
