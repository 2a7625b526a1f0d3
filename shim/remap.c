/* SPDX-License-Identifier: MIT */
/* mremap and brk, charged: the two calls that move the end of a mapping. */
#include <errno.h>
#include <sys/mman.h>

#include "reserve/price.h"
#include "shim/charge.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/shared.h"

/* --- mremap --- */

static struct price price_ask(uintptr_t old, uint64_t old_pages, uint64_t new_pages, int flags)
{
	/* The last page decides what growth is made of; the first, when nothing is old. */
	uintptr_t page = old + bytes_of(old_pages ? old_pages - 1 : 0);
	struct price_mremap request = { .old_pages = old_pages, .new_pages = new_pages, .flags = flags,
					.charged = pagemap_count(&marks, PAGEMAP_CHARGED, page, 1) != 0,
					.exempt = pagemap_count(&marks, PAGEMAP_EXEMPT, page, 1) != 0 };
	return price_of_mremap(request);
}

static uint64_t price_pages(struct price p, uintptr_t old, uint64_t old_pages, uint64_t new_pages)
{
	if (p.kind != PRICE_PRIVATE)
		return 0;
	if (p.share == SHARE_COPY)
		return pagemap_count(&marks, PAGEMAP_CHARGED, old, old_pages);
	return new_pages > old_pages ? new_pages - old_pages : 0;
}

/* The marks after a successful move: those lifted, where their pages are now, and those
 * of the pages that came to be. */
static void remap_mark(const struct lifted *l, uintptr_t new, uint64_t old_pages, uint64_t new_pages,
		       struct price p, bool keep_old)
{
	marks_lay(l, new, new_pages);
	if (keep_old)
		marks_lay(l, l->addr, old_pages);
	if (new_pages <= old_pages)
		return;
	uintptr_t grown = new + bytes_of(old_pages);
	if (p.kind == PRICE_PRIVATE)
		pagemap_set(&marks, PAGEMAP_CHARGED, grown, new_pages - old_pages);
	else if (p.kind == PRICE_EXEMPT)
		pagemap_set(&marks, PAGEMAP_EXEMPT, grown, new_pages - old_pages);
}

long map_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *new_addr,
		enum refusal_reason *ret_reason)
{
	uintptr_t at = (uintptr_t)old, fixed = (uintptr_t)new_addr;
	uint64_t old_pages = pages_of(old_bytes), new_pages = pages_of(new_bytes);
	bool keep_old = (flags & MREMAP_DONTUNMAP) != 0, is_fixed = (flags & MREMAP_FIXED) != 0;
	struct lifted from, over = { .pages = 0 };
	*ret_reason = REASON_NONE;
	/* The kernel refuses these for their arguments (mm/mremap.c): no marks change. */
	if (self.state == SELF_OPEN || at % PAGE_BYTES != 0 || new_pages == 0 ||
	    (is_fixed && (fixed % PAGE_BYTES != 0 || fixed >> PAGEMAP_ADDRESS_BITS != 0)))
		return raw_call6(SYS_mremap, old, old_bytes, new_bytes, flags, new_addr, 0);

	struct price price = price_ask(at, old_pages, new_pages, flags);
	uint64_t paid = price_pages(price, at, old_pages, new_pages);
	*ret_reason = charge_take(paid, CATEGORY_MAP);
	if (*ret_reason != REASON_NONE)
		return -ENOMEM;
	marks_lift(at, old_pages, &from);
	if (is_fixed)
		marks_lift(fixed, new_pages, &over);
	long r = -ENOMEM;
	if (from.pages == old_pages && (!is_fixed || over.pages == new_pages))
		r = raw_call6(SYS_mremap, old, old_bytes, new_bytes, flags, new_addr, 0);
	else
		*ret_reason = REASON_TABLE;
	if (raw_failed(r)) {
		marks_lay(&from, at, from.pages);
		marks_lay(&over, fixed, over.pages);
		charge_give(paid, CATEGORY_MAP);
		return r;
	}
	if (over.pages != 0 && over.n[PAGEMAP_EXEMPT] != 0)
		shared_unmapped(new_addr, bytes_of(new_pages));
	remap_mark(&from, (uintptr_t)r, old_pages, new_pages, price, keep_old);
	if (from.n[PAGEMAP_EXEMPT] != 0 || old_pages == 0)
		shared_moved(old, bytes_of(old_pages), (void *)r, bytes_of(new_pages), keep_old || old_pages == 0);
	uint64_t tail = new_pages < old_pages ? marks_charged_from(&from, new_pages) : 0;
	charge_give(over.charged + tail, CATEGORY_MAP);
	return r;
}

/* --- brk --- */

static uintptr_t break_now; /* 0: not asked yet */

static uintptr_t page_up(uintptr_t addr)
{
	return (addr + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

static long break_grow(uintptr_t end, enum refusal_reason *ret_reason)
{
	uintptr_t from = page_up(break_now), to = page_up(end);
	uint64_t pages = (to - from) >> PAGE_SHIFT;
	*ret_reason = charge_take(pages, CATEGORY_MAP);
	if (*ret_reason == REASON_NONE && pagemap_prepare(&marks, from, pages) != 0) {
		charge_give(pages, CATEGORY_MAP);
		*ret_reason = REASON_TABLE;
	}
	if (*ret_reason != REASON_NONE)
		return (long)break_now;
	long now = raw_call1(SYS_brk, end);
	if ((uintptr_t)now != end)
		charge_give(pages, CATEGORY_MAP);
	else
		pagemap_set(&marks, PAGEMAP_CHARGED, from, pages);
	return now;
}

static long break_shrink(uintptr_t end)
{
	uintptr_t from = page_up(end), to = page_up(break_now);
	uint64_t pages = (to - from) >> PAGE_SHIFT;
	uint64_t charged = pagemap_clear(&marks, PAGEMAP_CHARGED, from, pages);
	long now = raw_call1(SYS_brk, end);
	if ((uintptr_t)now != end)
		pagemap_set(&marks, PAGEMAP_CHARGED, from, pages);
	else
		charge_give(charged, CATEGORY_MAP);
	return now;
}

long map_brk(void *end, enum refusal_reason *ret_reason)
{
	uintptr_t to = (uintptr_t)end;
	*ret_reason = REASON_NONE;
	/* Like libc's, not for two threads at once: the break is one number. */
	if (break_now == 0 || to == 0)
		break_now = (uintptr_t)raw_call1(SYS_brk, 0);
	if (to == 0)
		return (long)break_now;
	long now = self.state == SELF_OPEN	? raw_call1(SYS_brk, to) :
		   page_up(to) > page_up(break_now) ? break_grow(to, ret_reason) :
						      break_shrink(to);
	break_now = (uintptr_t)now;
	return now;
}
