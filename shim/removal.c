/* SPDX-License-Identifier: MIT */
#include "shim/removal.h"

#include "shim/present.h"
#include "shim/shared.h"

static void removal_fill(struct removal *r)
{
	r->laid = 0;
	r->taken = 0;
	if (r->lifted.n[PAGEMAP_EXEMPT] != 0 || shared_is_anything_private())
		r->taken = shared_take(r->lifted.addr, r->lifted.pages);
}

void removal_begin(uintptr_t addr, uint64_t pages, struct removal *ret)
{
	marks_lift(addr, pages, &ret->lifted);
	removal_fill(ret);
}

bool removal_begin_whole(uintptr_t addr, uint64_t pages, struct removal *ret)
{
	if (!marks_lift_whole(addr, pages, &ret->lifted))
		return false;
	removal_fill(ret);
	return true;
}

void removal_move(struct removal *r, uint64_t from, uint64_t end, uintptr_t to, bool keep)
{
	uintptr_t at = r->lifted.addr + bytes_of(from);
	r->laid += marks_lay(&r->lifted, from, end, to);
	if (keep)
		r->laid += marks_lay(&r->lifted, from, end, at);
	shared_put(r->taken, at, end - from, to, keep);
}

void removal_undo(struct removal *r, uint64_t from, uint64_t end)
{
	removal_move(r, from, end, r->lifted.addr + bytes_of(from), false);
}

void removal_undo_present(struct removal *r, uint64_t from, uint64_t end)
{
	while (from < end) {
		uintptr_t at = r->lifted.addr + bytes_of(from);
		uint64_t mapped = present_prefix(at, end - from);
		removal_undo(r, from, from + mapped);
		from += mapped;
		from += present_missing(r->lifted.addr + bytes_of(from), end - from);
	}
}

int64_t removal_end(struct removal *r)
{
	shared_forget(r->taken);
	marks_drop(&r->lifted);
	return (int64_t)r->lifted.charged - (int64_t)r->laid;
}
