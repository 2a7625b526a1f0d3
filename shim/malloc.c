/* SPDX-License-Identifier: MIT */
/* The malloc family. Each asks jemalloc and is done, but for one comparison: an allocation
 * that failed may be tried again after a purge (shim/heap.h). What only frees or measures is
 * exported from jemalloc itself. */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>

#include "shim/door.h"
#include "shim/heap.h"

/* malloc is the one where a call and a return more can be measured. So it is jemalloc's own,
 * whose slow path we stand in front of (shim/retarget.sh); where that cannot be, it is wrapped. */
#ifdef MALLOC_DIRECT
#define MALLOC_DOOR malloc_slow
#define MALLOC_BEHIND je_malloc_default
void *malloc_slow(size_t bytes);
#else
#define MALLOC_DOOR malloc
#define MALLOC_BEHIND je_malloc
SHIM_EXPORT void *malloc(size_t bytes);
#endif

extern void *MALLOC_BEHIND(size_t bytes);
extern void *je_calloc(size_t n, size_t bytes);
extern void *je_realloc(void *old, size_t bytes);
extern void *je_aligned_alloc(size_t alignment, size_t bytes);
extern void *je_memalign(size_t alignment, size_t bytes);
extern int je_posix_memalign(void **ret, size_t alignment, size_t bytes);
extern void *je_valloc(size_t bytes);
extern void *je_mallocx(size_t bytes, int flags);
extern void *je_rallocx(void *old, size_t bytes, int flags);
extern size_t je_xallocx(void *old, size_t bytes, size_t extra, int flags);

/* The tail of every door that returns a pointer: `again` is its call to jemalloc, made once
 * more. Not inlined, so that the door itself keeps no frame and is who its caller called. */
#define AGAIN __attribute__((noinline, cold))
#define CALLER __builtin_return_address(0)

static void *tried(void *p, size_t bytes, const void *caller)
{
	if (heap_tried_again(p != NULL, bytes, caller) && !p)
		errno = ENOMEM;
	return p;
}

AGAIN static void *malloc_again(size_t bytes, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = MALLOC_BEHIND(bytes);
	return tried(p, bytes, caller);
}

void *MALLOC_DOOR(size_t bytes)
{
	heap_begin();
	void *p = MALLOC_BEHIND(bytes);
	return likely(p) ? p : malloc_again(bytes, CALLER);
}

AGAIN static void *calloc_again(size_t n, size_t bytes, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_calloc(n, bytes);
	return tried(p, n * bytes, caller);
}

SHIM_EXPORT void *calloc(size_t n, size_t bytes)
{
	heap_begin();
	void *p = je_calloc(n, bytes);
	return likely(p) ? p : calloc_again(n, bytes, CALLER);
}

/* A block to nothing is to free: then NULL is no failure, and once is enough. */
AGAIN static void *realloc_again(void *old, size_t bytes, const void *caller)
{
	void *p = NULL;
	while ((bytes != 0 || !old) && !p && heap_try_again())
		p = je_realloc(old, bytes);
	return tried(p, bytes, caller);
}

SHIM_EXPORT void *realloc(void *old, size_t bytes)
{
	heap_begin();
	void *p = je_realloc(old, bytes);
	return likely(p) ? p : realloc_again(old, bytes, CALLER);
}

