/* SPDX-License-Identifier: MIT */
/* The page map: which pages of this process's address space are charged.
 *
 * The doors need it because the kernel does not say what it charged: an munmap is worth
 * the charged pages in its range, an mprotect to writable costs the pages that nobody
 * has paid for yet. There is one map per process and one charge in the process's purse
 * for every CHARGED mark, never fewer.
 *
 * Everything here is lock-free, async-signal-safe and fork-safe: it runs inside the mmap
 * of malloc, before constructors and in signal handlers. Callers on disjoint ranges may
 * meet on the same words. Callers that operate on overlapping ranges at once are wrong
 * (the kernel lets one owner decide about an address) and get a wrong count, never a
 * wrong pointer. A fork in the middle of somebody's operation leaves the child a map in
 * which that range, and nothing else, is done in part.
 *
 * Addresses are in bytes and rounded down to their page. The map ends at 2^47, the end of
 * user space on x86-64 for whoever does not ask for more (arch/x86/include/asm/
 * page_64_types.h, DEFAULT_MAP_WINDOW): beyond it setting is refused with -ENOMEM, and
 * clearing and counting find nothing.
 *
 * Cost in memory: 4.2 KiB for each GiB of addresses in which anything was ever marked,
 * and 128 bytes for each 2 MiB of them that was ever marked in part. Nodes are never
 * given back. Ranges in which nothing was marked cost neither memory nor time. */
#pragma once

#include "include/base.h"

#define PAGEMAP_ADDRESS_BITS 47
#define PAGEMAP_PAGES (1ull << (PAGEMAP_ADDRESS_BITS - PAGE_SHIFT))

/* What `memory` is asked for at a time. */
#define PAGEMAP_BLOCK_BYTES ((size_t)64 << 10)

enum pagemap_plane {
	PAGEMAP_CHARGED, /* private and paid for, page by page */
	PAGEMAP_EXEMPT,  /* never costs a private charge, not even when made writable */
	PAGEMAP_PLANE_N
};

/* A map whose `memory` is set and whose rest is zero is empty and ready: a static one
 * needs no initialisation. All but `memory` is the map's own. */
struct pagemap {
	/* Gives `bytes` of zeroed, page-aligned, private memory that is never taken back, or
	 * NULL. Called from within the operations below, so as async-signal-safe as they
	 * are; it must not use the same map. The owner charges the memory. */
	void *(*memory)(size_t bytes);
	struct pagemap_block *block;      /* newest first; only ever pushed */
	uint64_t stranded;                /* see struct pagemap_usage */
	struct pagemap_table *table[256]; /* 512 GiB each */
};

/* Makes every node that setting or charging exactly this range needs, so that it cannot
 * fail afterwards. No mark changes. 0; or -ENOMEM when `memory` refused or the range
 * leaves the map (nodes made so far stay and are used later). */
int pagemap_prepare(struct pagemap *m, uintptr_t addr, uint64_t pages);

/* Makes room for the nodes that marking `runs` runs within any `pages` pages may need, for who
 * does not know yet where that will be; if nobody else uses it up in between, marking them cannot
 * fail. 0, or -ENOMEM. */
int pagemap_stock(struct pagemap *m, uint64_t runs, uint64_t pages);

/* Marks the range. How many pages were not marked in that plane before (what was charged
 * beyond that is to be given back), or -ENOMEM as above with no mark changed. A page in
 * both planes counts as charged. */
int64_t pagemap_set(struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages);

/* Unmarks the range and returns how many pages were marked. Cannot fail. To split 2 MiB
 * that were marked whole takes a node; if none can be had, not even from the part of each
 * block that is kept for this, then CHARGED pages stay marked and are not in the result,
 * so that their charge stays too until the addresses are forgotten again; and EXEMPT marks
 * go from the whole 2 MiB. Both err towards charging too much. */
uint64_t pagemap_clear(struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages);

/* Unmarks the range in both planes: it was unmapped or is about to be replaced. Returns
 * how many pages were charged, which is what to uncharge. Cannot fail, see pagemap_clear. */
uint64_t pagemap_forget(struct pagemap *m, uintptr_t addr, uint64_t pages);

/* How many pages of the range are marked. */
uint64_t pagemap_count(const struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages);

/* How many pages of the range are neither charged nor exempt: what making it writable
 * costs. The part beyond the end of the map is not counted. */
uint64_t pagemap_unpaid(const struct pagemap *m, uintptr_t addr, uint64_t pages);

/* Marks those pages CHARGED. How many there were, or -ENOMEM with no mark changed. */
int64_t pagemap_pay(struct pagemap *m, uintptr_t addr, uint64_t pages);

struct pagemap_run {
	uintptr_t addr;
	uint64_t pages;
};

/* The first run of marked pages within the `pages` pages from `from` on, as long as it can be: one
 * that began earlier begins there, one that goes on is cut at their end. False when there is none. */
bool pagemap_next_within(const struct pagemap *m, enum pagemap_plane plane, uintptr_t from, uint64_t pages,
			 struct pagemap_run *ret);

struct pagemap_usage {
	uint64_t block_bytes; /* got from `memory` */
	uint64_t node_bytes;  /* of them in use by nodes */
	uint64_t stranded;    /* pages charged too much so far: for want of a node their mark could not be removed */
};
void pagemap_usage(const struct pagemap *m, struct pagemap_usage *ret);
