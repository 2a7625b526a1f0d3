/* SPDX-License-Identifier: MIT */
/* Memory of a living process that can be had back without it: what of it is clean goes, the rest
 * goes to swap, where there is some (man 2 process_madvise, MADV_PAGEOUT). It comes back when it
 * is touched. */
#pragma once

#include <stdint.h>

#define RECLAIM_WORD "reclaim" /* the helper's task, with a pid and its pidfd */

/* All that the process has mapped. May take its time. 0 or -errno. */
int reclaim_try(int pidfd, int32_t pid);
