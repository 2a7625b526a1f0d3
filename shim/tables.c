/* SPDX-License-Identifier: MIT */
/* jemalloc 5.3.0 takes two megabytes at a time for its own tables and writes to a few pages of
 * them. All would be charged, six megabytes in the smallest process:
 *
 *   the root of the tree that finds an extent by its address     2 MiB, in our .bss
 *   a leaf of it, one for each GiB of addresses                  2 MiB
 *   blocks from which leaves, arenas and extents' own data come  2 MiB or more, one for each arena
 *
 * What was never written to costs nothing while it is read-only. So we stand in front of the
 * functions that hand such memory out (the linker's --wrap) and make it writable piece by
 * piece: of a block what is handed out; of the root the page of a leaf that is about to be
 * hung there; of a leaf the parts that stand for addresses that jemalloc has got from us,
 * because only those are ever entered, by whichever of its functions.
 *
 * Which of these addresses a leaf must serve is remembered for the first GiBs of them that a
 * process uses. A leaf of a further one is made writable as a whole: 0.2 percent of what such
 * a process has. */
#include "shim/tables.h"

#include <errno.h>
#include <sys/mman.h>

#include "reserve/pagemap.h"
#include "shim/charge.h"
#include "shim/heap.h"
#include "shim/lock.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/raw.h"

#define HUGE_BYTES ((size_t)2 << 20)
#define BLOCK_BEGINS_BYTES ((size_t)32 << 10) /* its head, and the struct base_s of a new arena */
#define STEP_BYTES ((uintptr_t)16 << 10)

/* The tree has two levels of 18 bits where addresses have 48 (rtree.h: RTREE_HEIGHT); its root
 * is the last member of the structure, whose size the Makefile has from the archive. Any other
 * tree is left as it is. */
#define REGION_SHIFT 30
#define LEAF_BYTES HUGE_BYTES
#define ROOT_BYTES HUGE_BYTES
#define ROOT_AT (JEMALLOC_TREE_BYTES - ROOT_BYTES)
#define TREE_IS_KNOWN (JEMALLOC_TREE_BYTES > ROOT_BYTES && JEMALLOC_TREE_BYTES < ROOT_BYTES + 512)
#define PART_SHIFT 21 /* addresses for which one page of a leaf stands */
#define PARTS (1u << (REGION_SHIFT - PART_SHIFT))

extern char je_arena_emap_global[] __attribute__((weak));

/* One for each GiB. Only the leaf ever changes, once. */
static struct region {
	uint64_t number; /* 1 + the address >> REGION_SHIFT, 0: free */
	char *leaf;
	uint64_t needed[PARTS / 64];
} regions[32];

static __thread __attribute__((tls_model("initial-exec"))) struct {
	uint16_t blocks; /* asking for memory for tables */
	uint64_t number; /* of the region a leaf is being made for */
} here;

/* Two who make the same page writable at once would both pay for it. */
static struct lock lock;
static uintptr_t root_low = UINTPTR_MAX, root_high; /* what was written to before tables_thin */
static bool root_is_thin;
static bool begun;

void tables_child(void)
{
	lock.word = 0;
}

/* Makes it writable, and whatever shares its pages. */
static bool pages_open(uintptr_t from, uintptr_t to)
{
	enum refusal_reason reason = REASON_NONE;
	from &= ~(PAGE_BYTES - 1);
	uint64_t pages = pages_of(to - from);
	if (pagemap_count(&marks, PAGEMAP_CHARGED, from, pages) == pages)
		return true;
	uint64_t signals = signals_block();
	long r = -EAGAIN;
	if (lock_take(&lock) != LOCK_NOT_TAKEN) {
		r = map_mprotect((void *)from, bytes_of(pages), PROT_READ | PROT_WRITE, -1, CATEGORY_HEAP, &reason);
		lock_release(&lock);
	}
	signals_restore(signals);
	if (reason != REASON_NONE || raw_failed(r))
		heap_refused(reason);
	return reason == REASON_NONE && !raw_failed(r);
}

bool tables_have_begun(void)
{
	return begun;
}

/* --- blocks --- */

bool tables_want_block(void)
{
	return here.blocks > 0;
}

/* The next mapping of the program comes to lie before it, and must not become one with ours. No page of
 * it is ever a huge one, so it can say so, which sets it apart; where the kernel knows no huge pages a
 * page before it is left read-only, one mapping more in every process and for every fork to copy. */
