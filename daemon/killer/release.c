/* SPDX-License-Identifier: MIT */
#include "daemon/killer/release.h"

#include <elf.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon/proc.h"

#ifndef SYS_process_mrelease
#define SYS_process_mrelease 448
#endif

/* The lists of a 32-bit process are others, and cannot be asked for from here
 * (kernel/futex/syscalls.c, compat_get_robust_list). */
static bool is_native(int32_t pid)
{
	unsigned char head[EI_NIDENT];
	int fd = proc_file(pid, "exe");
	bool native = fd >= 0 && read(fd, head, sizeof head) == (ssize_t)sizeof head && head[EI_CLASS] == ELFCLASS64;
	if (fd >= 0)
		close(fd);
	return native;
}

/* A list is empty when it leads back to its head; who was between two steps of locking has said of
 * which mutex. A thread that is gone has given its mutexes back. */
static bool thread_is_free(int32_t tid)
{
	struct robust_list_head *head = NULL, copy;
	size_t length;
	if (syscall(SYS_get_robust_list, tid, &head, &length) != 0)
		return errno == ESRCH;
	if (!head)
		return true;
	struct iovec to = { &copy, sizeof copy }, from = { head, sizeof copy };
	if (process_vm_readv(tid, &to, 1, &from, 1, 0) != (ssize_t)sizeof copy)
		return errno == ESRCH;
	return copy.list.next == &head->list && copy.list_op_pending == NULL;
}

static bool threads_are_free(int32_t pid)
{
	struct proc_walk w;
	bool all = true;
	if (proc_walk_threads(&w, pid) != 0)
		return false;
	for (int32_t tid; all && (tid = proc_walk_next(&w)) != 0;)
		all = thread_is_free(tid);
	proc_walk_close(&w);
	return all;
}

int release_try(int pidfd, int32_t pid)
{
	if (!is_native(pid) || !threads_are_free(pid))
		return -EBUSY;
	return syscall(SYS_process_mrelease, pidfd, 0) == 0 ? 0 : -errno;
}
