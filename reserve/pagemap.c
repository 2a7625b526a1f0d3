/* SPDX-License-Identifier: MIT */
/* A radix tree that only ever grows:
 *
 *     map, 256 tables -> table of 512 GiB, 512 gibs -> gib of 512 chunks -> leaf of 512 pages
 *
 * A chunk (2 MiB) that was only ever marked whole has one bit a plane in its gib; the
 * first operation on part of it gives it a leaf with one bit a page, for ever, and from
 * then on the leaf alone counts. So a heap that commits whole GiB is eight words, and a
 * heap that does not is exact to the page.
 *
 * Why no bit needs a lock: a leaf is filled from the chunk's whole-bits and then published;
 * only an operation on the whole chunk changes these bits, and it cannot legally overlap
 * with the partial one that makes the leaf. Every other change is one fetch-or or
 * fetch-and of bits that the caller owns, in words that others may share.
 *
 * `present`, `exempt` and `split` are hints to skip what is empty 64 at a time: a bit is set
 * before its pointer or mark, so that whoever is cut off between the two (fork, a signal that
 * never returns) leaves a hint without it, which is harmless, and never the reverse. Hardly
 * anything is exempt, and every mmap and munmap asks.
 *
 * Read word_op and chunk_apply first. */
#include "reserve/pagemap.h"

#include <errno.h>

#define CHUNK_PAGES 512ull
#define GIB_PAGES (512 * CHUNK_PAGES)
#define TABLE_PAGES (512 * GIB_PAGES)
#define WORDS 8 /* 512 bits */

struct leaf {
	uint64_t page[PAGEMAP_PLANE_N][WORDS];
};

struct gib {
	uint64_t whole[PAGEMAP_PLANE_N][WORDS]; /* of chunks without a leaf */
	uint64_t split[WORDS];                  /* hint: may have a leaf */
	struct leaf *leaf[512];
};

struct pagemap_table {
	uint64_t present[WORDS]; /* hint: may have a gib */
	uint64_t exempt[WORDS];  /* hint: may have a mark of the exempt plane */
	struct gib *gib[512];
};

_Static_assert(PAGEMAP_PAGES == ARRAY_N(((struct pagemap *)0)->table) * TABLE_PAGES, "the map is full");

/* --- memory: blocks, filled from the front, never emptied --- */

struct pagemap_block {
	struct pagemap_block *older;
	_Alignas(64) uint64_t used; /* bytes, this header included */
};

/* The end of each block is for clearing, which cannot fail: 32 leaves. */
#define BLOCK_KEPT 4096

#define NODE_BYTES_MOST sizeof(struct gib)
_Static_assert(NODE_BYTES_MOST >= sizeof(struct pagemap_table) && NODE_BYTES_MOST >= sizeof(struct leaf), "the largest");

