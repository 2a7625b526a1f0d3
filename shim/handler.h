/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Is the calling thread in a signal handler? Then it may have interrupted the heap or the
 * loader anywhere, and neither may be entered. Says yes where it cannot tell. Costs some
 * 10 us; async-signal-safe; errno stays. */
bool handler_is_running(void);
