/* SPDX-License-Identifier: MIT */
/* Where the files of memory control groups are: cgroup v1's memory controller, or v2. */
#pragma once

#include "include/base.h"

struct group {
	int dir;      /* the group's directory; -1: there is none */
	bool unified; /* v2 */
};

/* Opens the memory control group with that path (as in /proc/PID/cgroup). 0, the directory being
 * the caller's to close; -ENOENT: no group of that name counts memory; or -errno. */
int group_open(const char *path, struct group *ret);

/* One of its files; a descriptor, or -errno. */
int group_file(const struct group *g, const char *name, int flags);

/* The path of a process's memory control group in `text`, what /proc/PID/cgroup reads; cut into
 * `ret`, and empty when there is none. */
void group_of(const char *text, bool unified, char *ret, size_t n);

/* Do control groups count memory in v2 on this machine? */
bool group_is_unified(void);

/* Is `path` the group, or below it? */
bool group_holds(const char *group, const char *path);
