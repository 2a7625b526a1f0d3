/* SPDX-License-Identifier: MIT */
/* mremap and brk, charged: the two calls that move the end of a mapping. */
#include <errno.h>
#include <sys/mman.h>

#include "reserve/price.h"
#include "shim/charge.h"
#include "shim/lock.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/present.h"
#include "shim/raw.h"
#include "shim/removal.h"
#include "shim/self.h"
#include "shim/shared.h"

/* --- mremap --- */

/* One mremap on its way. Lengths as the kernel rounds them, which may make 0 of them. */
struct remap {
	uintptr_t old, to;
	uint64_t old_pages, new_pages, common;
	bool keep, fixed;
	bool may_hole; /* equal lengths to a fixed place may go over several mappings (Linux 6.17) */
	struct price price;
	uint64_t paid;
	uint64_t laid; /* of it: growth that stands */
	struct removal from, over;
	uint32_t holes;
	struct pagemap_run hole[LIFT_RUNS]; /* in the old range, before */
};

static uint64_t pages_rounded(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) >> PAGE_SHIFT;
}

/* Of a copy all pages do: pieces that were made writable and are no more may be one mapping with the
 * rest. But not where the kernel will refuse it, for a length that nobody has. */
static bool is_charged(const struct remap *r, uintptr_t page)
{
	bool inside = r->old_pages <= PAGEMAP_PAGES - (r->old >> PAGE_SHIFT);
	if (r->keep && inside && (r->may_hole || present_whole(r->old, r->old_pages)))
		return pagemap_count(&marks, PAGEMAP_CHARGED, r->old, r->old_pages) != 0;
	return pagemap_count(&marks, PAGEMAP_CHARGED, page, 1) != 0;
}

static struct price price_ask(const struct remap *r, int flags)
{
	/* The last page decides what growth is made of; the first, when nothing is old. */
	uintptr_t page = r->old + bytes_of(r->old_pages ? r->old_pages - 1 : 0);
	struct price_mremap request = { .old_pages = r->old_pages, .new_pages = r->new_pages, .flags = flags,
					.charged = is_charged(r, page),
					.exempt = pagemap_count(&marks, PAGEMAP_EXEMPT, page, 1) != 0 };
	return price_of_mremap(request);
}

static uint64_t price_pages(const struct remap *r)
{
	if (r->price.kind != PRICE_PRIVATE)
		return 0;
	if (r->price.share == SHARE_COPY)
		return pagemap_count(&marks, PAGEMAP_CHARGED, r->old, r->old_pages);
	return r->new_pages > r->old_pages ? r->new_pages - r->old_pages : 0;
}

/* --- before --- */

/* Over the holes of what moves, what is there already stays. False: too many to remember. */
static bool holes_find(struct remap *r)
{
	r->holes = 0;
	if (!r->may_hole || present_whole(r->old, r->old_pages))
		return true;
	for (uint64_t at = 0; at < r->old_pages;) {
		at += present_prefix(r->old + bytes_of(at), r->old_pages - at);
		if (at == r->old_pages)
			break;
		if (r->holes == LIFT_RUNS)
			return false;
		uint64_t n = present_missing(r->old + bytes_of(at), r->old_pages - at);
		r->hole[r->holes++] = (struct pagemap_run){ bytes_of(at), n };
		at += n;
	}
	return true;
}

/* What may go from the old range. Most calls need it to be one mapping, and fail otherwise;
 * then its marks, which may be other threads', are not touched. */
static uint64_t pages_from(const struct remap *r)
{
	bool inside = r->old_pages <= PAGEMAP_PAGES - (r->old >> PAGE_SHIFT);
	bool may_span = r->may_hole || r->new_pages < r->old_pages;
	return inside && (may_span || present_whole(r->old, r->old_pages)) ? r->old_pages : 0;
}

static uint64_t pages_over(const struct remap *r)
{
	return r->fixed ? min_u64(r->new_pages, PAGEMAP_PAGES - (r->to >> PAGE_SHIFT)) : 0;
}

static bool growth_prepare(const struct remap *r)
{
	return r->new_pages <= r->old_pages || pagemap_stock(&marks, 1, r->new_pages - r->old_pages) == 0;
}

/* False: no memory to remember all that has to be remembered; nothing has changed. */
static bool remap_lift(struct remap *r)
{
	if (!holes_find(r) || !removal_begin_whole(r->old, pages_from(r), &r->from))
		return false;
	bool has_room = growth_prepare(r) && marks_lay_prepare(&r->from.lifted);
	if (has_room && removal_begin_whole(r->to, pages_over(r), &r->over))
		return true;
	removal_undo(&r->from, 0, r->from.lifted.pages);
	removal_end(&r->from);
	return false;
}

/* --- after --- */