static void *block_take(struct pagemap_block *b, size_t bytes, size_t end)
{
	/* Relaxed: what is taken is zero, and is published by whoever took it. */
	uint64_t used = __atomic_load_n(&b->used, __ATOMIC_RELAXED);
	do {
		if (used + bytes > end)
			return NULL;
	} while (!__atomic_compare_exchange_n(&b->used, &used, used + bytes, true,
					      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return (char *)b + used;
}

static void *blocks_take(struct pagemap *m, size_t bytes, size_t end)
{
	/* Acquire: pairs with the push in block_push. */
	struct pagemap_block *b = __atomic_load_n(&m->block, __ATOMIC_ACQUIRE);
	void *node = NULL;
	for (; b && !node; b = b->older)
		node = block_take(b, bytes, end);
	return node;
}

/* Two that are short at once push a block each; both blocks are filled in the end. */
static bool block_push(struct pagemap *m)
{
	struct pagemap_block *b = m->memory(PAGEMAP_BLOCK_BYTES);
	if (!b)
		return false;
	b->used = sizeof(*b);
	b->older = __atomic_load_n(&m->block, __ATOMIC_RELAXED);
	/* Release: the header is written before the block is seen by blocks_take. */
	while (!__atomic_compare_exchange_n(&m->block, &b->older, b, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	return true;
}

/* A zeroed node or NULL. A node whose publication loses a race is not given back: each
 * place in the tree is raced for once. */
static void *node_new(struct pagemap *m, size_t bytes)
{
	void *node;
	do {
		node = blocks_take(m, bytes, PAGEMAP_BLOCK_BYTES - BLOCK_KEPT);
	} while (!node && block_push(m));
	return node;
}

/* What is certainly to be had of all blocks, in nodes of any size, but for clearing: at the end of each
 * as much may lie unused as the largest node less one byte. */
static uint64_t blocks_room(const struct pagemap *m)
{
	const uint64_t end = PAGEMAP_BLOCK_BYTES - BLOCK_KEPT - (NODE_BYTES_MOST - 1);
	uint64_t bytes = 0;
	/* Acquire: pairs with the push in block_push. */
	for (const struct pagemap_block *b = __atomic_load_n(&m->block, __ATOMIC_ACQUIRE); b; b = b->older) {
		uint64_t used = __atomic_load_n(&b->used, __ATOMIC_RELAXED);
		bytes += used < end ? end - used : 0;
	}
	return bytes;
}

/* --- bits --- */

/* The bits of word `w` that lie in [from, end) of its row; the two overlap. */
static uint64_t mask_of(uint64_t w, uint64_t from, uint64_t end)
{
	uint64_t low = from > w * 64 ? from - w * 64 : 0;
	uint64_t high = min_u64(end - w * 64, 64);
	return ~0ull << low & ~0ull >> (64 - high);
}

/* The next bit in [from, end) that is set in `row` ^ `flip` or in `also` (or NULL); `end`
 * when there is none. */
static uint64_t bits_next(const uint64_t *row, uint64_t flip, const uint64_t *also, uint64_t from, uint64_t end)
{
	while (from < end) {
		uint64_t w = from / 64;
		/* Relaxed: a hint; pointers found through it are loaded with acquire. */
		uint64_t bits = __atomic_load_n(&row[w], __ATOMIC_RELAXED) ^ flip;
		if (also)
			bits |= __atomic_load_n(&also[w], __ATOMIC_RELAXED);
		bits &= mask_of(w, from, end);
		if (bits)
			return w * 64 + (uint64_t)__builtin_ctzll(bits);
		from = (w + 1) * 64;
	}
	return end;
}

/* Marks order nothing, so all of it is relaxed: whoever hands an address to another
 * thread, or the kernel that did, has ordered more than that. */
static uint64_t word_read(const uint64_t *w)
{
	return __atomic_load_n(w, __ATOMIC_RELAXED);
}

static uint64_t word_set(uint64_t *w, uint64_t mask)
{
	if ((word_read(w) & mask) == mask)
		return 0;
	return mask & ~__atomic_fetch_or(w, mask, __ATOMIC_RELAXED);
}

static uint64_t word_clear(uint64_t *w, uint64_t mask)
{
	if ((word_read(w) & mask) == 0)
		return 0;
	return mask & __atomic_fetch_and(w, ~mask, __ATOMIC_RELAXED);
}

/* What is done to a word of each plane, be it pages or whole chunks; returns the bits that
 * count. Where nothing was ever marked it does nothing and counts nothing. */
typedef uint64_t word_op(uint64_t *charged, uint64_t *exempt, uint64_t mask);

static uint64_t set_charged(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)exempt;
	return word_set(charged, mask);
}

static uint64_t set_exempt(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)charged;
	return word_set(exempt, mask);
}

static uint64_t clear_charged(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)exempt;
	return word_clear(charged, mask);
}

static uint64_t clear_exempt(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)charged;
	return word_clear(exempt, mask);
}

static uint64_t forget(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	word_clear(exempt, mask);
	return word_clear(charged, mask);
}

