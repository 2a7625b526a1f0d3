/* SPDX-License-Identifier: MIT */
/* A broker killed while it forks, for its keeper or to read its configuration, is survived for a
 * moment by a copy that still holds its lock and its socket (daemon/descriptors.h closes them).
 * The next broker may come sooner than that, and is not to give up. */
#pragma once

#include <stdbool.h>
#include <time.h>

#define REMNANT_TRIES 50
#define REMNANT_PAUSE_NS 20000000l

/* What is held may be held by such a copy: waits a little, and is to be tried again. False after
 * REMNANT_TRIES of these, a second in all: it is somebody else's. `*tries` begins at 0. */
static inline bool remnant_may_go(int *tries)
{
	if (++*tries > REMNANT_TRIES)
		return false;
	nanosleep(&(struct timespec){ .tv_nsec = REMNANT_PAUSE_NS }, NULL);
	return true;
}
