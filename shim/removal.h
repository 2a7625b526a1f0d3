/* SPDX-License-Identifier: MIT */
/* A range whose mappings a system call is about to take away, in part or whole: taken out of
 * both books, the page map and the table of shared ranges, before the call; and after it put
 * back where it still stands, or entered where it stands now. What has not been put anywhere
 * in the end is gone. */
#pragma once

#include "shim/marks.h"

struct removal {
	struct lifted lifted;
	uint64_t laid;	/* charged pages that stand again */
	uint32_t taken; /* shim/shared.h; 0: nothing is shared */
};

/* Takes out as much of it as can be kept in mind: ret->lifted.pages. */
void removal_begin(uintptr_t addr, uint64_t pages, struct removal *ret);
/* Takes out all of it. False: no memory, and nothing has changed. */
bool removal_begin_whole(uintptr_t addr, uint64_t pages, struct removal *ret);

/* The pages [from, end) stand where they stood. */
void removal_undo(struct removal *r, uint64_t from, uint64_t end);
/* Those of them that are mapped now do. */
void removal_undo_present(struct removal *r, uint64_t from, uint64_t end);
/* They stand at `to`; or, kept, in both places. */
void removal_move(struct removal *r, uint64_t from, uint64_t end, uintptr_t to, bool keep);

/* The rest is gone. Returns how many charged pages are no longer: to be given back; less than
 * 0 when some stand twice. */
int64_t removal_end(struct removal *r);
