/* SPDX-License-Identifier: MIT */
/* mmap, munmap and mprotect, charged. The order is always: price, charge, kernel, marks;
 * and back again when the kernel says no. Marks of what a call replaces or frees leave the
 * page map before the call, marks of what it makes enter it after (shim/marks.h). */
#include "shim/map.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "shim/backing.h"
#include "shim/charge.h"
#include "shim/confined.h"
#include "shim/maps.h"
#include "shim/marks.h"
#include "shim/present.h"
#include "shim/raw.h"
#include "shim/removal.h"
#include "shim/self.h"
#include "shim/shared.h"

static bool noreserve_is_free(void)
{
	return self.ledger && self.ledger->header.noreserve_free;
}

/* --- mmap --- */

/* One mmap on its way. */
struct mapping {
	uintptr_t addr;
	uint64_t pages;
	bool fixed;
	int fd;
	enum category category;
	enum price_kind kind;
	bool fills;	/* and its page faults make pages of the file */
	struct behind behind;
	uint64_t paid;	/* privately, for pages not charged before */
	struct shared_holding object;
};

static struct mapping mapping_ask(void *addr, size_t bytes, int prot, int flags, int fd, enum category category)
{
	struct mapping m = { .addr = (uintptr_t)addr, .object.object = LEDGER_OBJECTS,
			     .fixed = (flags & MAP_FIXED) != 0, .fd = fd, .category = category };
	behind_find(prot, flags, fd, &m.behind);
	m.pages = pages_of(bytes) + m.behind.unit - 1;
	m.pages -= m.pages % m.behind.unit;
	struct price_request request = { .prot = prot, .flags = flags, .noreserve_free = noreserve_is_free(),
					 .backing = m.behind.backing, .may_write = m.behind.may_write,
					 .has_holes = m.behind.has_holes };
	m.kind = price_of_mmap(request).kind;
	m.fills = request.has_holes && price_of_faults(request).kind == PRICE_OBJECT_FILE;
	return m;
}

/* Only somebody who sizes it without end makes this many changes meanwhile. */
#define LOOKS 16

/* Whoever sized the file after we had looked found no object of it yet, or one that had not grown
 * yet to what we saw: so it is looked at again. */
static enum refusal_reason file_pay(struct mapping *m)
{
	struct behind *b = &m->behind;
	enum refusal_reason reason = shared_hold(OBJECT_FILE, b->dev, b->ino, b->pages, &m->object);
	for (int looks = 0; reason == REASON_NONE && m->object.added != 0 && looks < LOOKS; looks++) {
		if (!behind_has_changed(m->fd, b))
			break;
		reason = shared_file_fit(b->dev, b->ino, b->pages, &m->object.added);
	}
	return reason;
}

static enum refusal_reason price_pay(struct mapping *m)
{
	enum refusal_reason reason;
	switch (m->kind) {
	case PRICE_PRIVATE:
		m->paid = m->pages - (m->fixed ? pagemap_count(&marks, PAGEMAP_CHARGED, m->addr, m->pages) : 0);
		reason = charge_take(m->paid, m->category);
		if (reason != REASON_NONE)
			m->paid = 0;
		return reason;
	case PRICE_OBJECT_ANON:
		return shared_hold(OBJECT_ANON, 0, 0, m->pages, &m->object);
	case PRICE_OBJECT_FILE:
		return file_pay(m);
	case PRICE_REFUSED:
		return REASON_POLICY;
	default:
		return REASON_NONE;
	}
}

static void mapping_refund(const struct mapping *m)
{
	charge_give(m->paid, m->category);
	shared_unhold(&m->object);
}

static enum refusal_reason mapping_pay(struct mapping *m)
{
	enum refusal_reason reason = price_pay(m);
	if (reason == REASON_NONE && m->fills)
		reason = file_pay(m);
	/* What replaces a mapping must not fail once the old one is gone. */
	if (reason == REASON_NONE && m->fixed && m->kind != PRICE_NONE &&
	    pagemap_prepare(&marks, m->addr, m->pages) != 0)
		reason = REASON_TABLE;
	if (reason != REASON_NONE)
		mapping_refund(m);
	return reason;
}

/* Memory of our own that is needed for it must not lie where it will stand. */
static enum refusal_reason mapping_prepare(struct mapping *m)
{
	if (!m->fixed)
		return mapping_pay(m);
	struct pagemap_run last = marks_keep_out((struct pagemap_run){ m->addr, m->pages });
	enum refusal_reason reason = mapping_pay(m);
	marks_keep_out(last);
	return reason;
}

/* Private: the new marks; those that stood there already were paid for, by the mapping
 * this one replaced or by a stack that glibc unmapped unseen (shim/thread.c). */
static int private_mark(struct mapping *m)
{
	int64_t fresh = pagemap_set(&marks, PAGEMAP_CHARGED, m->addr, m->pages);
	if (fresh < 0)
		return -ENOMEM;
	if ((uint64_t)fresh < m->paid)
		charge_give(m->paid - (uint64_t)fresh, m->category);
	return 0;
}

