/* SPDX-License-Identifier: MIT */
/* Committing ahead. jemalloc commits each small extent by itself, 4 or 8 KiB at a time and mostly
 * one behind the other: a call into the kernel each, 70 of them in the life of a PostgreSQL
 * connection. So it is given 64 KiB, of which it keeps what it asked for; the rest goes the way
 * of pages that were freed (its dirty extents), serves the next ones without a call, and is
 * charged and purged like all of them. Near the limit it gets just what it asked for. */
#include <stdbool.h>
#include <stddef.h>

#include "include/base.h"
#include "shim/heap.h"

#define AHEAD_BYTES ((size_t)64 << 10)
#define SMALL_BYTES (AHEAD_BYTES / 2)

/* What a struct pac_s begins with: 5.3.0, include/jemalloc/internal/pai.h. */
struct pai {
	void *alloc, *alloc_batch, *expand;
	/* Cuts the end of an extent off, to be a dirty one. True: it could not. */
	bool (*shrink)(void *tsdn, struct pai *pai, void *extent, size_t old_bytes, size_t new_bytes, bool *ret_work);
	void (*dalloc)(void *tsdn, struct pai *pai, void *extent, bool *ret_work);
};

/* An extent from addresses that are reserved and not committed (src/extent.c), right behind
 * `beside` if that is not NULL. */
extern void *__real_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside,
					 size_t bytes, size_t alignment, bool zero, bool guarded)
	__attribute__((weak));
void *__wrap_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside, size_t bytes,
				  size_t alignment, bool zero, bool guarded);

/* NULL: there is not as much, or not as jemalloc wanted it. */
static void *alloc_ahead(void *tsdn, struct pai *pai, void *hooks, void *cache, size_t bytes, bool zero)
{
	bool work = false;
	void *extent = __real_je_ecache_alloc_grow(tsdn, pai, hooks, cache, NULL, AHEAD_BYTES, PAGE_BYTES, zero, false);
	if (!extent)
		heap_forgive();
	else if (pai->shrink(tsdn, pai, extent, AHEAD_BYTES, bytes, &work)) {
		pai->dalloc(tsdn, pai, extent, &work);
		extent = NULL;
	}
	return extent;
}

void *__wrap_je_ecache_alloc_grow(void *tsdn, struct pai *pai, void *hooks, void *cache, void *beside, size_t bytes,
				  size_t alignment, bool zero, bool guarded)
{
	void *extent = NULL;
	if (!beside && !guarded && bytes <= SMALL_BYTES && alignment <= PAGE_BYTES)
		extent = alloc_ahead(tsdn, pai, hooks, cache, bytes, zero);
	return extent ? extent :
			__real_je_ecache_alloc_grow(tsdn, pai, hooks, cache, beside, bytes, alignment, zero, guarded);
}
