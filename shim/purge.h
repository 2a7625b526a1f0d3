/* SPDX-License-Identifier: MIT */
/* What is free in the heap, given back to the kernel. */
#pragma once

#include <stdbool.h>

/* Everything free in every arena; and before that what is in this thread's cache, if `cached`.
 * When it returns, no page that was free before is held back because another thread was about
 * to purge it, unless that took more than a second. Not for who holds one of jemalloc's locks, or
 * is interrupted within a purge (purge_is_running). */
void purge_arenas(bool cached);

/* Is the calling thread purging, or interrupted there? */
bool purge_is_running(void);

/* Around a fork in a process with several threads: nobody purges while it is copied, for what is
 * on its way back would be lost to the child. Signals are blocked from the first to the last. In
 * the parent the second comes before jemalloc lets go of its locks, and the third, in which the
 * purges that were put off are made up for, when it has. errno may change. */
void purge_before_fork(void);
void purge_after_fork(void);
void purge_made_up(void);
void purge_child(void);
