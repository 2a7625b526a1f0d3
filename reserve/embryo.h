/* SPDX-License-Identifier: MIT */
/* fork: the child's charge, taken before the child exists.
 *
 *   parent: embryo_conceive   claims a slot, lets it hold what the parent holds, funds it
 *           fork()
 *   parent: embryo_born       writes the child's pid where the broker looks for it
 *   child:  embryo_adopt      settles the charge to what it really inherited; LIVE
 *   parent: embryo_release    fork failed: everything back
 *
 * Either side may be killed anywhere; the broker settles what is left (member_reap). */
#pragma once

#include "reserve/gather.h"

struct embryo {
	uint32_t slot;
	uint32_t generation;
	uint32_t credit; /* pages its child is let in without paying for; the shim's */
};

/* REASON_NONE and `ret`, or why not (nothing changed): REASON_SLOTS when the ledger is full. */
enum refusal_reason embryo_conceive(const struct gather *g, uint64_t pages, struct embryo *ret);

/* In the parent, with the child's pid as the broker sees it; 0 when that is not known. */
void embryo_born(struct ledger *l, uint32_t parent, struct embryo e, int32_t pid);

/* In the child. `pages` is its charge; false when the broker has buried the slot (the
 * child must join anew) or the embryo holds less than `pages` (nothing changed). */
bool embryo_adopt(struct ledger *l, struct embryo e, uint32_t pages, int32_t pid);

/* After conceiving and after birth: does the broker sleep, and must be woken to hear of it in
 * time? */
bool embryo_bell_is_unheard(const struct ledger *l);

/* The parent maps something of object `o` now, which it holds, and the copy may have the mapping: the
 * embryo holds it, too, if it still is one. The child lets go of what it has not got. */
void embryo_hold(struct ledger *l, uint32_t parent, struct embryo e, uint32_t o);

void embryo_release(struct ledger *l, uint32_t parent, struct embryo e);
