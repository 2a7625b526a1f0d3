/* SPDX-License-Identifier: MIT */
/* Memory of a process that was killed and does not end - frozen, or waiting for a disk - is taken
 * without it, by process_mrelease(2). Its robust mutexes (man 2 get_robust_list) stand in that
 * memory: once it is taken the kernel cannot find them any more, and whoever waits for one waits
 * for ever. So it is taken only from who holds none.
 *
 * Whoever has SIGKILL pending never runs another instruction of its own: what its lists say then
 * is final. */
#pragma once

#include <stdint.h>

#define RELEASE_WORD "release" /* the helper's task, with a pid and its pidfd */

/* Of the process `pidfd`, whose pid is `pid`, after SIGKILL. May take 100 ms. 0; -EBUSY: it holds
 * a mutex, or nobody can tell; or -errno. */
int release_try(int pidfd, int32_t pid);
