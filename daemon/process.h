/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdint.h>

/* A descriptor of the process that has that pid since `start_ticks` (daemon/proc.h), the caller's.
 * -ESRCH: it has ended, and the pid may be another's; or -errno. */
int process_open(int32_t pid, uint64_t start_ticks);

/* Sends `signal` to the process that has that pid since `start_ticks` (daemon/proc.h), by its
 * `pidfd`; where that is -1, for want of descriptors, by one that is opened now. 0; -ESRCH: it has
 * ended; or -errno. */
int process_signal(int32_t pid, uint64_t start_ticks, int pidfd, int signal);
