/* SPDX-License-Identifier: MIT */
/* mmap, munmap and mprotect, charged. The order is always: price, charge, kernel, marks;
 * and back again when the kernel says no. Marks of what a call replaces or frees leave the
 * page map before the call, marks of what it makes enter it after (shim/marks.h). */
#include "shim/map.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "reserve/price.h"
#include "shim/charge.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/shared.h"

#define TMPFS_MAGIC 0x01021994 /* include/uapi/linux/magic.h */
#define HUGETLBFS_MAGIC 0x958458f6

static bool noreserve_is_free(void)
{
	return self.ledger && self.ledger->header.noreserve_free;
}

/* What stands behind a mapping. A private one that cannot be written is not asked about:
 * whatever it is, it costs nothing now. */
static enum backing backing_of(int prot, int flags, int fd, struct stat *st)
{
	struct statfs fs;
	if (flags & MAP_ANONYMOUS)
		return BACKING_ANON;
	if (((flags & MAP_TYPE) == MAP_PRIVATE && (prot & PROT_WRITE) == 0) ||
	    raw_failed(raw_call2(SYS_fstat, fd, st)))
		return BACKING_FILE;
	if (S_ISCHR(st->st_mode))
		return st->st_rdev == makedev(1, 5) ? BACKING_ZERO : BACKING_DEVICE;
	if (!S_ISREG(st->st_mode) || raw_failed(raw_call2(SYS_fstatfs, fd, &fs)))
		return BACKING_FILE;
	return (uint32_t)fs.f_type == TMPFS_MAGIC	 ? BACKING_TMPFS :
	       (uint32_t)fs.f_type == HUGETLBFS_MAGIC ? BACKING_HUGETLB :
						       BACKING_FILE;
}

/* --- mmap --- */

/* One mmap on its way. */
struct mapping {
	uintptr_t addr;
	uint64_t pages;
	bool fixed;
	enum category category;
	enum price_kind kind;
	uint64_t paid;  /* privately, for pages not charged before */
	struct shared_claim claim;
	uint32_t object; /* of a file; LEDGER_OBJECTS: none */
};

static enum refusal_reason mapping_pay(struct mapping *m, const struct stat *st)
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
		return shared_claim(m->pages, &m->claim);
	case PRICE_OBJECT_FILE:
		return shared_hold(OBJECT_FILE, st->st_dev, st->st_ino, pages_of((uint64_t)st->st_size),
				   &m->object);
	case PRICE_REFUSED:
		return REASON_POLICY;
	default:
		return REASON_NONE;
	}
}

static void mapping_refund(const struct mapping *m)
{
	charge_give(m->paid, m->category);
	shared_cancel(&m->claim);
	shared_unhold(m->object);
}

/* Private: the new marks; those that stood there already were paid for, by the mapping
 * this one replaced or by a stack that glibc unmapped unseen (shim/thread.c). */
static int private_mark(struct mapping *m)
{
	if (pagemap_clear(&marks, PAGEMAP_EXEMPT, m->addr, m->pages) != 0)
		shared_unmapped((void *)m->addr, bytes_of(m->pages));
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
	if (pagemap_clear(&marks, PAGEMAP_EXEMPT, m->addr, m->pages) != 0)
		shared_unmapped((void *)m->addr, bytes_of(m->pages));
	charge_give(pagemap_clear(&marks, PAGEMAP_CHARGED, m->addr, m->pages), m->category);
	if (m->kind == PRICE_NONE)
		return 0;
	if (pagemap_set(&marks, PAGEMAP_EXEMPT, m->addr, m->pages) < 0)
		return -ENOMEM;
	if (m->claim.active) {
		shared_publish(&m->claim, OBJECT_ANON, 0, 0);
		m->object = m->claim.object;
	}
	shared_mapped((void *)m->addr, bytes_of(m->pages), m->object);
	return 0;
}

long map_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset, enum category category,
	      enum refusal_reason *ret_reason)
{
	struct stat st = { 0 };
	*ret_reason = REASON_NONE;
	if (self.state == SELF_OPEN)
		return raw_mmap(addr, bytes, prot, flags, fd, offset);
	struct price_request request = { .prot = prot, .flags = flags, .noreserve_free = noreserve_is_free(),
					 .backing = backing_of(prot, flags, fd, &st) };
	struct mapping m = { .addr = (uintptr_t)addr, .pages = pages_of(bytes), .object = LEDGER_OBJECTS,
			     .fixed = (flags & MAP_FIXED) != 0, .category = category,
			     .kind = price_of_mmap(request).kind };
	*ret_reason = mapping_pay(&m, &st);
	/* What replaces a mapping must not fail once the old one is gone. */
	if (*ret_reason == REASON_NONE && m.fixed && m.kind != PRICE_NONE &&
	    pagemap_prepare(&marks, m.addr, m.pages) != 0) {
		mapping_refund(&m);
		*ret_reason = REASON_TABLE;
	}
	if (*ret_reason != REASON_NONE)
		return -ENOMEM;
	long r = raw_mmap(addr, bytes, prot, flags, fd, offset);
	if (raw_failed(r)) {
		mapping_refund(&m);
		return r;
	}
	m.addr = (uintptr_t)r;
	if ((m.kind == PRICE_PRIVATE ? private_mark(&m) : other_mark(&m)) != 0) {
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
		struct lifted l;
		marks_lift(at, left, &l);
		long r = raw_munmap((void *)at, bytes_of(l.pages));
		if (raw_failed(r)) {
			marks_lay(&l, at, l.pages);
			return r;
		}
		if (l.n[PAGEMAP_EXEMPT] != 0)
			shared_unmapped((void *)at, bytes_of(l.pages));
		charge_give(l.charged, category);
		at += bytes_of(l.pages);
		left -= l.pages;
	}
	return 0;
}

/* --- mprotect --- */

/* How many pages from `at` are mapped without a hole. msync with MS_ASYNC does nothing but
 * look (mm/msync.c) and says ENOMEM when it meets one. */
static uint64_t mapped_prefix(uintptr_t at, uint64_t pages)
{
	uint64_t low = 0, high = pages;
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;
		if (raw_failed(raw_call3(SYS_msync, at, bytes_of(middle), MS_ASYNC)))
			high = middle - 1;
		else
			low = middle;
	}
	return low;
}

long map_mprotect(void *addr, size_t bytes, int prot, int pkey, enum category category,
		  enum refusal_reason *ret_reason)
{
	uintptr_t at = (uintptr_t)addr;
	uint64_t pages = pages_of(bytes);
	*ret_reason = REASON_NONE;
	bool costs = self.state != SELF_OPEN && price_of_mprotect(prot).share == SHARE_UNPAID;
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
	long r = pkey == -1 ? raw_mprotect(addr, bytes, prot) :
			      raw_call4(SYS_pkey_mprotect, addr, bytes, prot, pkey);
	if (unpaid != 0) {
		/* At a hole the kernel stops, having changed what was before it (POSIX allows). */
		uint64_t done = !raw_failed(r) ? pages : r == -ENOMEM ? mapped_prefix(at, pages) : 0;
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