static void growth_mark(struct remap *r, uintptr_t at)
{
	uintptr_t end = at + bytes_of(r->new_pages);
	uint64_t pages = r->new_pages - r->common;
	enum pagemap_plane plane = r->price.kind == PRICE_PRIVATE ? PAGEMAP_CHARGED : PAGEMAP_EXEMPT;
	if (pages == 0 || r->old_pages == 0)
		return;
	if (r->price.kind == PRICE_PRIVATE || r->price.kind == PRICE_EXEMPT) {
		int64_t fresh = pagemap_set(&marks, plane, end - bytes_of(pages), pages);
		if (plane == PAGEMAP_CHARGED)
			r->laid = fresh < 0 ? pages : (uint64_t)fresh;
	}
	shared_grown(end - bytes_of(pages), end);
}

static void duplicate_mark(struct remap *r, uintptr_t at)
{
	if (r->price.kind == PRICE_EXEMPT)
		pagemap_set(&marks, PAGEMAP_EXEMPT, at, r->new_pages);
	shared_duplicated(r->old, at, r->new_pages);
}

/* The first `pages` of the old range stand at `at` now. */
static void moved_mark(struct remap *r, uint64_t pages, uintptr_t at)
{
	removal_move(&r->from, 0, pages, at, r->keep);
	for (uint32_t i = 0; i < r->holes; i++) {
		uint64_t from = r->hole[i].addr >> PAGE_SHIFT;
		if (from < pages)
			removal_undo(&r->over, from, min_u64(from + r->hole[i].pages, pages));
	}
}

/* Where the kernel chose the place, what is marked there is older than the mapping that came:
 * a stack that libc unmapped unseen, or memory that was not for children. */
static void place_clear(const struct remap *r, uintptr_t at)
{
	uint64_t stays = at == r->old ? r->common : 0;
	if (!r->fixed)
		map_forget(at + bytes_of(stays), r->new_pages - stays, CATEGORY_MAP);
}

static void success_mark(struct remap *r, uintptr_t at)
{
	place_clear(r, at);
	moved_mark(r, r->common, at);
	if (r->old_pages == 0)
		duplicate_mark(r, at);
	growth_mark(r, at);
}

/* Nobody can tell a copy from what it was to replace: where anything is, it may be the copy. */
static void copied_mark(struct remap *r)
{
	uint64_t pages = present_whole(r->old, 1) ? min_u64(r->from.lifted.pages, r->over.lifted.pages) : 0, at = 0;
	while (at < pages) {
		uint64_t n = present_prefix(r->to + bytes_of(at), pages - at);
		removal_move(&r->from, at, at + n, r->to + bytes_of(at), true);
		at += n;
		n = present_missing(r->to + bytes_of(at), pages - at);
		removal_undo(&r->from, at, at + n);
		at += n;
	}
	removal_undo(&r->from, at, r->from.lifted.pages);
}

/* What the kernel has done on the way to a fixed place before it failed: the place may be
 * unmapped, and what is beyond the new length; of several mappings the first may have moved. */
static void failure_mark(struct remap *r, long error)
{
	uint64_t moved = 0;
	if (!r->fixed) {
		removal_undo(&r->from, 0, r->from.lifted.pages);
	} else if (r->may_hole && r->keep && error != -EINVAL) {
		copied_mark(r);
	} else {
		moved = r->may_hole ? present_gap(r->old, r->from.lifted.pages) : 0;
		moved_mark(r, moved, r->to);
		removal_undo_present(&r->from, moved, r->from.lifted.pages);
	}
	removal_undo_present(&r->over, moved, r->over.lifted.pages);
}

/* What was lifted and paid and does not stand anywhere. */
static uint64_t remap_end(struct remap *r)
{
	int64_t over = removal_end(&r->over), from = removal_end(&r->from);
	int64_t left = (int64_t)(r->paid - r->laid) + over + from;
	return left > 0 ? (uint64_t)left : 0;
}

static long remap_do(struct remap *r, size_t old_bytes, size_t new_bytes, int flags)
{
	long result = raw_call6(SYS_mremap, r->old, old_bytes, new_bytes, flags, r->to, 0);
	if (raw_failed(result))
		failure_mark(r, result);
	else
		success_mark(r, (uintptr_t)result);
	charge_give(remap_end(r), CATEGORY_MAP);
	return result;
}