static uint64_t pay(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	return word_set(charged, mask & ~word_read(exempt));
}

static uint64_t count_charged(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)exempt;
	return mask & word_read(charged);
}

static uint64_t count_exempt(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	(void)charged;
	return mask & word_read(exempt);
}

static uint64_t count_either(uint64_t *charged, uint64_t *exempt, uint64_t mask)
{
	return mask & (word_read(charged) | word_read(exempt));
}

static word_op *const set_plane[PAGEMAP_PLANE_N] = { set_charged, set_exempt };
static word_op *const clear_plane[PAGEMAP_PLANE_N] = { clear_charged, clear_exempt };
static word_op *const count_plane[PAGEMAP_PLANE_N] = { count_charged, count_exempt };

/* --- the tree --- */

/* Page numbers, [at, end). */
struct range {
	uint64_t at, end;
};

/* The part of the range that the map covers. */
static struct range range_of(uintptr_t addr, uint64_t pages)
{
	uint64_t at = min_u64(addr >> PAGE_SHIFT, PAGEMAP_PAGES);
	return (struct range){ at, at + min_u64(pages, PAGEMAP_PAGES - at) };
}

/* The part of the range before the next multiple of `step`, a power of two. */
static struct range range_first(struct range r, uint64_t step)
{
	return (struct range){ r.at, min_u64(r.end, (r.at | (step - 1)) + 1) };
}

/* Acquire in the three below: pairs with the publication of the node, so that what is in it
 * is seen. */
static struct pagemap_table *table_at(const struct pagemap *m, uint64_t page)
{
	return __atomic_load_n(&m->table[page / TABLE_PAGES], __ATOMIC_ACQUIRE);
}

static struct gib *gib_at(const struct pagemap_table *t, uint64_t page)
{
	return __atomic_load_n(&t->gib[page / GIB_PAGES % 512], __ATOMIC_ACQUIRE);
}

static struct leaf *leaf_at(const struct gib *g, uint64_t chunk)
{
	return __atomic_load_n(&g->leaf[chunk], __ATOMIC_ACQUIRE);
}

static bool chunk_is_whole(const struct gib *g, uint64_t chunk, enum pagemap_plane plane)
{
	return word_read(&g->whole[plane][chunk / 64]) >> chunk % 64 & 1;
}

