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
#include "shim/present.h"
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

/* Blocks are never given back. */
static bool block_add(struct spans_block *const *link)
{
	struct spans_block *none = NULL;
	uint64_t paid;
	void *block = marks_own_memory(PAGE_BYTES, &paid);
	if (!block)
		return false;
	if (__atomic_compare_exchange_n((struct spans_block **)link, &none, block, false, __ATOMIC_ACQ_REL,
					__ATOMIC_RELAXED))
		return true;
	raw_munmap(block, PAGE_BYTES); /* another thread was first: its block will do */
	charge_give(paid, CATEGORY_SOLVENT);
	return true;
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

bool span_is_whole(const struct span *s)
{
	return pagemap_count(&marks, PAGEMAP_CHARGED, s->addr, s->pages) == s->pages &&
	       present_whole(s->addr, s->pages);
}

/* --- forgetting --- */

/* In part, at least. */
static bool span_is_gone(uint64_t word)
{
	return !present_whole(span_start(word), span_pages(word));
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
		found |= map_sweep(span_start(word), span_pages(word), s->category);
		/* Something stands on the rest: of libc's, perhaps, and it will go unseen, too. */
		if (pagemap_count(&marks, PAGEMAP_CHARGED, span_start(word), span_pages(word)) != 0)
			word_add(s, word);
	}
	return found;
}
