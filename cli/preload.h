/* SPDX-License-Identifier: MIT */
/* Where solvent's other halves lie, and the environment that makes a program a member. */
#pragma once

#include <limits.h>

#include "include/base.h"

#define PRELOAD_LIBRARY "libsolvent.so"

/* The absolute path of one of our own files: beside this program itself (symbolic links
 * resolved, so that a build tree works in place), else in `directory`. 0, or -ENOENT. */
int preload_locate(const char *name, const char *directory, char ret_path[PATH_MAX]);

/* The value LD_PRELOAD is to have: `library` in front of what is there (`old` may be NULL),
 * other copies of ours taken out, so that a run in a run loads one. Without a `library`
 * (NULL) only the latter. The caller frees it; NULL: out of memory. An empty value means
 * that the variable is to be unset. */
char *preload_value(const char *library, const char *old);

/* Can ld.so(8) take that path? It splits LD_PRELOAD at colons and spaces. */
bool preload_can_name(const char *library);
