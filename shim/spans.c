/* SPDX-License-Identifier: MIT */
/* A range that seems gone may be mapped again at any moment by another thread, whose marks
 * in the page map must not be taken for the old ones. So it is first occupied, with
 * MAP_FIXED_NOREPLACE (man 2 mmap): what can be occupied was free, and while it is ours its
 * marks can only be the old ones. What cannot, is cut in halves down to the page. */
#include "shim/spans.h"

#include <errno.h>
#include <sys/mman.h>

#include "shim/charge.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/raw.h"

#define SPAN_PAGES_BITS 29
#define SPAN_PAGES_MASK ((1ull << SPAN_PAGES_BITS) - 1)

static uintptr_t span_start(uint64_t word)
{
	return (uintptr_t)bytes_of(word >> SPAN_PAGES_BITS);
}

static uint64_t span_pages(uint64_t word)
{
	return word & SPAN_PAGES_MASK;
}

/* 0 for what a word cannot hold: 2 TiB and more. */
static uint64_t span_word(uintptr_t addr, size_t bytes)
{
	uint64_t first = addr >> PAGE_SHIFT, pages = pages_of(addr + bytes) - first;
	return pages > SPAN_PAGES_MASK ? 0 : first << SPAN_PAGES_BITS | pages;
}

/* --- walking the words --- */

struct cursor {
	struct spans_block *const *link;
	uint64_t *at, *end;
};

static struct cursor cursor_begin(const struct spans *s)
{
	uint64_t *first = (uint64_t *)s->word;
	return (struct cursor){ .link = &s->more, .at = first, .end = first + SPANS_FIRST };
}

/* The next word, or NULL after the last. */
static uint64_t *cursor_next(struct cursor *c)
{
	if (c->at == c->end) {
		/* Acquire: pairs with the release in block_add; the block is zero before. */
		struct spans_block *block = __atomic_load_n(c->link, __ATOMIC_ACQUIRE);
		if (!block)
			return NULL;
		c->link = &block->next;
		c->at = block->word;
		c->end = block->word + SPANS_MORE;
	}
	return c->at++;
}

/* --- adding --- */

/* Our own memory is paid for like everything. Blocks are never given back. */
static bool block_add(struct spans_block *const *link)
{
	struct spans_block *none = NULL;
	if (charge_take(1, CATEGORY_SOLVENT) != REASON_NONE)
		return false;
	long r = raw_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!raw_failed(r) &&
	    __atomic_compare_exchange_n((struct spans_block **)link, &none, (struct spans_block *)r, false,
					__ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return true;
	if (!raw_failed(r))
		raw_munmap((void *)r, PAGE_BYTES);
	charge_give(1, CATEGORY_SOLVENT);
	return none != NULL; /* another thread was first: its block will do */
}

static bool word_claim(uint64_t *at, uint64_t word)
{
	uint64_t empty = 0;
	return __atomic_load_n(at, __ATOMIC_RELAXED) == 0 &&
	       __atomic_compare_exchange_n(at, &empty, word, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static void word_add(struct spans *s, uint64_t word)
{
	struct cursor c = cursor_begin(s);
	for (;;) {
		uint64_t *at = cursor_next(&c);
		if (!at && !block_add(c.link))
			return;
		if (at && word_claim(at, word)) {
			__atomic_fetch_add(&s->pages, span_pages(word), __ATOMIC_RELAXED);
			return;
		}
	}
}

void spans_add(struct spans *s, uintptr_t addr, size_t bytes)
{
	uint64_t word = span_word(addr, bytes);
	if (word != 0)
		word_add(s, word);
}

/* --- asking --- */

bool spans_has(const struct spans *s, uintptr_t addr, size_t bytes)
{
	uint64_t word = span_word(addr, bytes);
	struct cursor c = cursor_begin(s);
	for (const uint64_t *at; (at = cursor_next(&c));)
		if (__atomic_load_n(at, __ATOMIC_ACQUIRE) == word)
			return true;
	return false;
}

bool spans_around(const struct spans *s, uintptr_t addr, struct span *ret)
{
	struct cursor c = cursor_begin(s);
	for (const uint64_t *at; (at = cursor_next(&c));) {
		uint64_t word = __atomic_load_n(at, __ATOMIC_ACQUIRE);
		if (word == 0 || addr - span_start(word) >= bytes_of(span_pages(word)))
			continue;
		*ret = (struct span){ .addr = span_start(word), .pages = span_pages(word) };
		return true;
	}
	return false;
}

/* msync with MS_ASYNC does nothing but look, and says ENOMEM when it meets a hole
 * (mm/msync.c). */
static bool range_is_mapped(uintptr_t addr, uint64_t pages)
{
	return raw_call3(SYS_msync, addr, bytes_of(pages), MS_ASYNC) != -ENOMEM;
}

bool span_is_whole(const struct span *s)
{
	return pagemap_count(&marks, PAGEMAP_CHARGED, s->addr, s->pages) == s->pages &&
	       range_is_mapped(s->addr, s->pages);
}

/* --- forgetting --- */

static bool span_is_gone(uint64_t word)
{
	uintptr_t last = span_start(word) + bytes_of(span_pages(word) - 1);
	return !range_is_mapped(span_start(word), 1) || !range_is_mapped(last, 1);
}

/* 0; -EEXIST when something is mapped there; another -errno when the kernel has no room
 * for one more mapping. */
static long range_occupy(uintptr_t addr, uint64_t pages)
{
	long r = raw_mmap((void *)addr, bytes_of(pages), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	if (raw_failed(r))
		return r;
	if ((uintptr_t)r == addr)
		return 0;
	raw_munmap((void *)r, bytes_of(pages)); /* before Linux 4.17 it was only a hint */
	return -EEXIST;
}

/* Uncharges the free parts of the range. False: it has none, it is in use as a whole
 * again; or the kernel could not help now. */
static bool range_clear(uintptr_t addr, uint64_t pages, enum category category)
{
	long r = range_occupy(addr, pages);
	if (r == 0) {
		map_lost((void *)addr, bytes_of(pages), category);
		raw_munmap((void *)addr, bytes_of(pages));
		return true;
	}
	if (r != -EEXIST || pages == 1 || range_is_mapped(addr, pages))
		return false;
	range_clear(addr, pages / 2, category);
	range_clear(addr + bytes_of(pages / 2), pages - pages / 2, category);
	return true;
}

bool spans_sweep(struct spans *s)
{
	bool found = false;
	struct cursor c = cursor_begin(s);
	for (uint64_t *at; (at = cursor_next(&c));) {
		uint64_t word = __atomic_load_n(at, __ATOMIC_ACQUIRE);
		if (word == 0 || !span_is_gone(word))
			continue;
		/* Only one sweeper gets the word, and before the marks go: whoever is given the
		 * place next adds a word of his own. */
		if (!__atomic_compare_exchange_n(at, &word, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			continue;
		__atomic_fetch_sub(&s->pages, span_pages(word), __ATOMIC_RELAXED);
		if (range_clear(span_start(word), span_pages(word), s->category))
			found = true;
		else
			word_add(s, word);
	}
	return found;
}