static uintptr_t block_begin(uintptr_t start, size_t all, uintptr_t at)
{
	return raw_failed(raw_madvise((void *)start, all, MADV_NOHUGEPAGE)) ? at - PAGE_BYTES : at;
}

/* By the door, which lifts the marks of a stack that libc unmapped there unseen: what is charged
 * in a block has been opened (pages_open). */
long tables_block(size_t bytes, enum refusal_reason *ret_reason)
{
	size_t all = HUGE_BYTES + bytes;
	long r = map_mmap(NULL, all, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, CATEGORY_HEAP, ret_reason);
	if (raw_failed(r))
		return r;
	uintptr_t start = (uintptr_t)r, at = (start + HUGE_BYTES) & ~(HUGE_BYTES - 1), low = block_begin(start, all, at);
	if (low != start)
		raw_munmap((void *)start, low - start);
	if (at + bytes != start + all)
		raw_munmap((void *)(at + bytes), start + all - at - bytes);
	r = map_mprotect((void *)at, BLOCK_BEGINS_BYTES, PROT_READ | PROT_WRITE, -1, CATEGORY_HEAP, ret_reason);
	if (!raw_failed(r))
		return (long)at;
	raw_munmap((void *)low, at + bytes - low);
	return r;
}

/* What was handed out of a block can be written to from now on. Blocks end at a multiple of
 * the step. */
static void *opened(void *p, size_t bytes)
{
	uintptr_t from = (uintptr_t)p, to = (from + bytes + STEP_BYTES - 1) & ~(STEP_BYTES - 1);
	return p && pages_open(from, to) ? p : NULL;
}

/* --- leaves --- */

static struct region *region_find(uint64_t number, bool make)
{
	for (size_t i = 0; i < ARRAY_N(regions); i++) {
		/* Acquire and release: nothing else of it is written before it has its number. */
		uint64_t seen = __atomic_load_n(&regions[i].number, __ATOMIC_ACQUIRE);
		if (seen == 0 && !make)
			return NULL;
		if (seen == 0 && __atomic_compare_exchange_n(&regions[i].number, &seen, number, false, __ATOMIC_ACQ_REL,
							     __ATOMIC_ACQUIRE))
			return &regions[i];
		if (seen == number)
			return &regions[i];
	}
	return NULL;
}

static bool parts_open(char *leaf, uint64_t first, uint64_t n)
{
	uintptr_t from = (uintptr_t)leaf + (first << PAGE_SHIFT);
	return pages_open(from, from + (n << PAGE_SHIFT));
}

/* Part of one region. */
static bool region_cover(struct region *r, uint64_t first, uint64_t n)
{
	for (uint64_t part = first; part < first + n; part++)
		__atomic_fetch_or(&r->needed[part / 64], 1ull << part % 64, __ATOMIC_SEQ_CST);
	/* Sequentially consistent, as in leaf_made: one of the two sees the other's. */
	char *leaf = __atomic_load_n(&r->leaf, __ATOMIC_SEQ_CST);
	return !leaf || parts_open(leaf, first, n);
}

bool tables_cover(uintptr_t addr, size_t bytes)
{
	uint64_t part = addr >> PART_SHIFT, end = (addr + bytes - 1) >> PART_SHIFT;
	while (TREE_IS_KNOWN && begun && part <= end) {
		uint64_t first = part % PARTS, n = min_u64(PARTS - first, end - part + 1);
		struct region *r = region_find(1 + part / PARTS, true);
		if (r && !region_cover(r, first, n))
			return false;
		part += n;
	}
	return true;
}

/* False: cannot be paid for. Some of it may have been, and stays so. */
static bool leaf_made(char *leaf)
{
	struct region *r = region_find(here.number, false);
	if (!r)
		return pages_open((uintptr_t)leaf, (uintptr_t)leaf + LEAF_BYTES);
	__atomic_store_n(&r->leaf, leaf, __ATOMIC_SEQ_CST);
	for (uint64_t part = 0, n; part < PARTS; part += max_u64(n, 1)) {
		uint64_t bits = __atomic_load_n(&r->needed[part / 64], __ATOMIC_SEQ_CST) >> part % 64;
		for (n = 0; bits & 1; bits >>= 1)
			n++;
		if (n > 0 && !parts_open(leaf, part, n))
			return false;
	}
	return true;
}

