/* SPDX-License-Identifier: MIT */
/* Slots whose process is not known: embryos of parents that died while they forked, and
 * live ones of another pid namespace that never spoke up. Either a process of this account
 * without a slot is found for each, or it goes back. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Puts a slot on the list. */
void orphan_add(struct account *a, uint32_t s);

/* Who was passed over in the search may be a lost child now: it begins anew. */
void orphans_seek(struct account *a);

/* Settles every orphan of the account: watched with the process found, or doomed. One walk
 * through /proc of ORPHANS_WALK_NS at most: what is not found by then goes back, and its process,
 * should it exist, joins anew; where a live one is among them, the walk is gone on with next time.
 * Done later when the account has used up its attention (daemon/births.h). */
void orphans_place(struct broker *b, struct account *a);

#define ORPHANS_WALK_NS (50 * NS_PER_MS)
