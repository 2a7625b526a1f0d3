/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Has this process put itself under a seccomp filter since it started? Such a filter is
 * about what the program does, and opening a file that the program never would may be its
 * death. One that was there at the start (a unit's SystemCallFilter=, a container's) let
 * the dynamic loader open files, and does not count. errno stays. */
bool confined(void);
