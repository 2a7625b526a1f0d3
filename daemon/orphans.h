/* SPDX-License-Identifier: MIT */
/* Slots whose process is not known: embryos of parents that died while they forked, and
 * live ones of another pid namespace that never spoke up. Either a process of this account
 * without a slot is found for each, or it goes back. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Puts a slot on the list. */
void orphan_add(struct account *a, uint32_t s);

/* Settles every orphan of the account: watched with the process found, or doomed. One walk
 * through /proc, for embryos of ORPHANS_WALK_NS at most: what is not found by then goes
 * back, and its process, should it exist, joins anew. Done later when the account has used
 * up its attention (daemon/births.h). */
void orphans_place(struct broker *b, struct account *a);

#define ORPHANS_WALK_NS (50 * NS_PER_MS)
