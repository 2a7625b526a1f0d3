/* SPDX-License-Identifier: MIT */
/* The comparison: what this process is charged, and what the kernel counts for it, page by
 * page. Below the kernel by one page is wrong; above it, each page has one of these names. */
#pragma once

#include "tests/exact/tally.h"

extern struct tally tally; /* of this process */

/* All actors are quiet. Ends the process when the two do not agree. */
void compare_or_fail(const char *when);

/* While others make calls (in a child, whose copy of their models is half done): never
 * below, nothing else. */
void compare_roughly_or_fail(const char *when);