long map_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *new_addr,
		enum refusal_reason *ret_reason)
{
	struct remap r = { .old = (uintptr_t)old, .to = (uintptr_t)new_addr, .old_pages = pages_rounded(old_bytes),
			   .new_pages = pages_rounded(new_bytes), .keep = (flags & MREMAP_DONTUNMAP) != 0,
			   .fixed = (flags & MREMAP_FIXED) != 0 };
	*ret_reason = REASON_NONE;
	/* The kernel refuses these for their arguments (mm/mremap.c): no marks change. */
	if (self.state == SELF_OPEN || r.old % PAGE_BYTES != 0 || r.old >> PAGEMAP_ADDRESS_BITS != 0 || r.new_pages == 0 ||
	    (r.fixed && (r.to % PAGE_BYTES != 0 || r.to >> PAGEMAP_ADDRESS_BITS != 0)))
		return raw_call6(SYS_mremap, old, old_bytes, new_bytes, flags, new_addr, 0);
	r.common = min_u64(r.old_pages, r.new_pages);
	r.may_hole = r.fixed && r.old_pages == r.new_pages;
	r.price = price_ask(&r, flags);
	uint64_t paid = price_pages(&r);
	*ret_reason = charge_take(paid, CATEGORY_MAP);
	if (*ret_reason != REASON_NONE)
		return -ENOMEM;
	r.paid = paid;
	struct pagemap_run last = marks_keep_out((struct pagemap_run){ r.to, r.fixed ? r.new_pages : 0 });
	bool lifted = remap_lift(&r);
	marks_keep_out(last);
	if (!lifted) {
		charge_give(paid, CATEGORY_MAP);
		*ret_reason = REASON_TABLE;
		return -ENOMEM;
	}
	return remap_do(&r, old_bytes, new_bytes, flags);
}

/* --- brk --- */

/* The break is one number: two threads that move it at once would each pay for the other's
 * half. */
void map_child(void)
{
	self.break_lock.word = 0;
}

static uintptr_t page_up(uintptr_t addr)
{
	return (addr + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

static uintptr_t break_call(uintptr_t end)
{
	return (uintptr_t)raw_call1(SYS_brk, end);
}

static uintptr_t break_grow(uintptr_t before, uintptr_t end, enum refusal_reason *ret_reason)
{
	uintptr_t from = page_up(before), to = page_up(end);
	uint64_t pages = (to - from) >> PAGE_SHIFT;
	*ret_reason = charge_take(pages, CATEGORY_MAP);
	if (*ret_reason != REASON_NONE)
		return before;
	if (pagemap_prepare(&marks, from, pages) != 0) {
		charge_give(pages, CATEGORY_MAP);
		*ret_reason = REASON_TABLE;
		return before;
	}
	uintptr_t now = break_call(end);
	if (now != end) {
		charge_give(pages, CATEGORY_MAP);
		return now;
	}
	map_forget(from, pages, CATEGORY_MAP); /* as in place_clear */
	pagemap_set(&marks, PAGEMAP_CHARGED, from, pages);
	return now;
}

static uintptr_t break_shrink(uintptr_t before, uintptr_t end, enum refusal_reason *ret_reason)
{
	struct removal r;
	uintptr_t from = page_up(end), to = page_up(before);
	/* What is there may have been mapped over, protected, unmapped since. */
	if (!removal_begin_whole(from, (to - from) >> PAGE_SHIFT, &r)) {
		*ret_reason = REASON_TABLE;
		return before;
	}
	uintptr_t now = break_call(end);
	if (now != end)
		removal_undo(&r, 0, r.lifted.pages);
	charge_give((uint64_t)removal_end(&r), CATEGORY_MAP);
	return now;
}

static uintptr_t break_move(uintptr_t before, uintptr_t end, enum refusal_reason *ret_reason)
{
	if (self.state == SELF_OPEN || end >> PAGEMAP_ADDRESS_BITS != 0 || page_up(end) == page_up(before))
		return break_call(end);
	return end > before ? break_grow(before, end, ret_reason) : break_shrink(before, end, ret_reason);
}

extern void *__curbrk; /* libc's own idea of the break, kept true for whoever reads it */

/* To `end`, or by `increment` when that is NULL. Where it was before, too. */
static uintptr_t break_locked(uintptr_t end, intptr_t increment, uintptr_t *ret_before,
			      enum refusal_reason *ret_reason)
{
	uintptr_t before = break_call(0);
	if (end == 0)
		end = before + (uintptr_t)increment;
	bool wraps = increment > 0 ? end < before : increment < 0 && end > before;
	uintptr_t now = end == before || wraps ? before : break_move(before, end, ret_reason);
	__curbrk = (void *)now;
	*ret_before = before;
	return wraps ? 0 : now;
}

static uintptr_t break_to(uintptr_t end, intptr_t increment, uintptr_t *ret_before,
			  enum refusal_reason *ret_reason)
{
	uintptr_t now = 0;
	*ret_reason = REASON_NONE;
	uint64_t signals = signals_block();
	if (lock_take(&self.break_lock) != LOCK_NOT_TAKEN) {
		now = break_locked(end, increment, ret_before, ret_reason);
		lock_release(&self.break_lock);
	} else {
		*ret_before = break_call(0);
	}
	signals_restore(signals);
	return now;
}

long map_brk(void *end, enum refusal_reason *ret_reason)
{
	uintptr_t before, now = break_to((uintptr_t)end, 0, &before, ret_reason);
	return (long)(now ? now : before);
}

long map_sbrk(intptr_t increment, enum refusal_reason *ret_reason)
{
	uintptr_t before, now = break_to(0, increment, &before, ret_reason);
	/* A shrinking that the kernel refuses is none to libc (misc/sbrk.c). */
	return now == 0 || (increment > 0 && now < before + (uintptr_t)increment) ? -ENOMEM : (long)before;
}