SHIM_EXPORT void *reallocarray(void *old, size_t n, size_t bytes)
{
	size_t all;
	if (__builtin_mul_overflow(n, bytes, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	heap_begin();
	void *p = je_realloc(old, all);
	return likely(p) ? p : realloc_again(old, all, CALLER);
}

AGAIN static void *aligned_alloc_again(size_t alignment, size_t bytes, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_aligned_alloc(alignment, bytes);
	return tried(p, bytes, caller);
}

SHIM_EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
	heap_begin();
	void *p = je_aligned_alloc(alignment, bytes);
	return likely(p) ? p : aligned_alloc_again(alignment, bytes, CALLER);
}

AGAIN static void *memalign_again(size_t alignment, size_t bytes, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_memalign(alignment, bytes);
	return tried(p, bytes, caller);
}

SHIM_EXPORT void *memalign(size_t alignment, size_t bytes)
{
	heap_begin();
	void *p = je_memalign(alignment, bytes);
	return likely(p) ? p : memalign_again(alignment, bytes, CALLER);
}

SHIM_EXPORT void *pvalloc(size_t bytes)
{
	size_t whole;
	if (__builtin_add_overflow(bytes, PAGE_BYTES - 1, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	whole &= ~(PAGE_BYTES - 1);
	heap_begin();
	void *p = je_memalign(PAGE_BYTES, whole);
	return likely(p) ? p : memalign_again(PAGE_BYTES, whole, CALLER);
}

AGAIN static void *valloc_again(size_t bytes, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_valloc(bytes);
	return tried(p, bytes, caller);
}

SHIM_EXPORT void *valloc(size_t bytes)
{
	heap_begin();
	void *p = je_valloc(bytes);
	return likely(p) ? p : valloc_again(bytes, CALLER);
}

/* Says so by its result, and leaves errno alone (posix_memalign(3)). */
AGAIN static int posix_memalign_again(void **ret, size_t alignment, size_t bytes, const void *caller)
{
	int error = ENOMEM;
	while (error == ENOMEM && heap_try_again())
		error = je_posix_memalign(ret, alignment, bytes);
	heap_tried_again(error == 0, bytes, caller);
	return error;
}

SHIM_EXPORT int posix_memalign(void **ret, size_t alignment, size_t bytes)
{
	heap_begin();
	int error = je_posix_memalign(ret, alignment, bytes);
	return likely(error != ENOMEM) ? error : posix_memalign_again(ret, alignment, bytes, CALLER);
}

/* --- jemalloc's own interface --- */

SHIM_EXPORT void *mallocx(size_t bytes, int flags);
SHIM_EXPORT void *rallocx(void *old, size_t bytes, int flags);
SHIM_EXPORT size_t xallocx(void *old, size_t bytes, size_t extra, int flags);

AGAIN static void *mallocx_again(size_t bytes, int flags, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_mallocx(bytes, flags);
	return tried(p, bytes, caller);
}

void *mallocx(size_t bytes, int flags)
{
	heap_begin();
	void *p = je_mallocx(bytes, flags);
	return likely(p) ? p : mallocx_again(bytes, flags, CALLER);
}

AGAIN static void *rallocx_again(void *old, size_t bytes, int flags, const void *caller)
{
	void *p = NULL;
	while (!p && heap_try_again())
		p = je_rallocx(old, bytes, flags);
	return tried(p, bytes, caller);
}

void *rallocx(void *old, size_t bytes, int flags)
{
	heap_begin();
	void *p = je_rallocx(old, bytes, flags);
	return likely(p) ? p : rallocx_again(old, bytes, flags, CALLER);
}

/* That a block cannot grow where it is is no failure, nor then a refusal. */
AGAIN static size_t xallocx_again(void *old, size_t bytes, size_t extra, int flags, size_t have)
{
	while (have < bytes && heap_try_again())
		have = je_xallocx(old, bytes, extra, flags);
	heap_tried_again(true, bytes, NULL);
	return have;
}

size_t xallocx(void *old, size_t bytes, size_t extra, int flags)
{
	heap_begin();
	size_t have = je_xallocx(old, bytes, extra, flags);
	return likely(have >= bytes) ? have : xallocx_again(old, bytes, extra, flags, have);
}

/* --- other names for free --- */

SHIM_EXPORT void cfree(void *p);
SHIM_EXPORT void free_sized(void *p, size_t bytes);
SHIM_EXPORT void free_aligned_sized(void *p, size_t alignment, size_t bytes);

void cfree(void *p)
{
	free(p);
}

void free_sized(void *p, size_t bytes)
{
	(void)bytes;
	free(p);
}

void free_aligned_sized(void *p, size_t alignment, size_t bytes)
{
	(void)alignment, (void)bytes;
	free(p);
}