/* --- the root --- */

static uintptr_t root_of(uint64_t number)
{
	return (uintptr_t)je_arena_emap_global + ROOT_AT + (number - 1) % (ROOT_BYTES / sizeof(void *)) * sizeof(void *);
}

static bool root_open(uint64_t number)
{
	uintptr_t at = root_of(number);
	if (root_is_thin)
		return pages_open(at, at + sizeof(void *));
	root_low = at < root_low ? at : root_low;
	root_high = at > root_high ? at : root_high;
	return true;
}

static void root_close(uintptr_t from, uintptr_t to)
{
	enum refusal_reason reason;
	if (from < to)
		map_mmap((void *)from, to - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0, CATEGORY_IMAGE, &reason);
}

void tables_thin(void)
{
	if (!TREE_IS_KNOWN || root_is_thin)
		return;
	uintptr_t from = (uintptr_t)je_arena_emap_global + ROOT_AT, to = from + ROOT_BYTES;
	from = (from + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	to &= ~(PAGE_BYTES - 1);
	root_is_thin = true;
	if (root_high == 0) {
		root_close(from, to);
		return;
	}
	root_close(from, root_low & ~(PAGE_BYTES - 1));
	root_close((root_high + PAGE_BYTES) & ~(PAGE_BYTES - 1), to);
}

bool tables_are_in(uintptr_t addr, size_t bytes)
{
	return (uintptr_t)je_arena_emap_global - addr < bytes;
}

/* --- in front of jemalloc --- */

extern void *__real_je_base_alloc(void *tsd, void *base, size_t bytes, size_t alignment) __attribute__((weak));
extern void *__real_je_base_new(void *tsd, unsigned n, const void *hooks, bool metadata) __attribute__((weak));
extern bool __real_je_base_boot(void *tsd) __attribute__((weak));
extern void *__real_je_rtree_leaf_elm_lookup_hard(void *tsd, void *tree, void *cache, uintptr_t key, bool dependent,
						  bool make) __attribute__((weak));
void *__wrap_je_base_alloc(void *tsd, void *base, size_t bytes, size_t alignment);
void *__wrap_je_base_alloc_edata(void *tsd, void *base);
void *__wrap_je_base_new(void *tsd, unsigned n, const void *hooks, bool metadata);
bool __wrap_je_base_boot(void *tsd);
void *__wrap_je_rtree_leaf_elm_lookup_hard(void *tsd, void *tree, void *cache, uintptr_t key, bool dependent, bool make);

void *__wrap_je_base_alloc(void *tsd, void *base, size_t bytes, size_t alignment)
{
	here.blocks++;
	char *p = __real_je_base_alloc(tsd, base, bytes, alignment);
	here.blocks--;
	if (p && here.number != 0 && bytes == LEAF_BYTES)
		return leaf_made(p) ? p : NULL;
	return opened(p, bytes);
}

/* jemalloc writes to it before it comes back to us: a number by which, of two that are equally
 * good, it takes the older first (edata.h: e_size_esn). Without it the lower one comes first. */
#define EDATA_BYTES 128 /* edata.h: struct edata_s, and what it is aligned to */

void *__wrap_je_base_alloc_edata(void *tsd, void *base)
{
	return __wrap_je_base_alloc(tsd, base, EDATA_BYTES, EDATA_BYTES);
}

void *__wrap_je_base_new(void *tsd, unsigned n, const void *hooks, bool metadata)
{
	here.blocks++;
	void *base = __real_je_base_new(tsd, n, hooks, metadata);
	here.blocks--;
	return base;
}

bool __wrap_je_base_boot(void *tsd)
{
	begun = true;
	here.blocks++;
	bool failed = __real_je_base_boot(tsd);
	here.blocks--;
	return failed;
}

void *__wrap_je_rtree_leaf_elm_lookup_hard(void *tsd, void *tree, void *cache, uintptr_t key, bool dependent, bool make)
{
	if (!TREE_IS_KNOWN || !make)
		return __real_je_rtree_leaf_elm_lookup_hard(tsd, tree, cache, key, dependent, make);
	uint64_t before = here.number;
	here.number = 1 + (key >> REGION_SHIFT);
	void *p = root_open(here.number) ?
		  __real_je_rtree_leaf_elm_lookup_hard(tsd, tree, cache, key, dependent, make) : NULL;
	here.number = before;
	return p;
}
