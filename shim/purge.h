/* SPDX-License-Identifier: MIT */
/* What is free in the heap, given back to the kernel. */
#pragma once

#include <stdbool.h>

/* Everything free in every arena; and before that what is in this thread's cache, if `cached`.
 * When it returns, no page that was free before is held back because another thread was about
 * to purge it. Not for who holds one of jemalloc's locks, or is interrupted within a purge
 * (purge_is_running). Takes no memory. */
void purge_arenas(bool cached);

/* Is the calling thread purging, or interrupted there? */
bool purge_is_running(void);

/* Around a fork in a process with several threads: nobody purges while it is copied, for what is
 * on its way back would be lost to the child. */
void purge_before_fork(void);
void purge_after_fork(void);
void purge_child(void);
