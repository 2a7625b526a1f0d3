/* SPDX-License-Identifier: MIT */
/* Processes that we stopped and are to let go on. They stand in the books, so that the next broker
 * lets them go on, should this one be killed. */
#pragma once

#include <stdint.h>

struct broker;

/* Stops a process; `pidfd` is its, or -1 (daemon/process.h). 0; -ENOSPC: there are too many already; or -errno. */
int frozen_stop(struct broker *b, int32_t pid, uint64_t start_ticks, int pidfd);

/* Lets it go on. 0 or -errno. */
int frozen_go(struct broker *b, int32_t pid, uint64_t start_ticks, int pidfd);

/* Lets all of them go on: at the start, those of the broker before us, and at the end. */
void frozen_go_all(struct broker *b);
