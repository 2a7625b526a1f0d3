/* SPDX-License-Identifier: MIT */
/* What the kernel says of a process, read from /proc without allocating. The root can be
 * moved, so that tests bring a world of their own. */
#pragma once

#include <sys/types.h>

#include "include/base.h"
#include "include/ledger.h"

/* Where /proc is from now on; 0 or -errno. Called once at start. */
int proc_open(const char *root);

/* The descriptor all this is read through, for a child that closes what it does not need. */
int proc_descriptor(void);

/* A file of a process, opened for reading; the descriptor (the caller's) or -errno. */
int proc_file(int32_t pid, const char *name);

/* The beginning of a file, as a string, and its length. Closes `fd`, which may also be a
 * -errno of proc_file, returned as it is; an empty file is -ESRCH. */
ssize_t proc_text(int fd, char *buffer, size_t bytes);

/* Hands the lines of a file to `each`, without their ends, until it returns true; none of 16 KiB or
 * more. Closes `fd`, as proc_text. 1 when it did, 0 at the end of the file, or -errno. */
int proc_lines(int fd, bool (*each)(void *context, const char *line), void *context);

/* man 5 proc, /proc/PID/stat */
struct proc_stat {
	char state;           /* field 3; 'Z' and 'X' are gone, unless other threads live */
	int32_t parent;       /* field 4 */
	uint64_t start_ticks; /* field 22: with the pid, one process for ever */
	char comm[COMM_BYTES];
};

/* 0 and `ret`; -ENOENT or -ESRCH when there is no such process, or -errno. */
int proc_stat(int32_t pid, struct proc_stat *ret);

/* What else stands in that line. */
struct proc_life {
	struct proc_stat stat;
	uint32_t flags;	      /* field 9, PF_* of include/linux/sched.h */
	uint64_t ticks;	      /* 14 and 15: it worked for */
	uint64_t faults;      /* 10 and 12 */
	uint64_t image[3];    /* 26, 28, 48: where its code, its stack and its arguments begin */
};
#define PROC_KERNEL_THREAD 0x00200000u /* PF_KTHREAD */

/* Of the text of /proc/PID/stat, which is changed. 0 and `ret`, or -EPROTO. */
int proc_life_parse(char *text, struct proc_life *ret);

/* The real uid of a process; 0 and `ret`, or -errno. */
int proc_uid(int32_t pid, uid_t *ret);

/* Its effective one, which a set-uid program changes. */
int proc_effective_uid(int32_t pid, uid_t *ret);

/* Has it a handler for that signal? */
bool proc_handles(int32_t pid, int signal);

/* Which file is behind a path (below `at`, see openat(2)), as far as this machine knows without
 * asking another: a file system whose server is gone would never answer. 0 or -errno. */
int proc_inode(int at, const char *path, uint64_t *ret_device, uint64_t *ret_inode);

/* Does it, whose pidfd (the caller's) is given, live in a pid namespace below ours? Then its own
 * idea of pids, and its children's, is not ours (man 7 pid_namespaces; NSpid in the pidfd's
 * /proc/self/fdinfo, and in /proc/PID/status where that may not be read). */
bool proc_is_foreign(int32_t pid, int pidfd);

/* Does the process map the ledger with that device and inode number, shared and writable, as
 * a member does and a reader (solvent status) does not? 1 or 0; -EACCES when it may not be
 * asked; -ETIME when it has so many mappings that nobody can tell, or -errno. */
int proc_maps(int32_t pid, dev_t device, uint64_t inode);

/* Anybody may have very many mappings of files with very long names, of which the list takes a
 * second: it is read for so long, of our own time (on a busy machine the same list would be cut
 * short), which is enough for 30,000 mappings of usual names, or, where the kernel can be asked for
 * those of one kind, for all that a process may have. And for so long at all: who maps and unmaps
 * all the time is waited for. */
#define PROC_MAPS_NS (10 * 1000000ull)
#define PROC_MAPS_WAIT_NS (100 * 1000000ull)

/* Is `prefix` the process's cgroup, or above it? Any hierarchy counts (man 7 cgroups). */
bool proc_in_cgroup(int32_t pid, const char *prefix);

/* RAM and swap of this machine, in bytes; 0 when it cannot be read. */
uint64_t proc_memory_bytes(void);

/* All processes, one after another, in no promised order. */
struct proc_walk {
	int fd;
	long bytes, at;
	int64_t place; /* behind the last that was seen */
	_Alignas(8) char entries[8192];
};
int proc_walk_open(struct proc_walk *w);
int proc_walk_resume(struct proc_walk *w, int64_t place); /* from the place of another walk on */
int proc_walk_threads(struct proc_walk *w, int32_t pid); /* those of one process instead */
int32_t proc_walk_next(struct proc_walk *w); /* the next pid, or 0 at the end */
void proc_walk_close(struct proc_walk *w);
