/* SPDX-License-Identifier: MIT */
/* SysV shared memory outlives whoever made it: a segment that no member holds stays
 * charged until it is removed, and nobody tells us when. */
#pragma once

#include "daemon/account.h"

/* Releases the segments that no member holds and that do not exist any more. */
void sysv_release(struct account *a);

/* Whoever was in slot `s` is gone, or has called execve: a segment that it had made and not named
 * yet is named, so that what it paid for it stays charged. Before the slot lets its objects go. */
void sysv_name(struct account *a, uint32_t s);