/* Not private: whatever was charged in the range is no longer. */
static int other_mark(struct mapping *m)
{
	charge_give(pagemap_clear(&marks, PAGEMAP_CHARGED, m->addr, m->pages), m->category);
	if (m->kind == PRICE_NONE)
		return 0;
	return pagemap_set(&marks, PAGEMAP_EXEMPT, m->addr, m->pages) < 0 ? -ENOMEM : 0;
}

/* The range was ours already, or nobody's: what was shared in it has been replaced. The new
 * one is entered before the old ones go, for they may be of the same object. */
static int mapping_mark(struct mapping *m)
{
	uint32_t replaced = 0;
	if (pagemap_clear(&marks, PAGEMAP_EXEMPT, m->addr, m->pages) != 0 || shared_is_anything_private())
		replaced = shared_take(m->addr, m->pages);
	int error = m->kind == PRICE_PRIVATE ? private_mark(m) : other_mark(m);
	if (error == 0)
		shared_mapped(&(struct shared_range){ .addr = m->addr, .pages = m->pages, .object = m->object.object,
						      .is_private = m->fills });
	shared_forget(replaced);
	return error;
}

long map_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset, enum category category,
	      enum refusal_reason *ret_reason)
{
	*ret_reason = REASON_NONE;
	if (self.state == SELF_OPEN)
		return raw_mmap(addr, bytes, prot, flags, fd, offset);
	struct mapping m = mapping_ask(addr, bytes, prot, flags, fd, category);
	*ret_reason = mapping_prepare(&m);
	if (*ret_reason != REASON_NONE)
		return -ENOMEM;
	long r = raw_mmap(addr, bytes, prot, flags, fd, offset);
	if (raw_failed(r)) {
		mapping_refund(&m);
		/* Before Linux 6.12, and where the file's own mmap fails, the kernel has unmapped
		 * what it was to replace (mm/vma.c). */
		if (m.fixed && m.addr % PAGE_BYTES == 0 && !present_whole(m.addr, m.pages))
			map_sweep(m.addr, m.pages, category);
		return r;
	}
	m.addr = (uintptr_t)r;
	if (mapping_mark(&m) != 0) {
		/* No memory for a node of the page map: as if it had been refused at once. Never
		 * of a fixed mapping, so nothing was replaced. */
		raw_munmap((void *)r, bytes);
		mapping_refund(&m);
		*ret_reason = REASON_TABLE;
		return -ENOMEM;
	}
	return r;
}

/* --- munmap --- */

long map_munmap(void *addr, size_t bytes, enum category category)
{
	uintptr_t at = (uintptr_t)addr;
	uint64_t left = pages_of(bytes);
	/* What the kernel refuses for its arguments changes no marks (mm/vma.c:do_vmi_munmap). */
	if (self.state == SELF_OPEN || at % PAGE_BYTES != 0 || left == 0 || at >> PAGEMAP_ADDRESS_BITS != 0 ||
	    left > PAGEMAP_PAGES - (at >> PAGE_SHIFT))
		return raw_munmap(addr, bytes);
	while (left != 0) {
		struct removal r;
		removal_begin(at, left, &r);
		uint64_t pages = r.lifted.pages;
		long result = raw_munmap((void *)at, bytes_of(pages));
		if (raw_failed(result))
			removal_undo(&r, 0, pages);
		charge_give((uint64_t)removal_end(&r), category);
		if (raw_failed(result))
			return result;
		at += bytes_of(pages);
		left -= pages;
	}
	return 0;
}

/* --- mprotect --- */

static long protect(uintptr_t at, uint64_t bytes, int prot, int pkey)
{
	return pkey == -1 ? raw_call3(SYS_mprotect, at, bytes, prot) :
			    raw_call4(SYS_pkey_mprotect, at, bytes, prot, pkey);
}

/* How many pages from `at` on are writable, at most `pages`. */
static uint64_t writable_prefix(struct maps *m, uintptr_t at, uint64_t pages)
{
	struct maps_entry e;
	uintptr_t from = at, end = at + bytes_of(pages);
	while (at < end && maps_next(m, &e)) {
		if (e.end <= at)
			continue;
		if (e.start > at || !e.writable)
			break;
		at = e.end;
	}
	return min_u64((at - from) >> PAGE_SHIFT, pages);
}

/* The kernel goes from mapping to mapping and stops at the first that it cannot change, having
 * changed those before (POSIX allows it). Where nobody can say how far it came, it is charged
 * as far as it may have come, the first hole. */
static uint64_t protected_prefix(uintptr_t at, uint64_t pages)
{
	struct maps m = { .have = 0 };
	long fd = confined() ? -1 : raw_call4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (raw_failed(fd))
		return present_prefix(at, pages);
	m.fd = (int)fd;
	uint64_t done = writable_prefix(&m, at, pages);
	raw_call1(SYS_close, fd);
	return done;
}

