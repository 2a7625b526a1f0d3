/* SPDX-License-Identifier: MIT */
/* SysV shared memory outlives whoever made it: a segment that no member holds stays
 * charged until it is removed, and nobody tells us when. */
#pragma once

#include "daemon/account.h"

/* Releases the segments that no member holds and that do not exist any more. */
void sysv_release(struct account *a);