static struct pagemap_table *table_make(struct pagemap *m, uint64_t page)
{
	struct pagemap_table *t = table_at(m, page), *other = NULL;
	if (t)
		return t;
	t = node_new(m, sizeof(*t));
	/* Release: the node is zero for whoever finds it; acquire on losing: see table_at. */
	if (t && !__atomic_compare_exchange_n(&m->table[page / TABLE_PAGES], &other, t, false,
					      __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		t = other;
	return t;
}

static struct gib *gib_make(struct pagemap *m, struct pagemap_table *t, uint64_t page)
{
	uint64_t i = page / GIB_PAGES % 512;
	struct gib *g = gib_at(t, page), *other = NULL;
	if (g)
		return g;
	g = node_new(m, sizeof(*g));
	if (!g)
		return NULL;
	word_set(&t->present[i / 64], 1ull << i % 64);
	/* Release: the hint and the node come before the pointer, see gib_at. */
	if (!__atomic_compare_exchange_n(&t->gib[i], &other, g, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		g = other;
	return g;
}

/* To clear, a leaf may be taken from what is kept for that. */
enum urgency { MAY_FAIL, MUST_NOT_FAIL };

static struct leaf *leaf_make(struct pagemap *m, struct gib *g, uint64_t chunk, enum urgency urgency)
{
	struct leaf *leaf = leaf_at(g, chunk), *other = NULL;
	if (leaf)
		return leaf;
	leaf = node_new(m, sizeof(*leaf));
	if (!leaf && urgency == MUST_NOT_FAIL)
		leaf = blocks_take(m, sizeof(*leaf), PAGEMAP_BLOCK_BYTES);
	if (!leaf)
		return NULL;
	for (enum pagemap_plane p = 0; p < PAGEMAP_PLANE_N; p++)
		for (int w = 0; w < WORDS; w++)
			leaf->page[p][w] = -(uint64_t)chunk_is_whole(g, chunk, p);
	word_set(&g->split[chunk / 64], 1ull << chunk % 64);
	/* Release: the hint and the bits come before the pointer, see leaf_at. */
	if (!__atomic_compare_exchange_n(&g->leaf[chunk], &other, leaf, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
		leaf = other;
	return leaf;
}

/* The leaf that has all of the range, if one does: what most calls are about is a few pages
 * in a place that was used before, and they need no walk. */
static struct leaf *leaf_of(const struct pagemap *m, struct range r)
{
	if (r.at / CHUNK_PAGES != (r.end - 1) / CHUNK_PAGES)
		return NULL;
	const struct pagemap_table *t = table_at(m, r.at);
	const struct gib *g = t ? gib_at(t, r.at) : NULL;
	return g ? leaf_at(g, r.at / CHUNK_PAGES % 512) : NULL;
}

/* All nodes for [r.at, r.end), and leaves at its two ends. */
static int range_prepare(struct pagemap *m, struct range r)
{
	while (r.at < r.end) {
		struct range part = range_first(r, GIB_PAGES);
		struct pagemap_table *t = table_make(m, part.at);
		struct gib *g = t ? gib_make(m, t, part.at) : NULL;
		if (!g)
			return -ENOMEM;
		if (part.at % CHUNK_PAGES && !leaf_make(m, g, part.at / CHUNK_PAGES % 512, MAY_FAIL))
			return -ENOMEM;
		if (part.end % CHUNK_PAGES && !leaf_make(m, g, part.end / CHUNK_PAGES % 512, MAY_FAIL))
			return -ENOMEM;
		r.at = part.end;
	}
	return 0;
}

/* --- operations, from the leaf up --- */

/* Mostly all or none, and without an instruction for it counting is a call. */
static uint64_t count_bits(uint64_t bits)
{
	return bits + 1 < 2 ? bits & 64 : (uint64_t)__builtin_popcountll(bits);
}

static uint64_t leaf_apply(struct leaf *leaf, uint64_t from, uint64_t end, word_op *op)
{
	uint64_t pages = 0;
	for (uint64_t w = from / 64; w * 64 < end; w++)
		pages += count_bits(op(&leaf->page[PAGEMAP_CHARGED][w], &leaf->page[PAGEMAP_EXEMPT][w],
				       mask_of(w, from, end)));
	return pages;
}

/* What an operation on any page of a chunk without a leaf would do. */
struct trial {
	bool counts;
	bool moves_charged;
	bool moves_exempt;
};

static struct trial chunk_try(const struct gib *g, uint64_t chunk, word_op *op)
{
	uint64_t charged = chunk_is_whole(g, chunk, PAGEMAP_CHARGED), charged_before = charged;
	uint64_t exempt = chunk_is_whole(g, chunk, PAGEMAP_EXEMPT), exempt_before = exempt;
	bool counts = op(&charged, &exempt, 1);
	return (struct trial){ counts, charged != charged_before, exempt != exempt_before };
}

/* No leaf to be had for a chunk that is marked whole and should lose some pages: what is
 * right then is said at pagemap_clear. */
static uint64_t chunk_give_up(struct pagemap *m, struct gib *g, uint64_t chunk, uint64_t pages, struct trial t)
{
	if (t.moves_exempt)
		word_clear(&g->whole[PAGEMAP_EXEMPT][chunk / 64], 1ull << chunk % 64);
	if (!t.moves_charged)
		return t.counts ? pages : 0;
	__atomic_fetch_add(&m->stranded, pages, __ATOMIC_RELAXED);
	return 0;
}

/* Part of a chunk. An operation that leaves the chunk as it is needs no leaf. */
static uint64_t chunk_apply(struct pagemap *m, struct gib *g, uint64_t chunk, uint64_t from, uint64_t end,
			    word_op *op)
{
	struct leaf *leaf = leaf_at(g, chunk);
	if (!leaf) {
		struct trial t = chunk_try(g, chunk, op);
		if (!t.moves_charged && !t.moves_exempt)
			return t.counts ? end - from : 0;
		leaf = leaf_make(m, g, chunk, MUST_NOT_FAIL);
		if (!leaf)
			return chunk_give_up(m, g, chunk, end - from, t);
	}
	return leaf_apply(leaf, from, end, op);
}

/* Whole chunks: those without a leaf 64 at a time. */
static uint64_t chunks_apply(struct gib *g, uint64_t from, uint64_t end, word_op *op)
{
	uint64_t pages = 0;
	for (uint64_t w = from / 64; w * 64 < end; w++) {
		uint64_t *charged = &g->whole[PAGEMAP_CHARGED][w], *exempt = &g->whole[PAGEMAP_EXEMPT][w];
		uint64_t bare = mask_of(w, from, end), split = bare & word_read(&g->split[w]);
		for (; split; split &= split - 1) {
			uint64_t bit = (uint64_t)__builtin_ctzll(split);
			struct leaf *leaf = leaf_at(g, w * 64 + bit);
			if (!leaf)
				continue;
			bare &= ~(1ull << bit);
			pages += leaf_apply(leaf, 0, CHUNK_PAGES, op);
		}
		if (bare)
			pages += CHUNK_PAGES * count_bits(op(charged, exempt, bare));
	}
	return pages;
}

/* [at, end) in pages from the start of the gib. */
static uint64_t gib_apply(struct pagemap *m, struct gib *g, struct range r, word_op *op)
{
	uint64_t pages = 0;
	if (r.at % CHUNK_PAGES) {
		struct range head = range_first(r, CHUNK_PAGES);
		uint64_t end = (head.end - 1) % CHUNK_PAGES + 1;
		pages += chunk_apply(m, g, r.at / CHUNK_PAGES, r.at % CHUNK_PAGES, end, op);
		r.at = head.end;
	}
	if (r.at / CHUNK_PAGES < r.end / CHUNK_PAGES)
		pages += chunks_apply(g, r.at / CHUNK_PAGES, r.end / CHUNK_PAGES, op);
	if (r.at < r.end && r.end % CHUNK_PAGES)
		pages += chunk_apply(m, g, r.end / CHUNK_PAGES, 0, r.end % CHUNK_PAGES, op);
	return pages;
}

/* Where an operation has something to do. */
static const uint64_t *op_hint(const struct pagemap_table *t, word_op *op)
{
	return op == clear_exempt || op == count_exempt ? t->exempt : t->present;
}

static uint64_t table_apply(struct pagemap *m, struct pagemap_table *t, struct range r, word_op *op)
{
	uint64_t pages = 0, base = r.at - r.at % TABLE_PAGES;
	uint64_t end = (r.end - base + GIB_PAGES - 1) / GIB_PAGES;
	const uint64_t *hint = op_hint(t, op);
	uint64_t i = bits_next(hint, 0, NULL, (r.at - base) / GIB_PAGES, end);
	for (; i < end; i = bits_next(hint, 0, NULL, i + 1, end)) {
		uint64_t start = base + i * GIB_PAGES;
		struct gib *g = gib_at(t, start);
		struct range part = { max_u64(r.at, start) - start, min_u64(r.end - start, GIB_PAGES) };
		if (g)
			pages += gib_apply(m, g, part, op);
	}
	return pages;
}

/* Of a range that is all in that leaf. */
static uint64_t part_apply(struct leaf *leaf, struct range r, word_op *op)
{
	return leaf_apply(leaf, r.at % CHUNK_PAGES, (r.end - 1) % CHUNK_PAGES + 1, op);
}

static uint64_t range_apply(struct pagemap *m, struct range r, word_op *op)
{
	struct leaf *leaf = leaf_of(m, r);
	if (likely(leaf != NULL))
		return part_apply(leaf, r, op);
	uint64_t pages = 0;
	while (r.at < r.end) {
		struct range part = range_first(r, TABLE_PAGES);
		struct pagemap_table *t = table_at(m, part.at);
		if (t)
			pages += table_apply(m, t, part, op);
		r.at = part.end;
	}
	return pages;
}

/* Counting changes nothing and makes no node, whatever the type of range_apply says. */
static uint64_t range_count(const struct pagemap *m, struct range r, word_op *op)
{
	return range_apply((struct pagemap *)m, r, op);
}

/* Of a range that has its nodes. */
static void exempt_hint(struct pagemap *m, struct range r)
{
	for (; r.at < r.end; r.at = range_first(r, GIB_PAGES).end) {
		uint64_t i = r.at / GIB_PAGES % 512;
		word_set(&table_at(m, r.at)->exempt[i / 64], 1ull << i % 64);
	}
}

/* Makes the nodes that marking takes, and marks. */
static int64_t range_mark(struct pagemap *m, struct range r, uint64_t pages, word_op *op)
{
	struct leaf *leaf = leaf_of(m, r);
	if (r.end - r.at < pages || (unlikely(leaf == NULL) && range_prepare(m, r) != 0))
		return -ENOMEM;
	if (op == set_exempt)
		exempt_hint(m, r);
	return (int64_t)(likely(leaf != NULL) ? part_apply(leaf, r, op) : range_apply(m, r, op));
}

int pagemap_prepare(struct pagemap *m, uintptr_t addr, uint64_t pages)
{
	struct range r = range_of(addr, pages);
	if (r.end - r.at < pages)
		return -ENOMEM;
	return likely(leaf_of(m, r) != NULL) ? 0 : range_prepare(m, r);
}

/* A leaf at either end of each run; a gib for each GiB, and a table or two. */
int pagemap_stock(struct pagemap *m, uint64_t runs, uint64_t pages)
{
	uint64_t gibs = pages / GIB_PAGES + 2, tables = pages / TABLE_PAGES + 2;
	uint64_t bytes = 2 * runs * sizeof(struct leaf) + min_u64(gibs, 2 * runs) * sizeof(struct gib) +
			 min_u64(tables, 2 * runs) * sizeof(struct pagemap_table);
	while (blocks_room(m) < bytes)
		if (!block_push(m))
			return -ENOMEM;
	return 0;
}

int64_t pagemap_set(struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages)
{
	return range_mark(m, range_of(addr, pages), pages, set_plane[plane]);
}

int64_t pagemap_pay(struct pagemap *m, uintptr_t addr, uint64_t pages)
{
	return range_mark(m, range_of(addr, pages), pages, pay);
}

uint64_t pagemap_clear(struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages)
{
	return range_apply(m, range_of(addr, pages), clear_plane[plane]);
}

uint64_t pagemap_forget(struct pagemap *m, uintptr_t addr, uint64_t pages)
{
	return range_apply(m, range_of(addr, pages), forget);
}

uint64_t pagemap_count(const struct pagemap *m, enum pagemap_plane plane, uintptr_t addr, uint64_t pages)
{
	return range_count(m, range_of(addr, pages), count_plane[plane]);
}

uint64_t pagemap_unpaid(const struct pagemap *m, uintptr_t addr, uint64_t pages)
{
	struct range r = range_of(addr, pages);
	return r.end - r.at - range_count(m, r, count_either);
}

/* --- runs --- */

/* The first chunk of [at, end), in pages of the gib, with a page whose mark is `marked`;
 * within it the page. `end` when there is none. */
static uint64_t gib_find(const struct gib *g, enum pagemap_plane plane, struct range r, bool marked)
{
	uint64_t flip = marked ? 0 : ~0ull, chunks = (r.end + CHUNK_PAGES - 1) / CHUNK_PAGES;
	while (r.at < r.end) {
		uint64_t chunk = bits_next(g->whole[plane], flip, g->split, r.at / CHUNK_PAGES, chunks);
		if (chunk == chunks)
			return r.end;
		r.at = max_u64(r.at, chunk * CHUNK_PAGES);
		struct leaf *leaf = leaf_at(g, chunk);
		if (!leaf && chunk_is_whole(g, chunk, plane) == marked)
			return r.at;
		if (leaf) {
			uint64_t page = bits_next(leaf->page[plane], flip, NULL, r.at % CHUNK_PAGES, CHUNK_PAGES);
			if (page < CHUNK_PAGES)
				return min_u64(chunk * CHUNK_PAGES + page, r.end);
		}
		r.at = (chunk + 1) * CHUNK_PAGES;
	}
	return r.end;
}

/* The same in a table. Where nothing was ever marked, a mark is looked for 64 GiB at a time. */
static uint64_t table_find(const struct pagemap_table *t, enum pagemap_plane plane, struct range r, bool marked)
{
	uint64_t base = r.at - r.at % TABLE_PAGES, gibs = (r.end - base + GIB_PAGES - 1) / GIB_PAGES;
	const uint64_t *hint = plane == PAGEMAP_EXEMPT ? t->exempt : t->present;
	while (r.at < r.end) {
		uint64_t i = (r.at - base) / GIB_PAGES, start;
		i = marked ? bits_next(hint, 0, NULL, i, gibs) : i;
		start = base + i * GIB_PAGES;
		if (start >= r.end)
			return r.end;
		const struct gib *g = gib_at(t, start);
		struct range part = { max_u64(r.at, start) - start, min_u64(r.end - start, GIB_PAGES) };
		uint64_t page = g ? gib_find(g, plane, part, marked) : marked ? part.end : part.at;
		if (page < part.end)
			return start + page;
		r.at = start + part.end;
	}
	return r.end;
}

/* The first page of the range whose mark is `marked`, or its end. */
static uint64_t range_find(const struct pagemap *m, enum pagemap_plane plane, struct range r, bool marked)
{
	const struct leaf *leaf = leaf_of(m, r);
	if (likely(leaf != NULL))
		return r.at - r.at % CHUNK_PAGES +
		       bits_next(leaf->page[plane], marked ? 0 : ~0ull, NULL, r.at % CHUNK_PAGES, (r.end - 1) % CHUNK_PAGES + 1);
	while (r.at < r.end) {
		struct range part = range_first(r, TABLE_PAGES);
		struct pagemap_table *t = table_at(m, part.at);
		if (!t && !marked)
			return part.at;
		uint64_t page = t ? table_find(t, plane, part, marked) : part.end;
		if (page < part.end)
			return page;
		r.at = part.end;
	}
	return r.end;
}

bool pagemap_next_within(const struct pagemap *m, enum pagemap_plane plane, uintptr_t from, uint64_t pages,
			 struct pagemap_run *ret)
{
	struct range r = range_of(from, pages);
	uint64_t at = range_find(m, plane, r, true);
	if (at >= r.end)
		return false;
	uint64_t end = range_find(m, plane, (struct range){ at, r.end }, false);
	*ret = (struct pagemap_run){ at << PAGE_SHIFT, end - at };
	return true;
}

/* --- reports --- */

void pagemap_usage(const struct pagemap *m, struct pagemap_usage *ret)
{
	struct pagemap_usage usage = { .stranded = __atomic_load_n(&m->stranded, __ATOMIC_RELAXED) };
	/* Acquire: pairs with the push in block_push. */
	const struct pagemap_block *b = __atomic_load_n(&m->block, __ATOMIC_ACQUIRE);
	for (; b; b = b->older) {
		usage.block_bytes += PAGEMAP_BLOCK_BYTES;
		usage.node_bytes += word_read(&b->used) - sizeof(*b);
	}
	*ret = usage;
}
