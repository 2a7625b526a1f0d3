/* SPDX-License-Identifier: MIT */
/* The kernel's process events connector (Documentation/driver-api/connector.rst,
 * drivers/connector/cn_proc.c): who calls execve, as it happens. Root may listen to it, and
 * since Linux 6.6 everybody, in the first pid namespace. A hint only: where it is silent, or
 * loses something, the walk through /proc finds the same a little later. */
#pragma once

#include "include/base.h"

/* A socket that hears of every execve on this machine, and of nothing else; -errno where that
 * is not allowed. */
int connector_open(void);

/* The next process that has called execve. 1 and `ret_pid`; 0: there is no more; -ENOBUFS:
 * some were lost. */
int connector_read(int fd, int32_t *ret_pid);