/* Nothing is mapped above what a program may map, however far the range goes. */
static uint64_t pages_mappable(uintptr_t at, size_t bytes)
{
	uint64_t first = at >> PAGE_SHIFT;
	return first < PAGEMAP_PAGES ? min_u64(pages_of(bytes), PAGEMAP_PAGES - first) : 0;
}

/* What the kernel refuses before it looks at any mapping (mm/mprotect.c:do_mprotect_pkey). The last
 * bytes before 2^64 rounded up are none, there and here (include/base.h). */
static bool range_is_wrong(uintptr_t at, size_t bytes)
{
	return at % PAGE_BYTES != 0 || at + bytes_of(pages_of(bytes)) <= at;
}

long map_mprotect(void *addr, size_t bytes, int prot, int pkey, enum category category,
		  enum refusal_reason *ret_reason)
{
	uintptr_t at = (uintptr_t)addr;
	uint64_t pages = pages_mappable(at, bytes);
	*ret_reason = REASON_NONE;
	bool costs = self.state != SELF_OPEN && price_of_mprotect(prot).share == SHARE_UNPAID &&
		     !range_is_wrong(at, bytes);
	uint64_t unpaid = costs ? pagemap_unpaid(&marks, at, pages) : 0;
	if (unpaid != 0) {
		*ret_reason = charge_take(unpaid, category);
		if (*ret_reason != REASON_NONE)
			return -ENOMEM;
		if (pagemap_prepare(&marks, at, pages) != 0) {
			charge_give(unpaid, category);
			*ret_reason = REASON_TABLE;
			return -ENOMEM;
		}
	}
	long r = protect(at, bytes, prot, pkey);
	if (unpaid != 0) {
		uint64_t done = !raw_failed(r) ? pages :
				r == -EINVAL   ? 0 :
						 protected_prefix(at, pages);
		int64_t fresh = pagemap_pay(&marks, at, done);
		if (fresh >= 0 && (uint64_t)fresh < unpaid)
			charge_give(unpaid - (uint64_t)fresh, category);
	}
	return r;
}

/* --- what came and went without us --- */

enum refusal_reason map_found(void *addr, size_t bytes, uint64_t paid, enum category category)
{
	uintptr_t at = (uintptr_t)addr & ~(PAGE_BYTES - 1);
	uint64_t pages = ((uintptr_t)addr + bytes - at + PAGE_BYTES - 1) >> PAGE_SHIFT;
	if (self.state == SELF_OPEN)
		return REASON_NONE;
	uint64_t unpaid = pages - pagemap_count(&marks, PAGEMAP_CHARGED, at, pages);
	uint64_t more = unpaid > paid ? unpaid - paid : 0;
	enum refusal_reason reason = charge_take(more, category);
	if (reason != REASON_NONE)
		return reason;
	int64_t fresh = pagemap_set(&marks, PAGEMAP_CHARGED, at, pages);
	if (fresh < 0) {
		charge_give(more, category);
		return REASON_TABLE;
	}
	if (paid + more > (uint64_t)fresh)
		charge_give(paid + more - (uint64_t)fresh, category);
	return REASON_NONE;
}

void map_lost(void *addr, size_t bytes, enum category category)
{
	uintptr_t at = (uintptr_t)addr & ~(PAGE_BYTES - 1);
	uint64_t pages = ((uintptr_t)addr + bytes - at + PAGE_BYTES - 1) >> PAGE_SHIFT;
	if (self.state != SELF_OPEN)
		charge_give(pagemap_clear(&marks, PAGEMAP_CHARGED, at, pages), category);
}

void map_forget(uintptr_t addr, uint64_t pages, enum category category)
{
	while (pages != 0) {
		struct removal r;
		removal_begin(addr, pages, &r);
		addr += bytes_of(r.lifted.pages);
		pages -= r.lifted.pages;
		charge_give((uint64_t)removal_end(&r), category);
	}
}

bool map_sweep(uintptr_t addr, uint64_t pages, enum category category)
{
	long r = present_occupy(addr, pages);
	if (r == 0) {
		map_forget(addr, pages, category);
		raw_munmap((void *)addr, bytes_of(pages));
		return true;
	}
	if (r != -EEXIST || pages <= 1 || present_whole(addr, pages))
		return false;
	bool low = map_sweep(addr, pages / 2, category);
	bool high = map_sweep(addr + bytes_of(pages / 2), pages - pages / 2, category);
	return low || high;
}

long map_soften(void *addr, size_t bytes, enum category category)
{
	long r = raw_madvise(addr, bytes, MADV_DONTNEED);
	if (!raw_failed(r))
		map_lost(addr, bytes, category);
	return r;
}

enum refusal_reason map_harden(void *addr, size_t bytes, enum category category)
{
	return map_found(addr, bytes, 0, category);
}
