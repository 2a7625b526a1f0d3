/* SPDX-License-Identifier: MIT */
/* The heap: jemalloc, whose memory passes through doors of ours (shim/jemalloc.rename). The
 * functions that programs call are in shim/malloc.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "include/ledger.h"

/* In a child whose parent had several threads, after jemalloc has made its locks anew. */
void heap_child(void);

/* Gives back every page that the heap holds and does not need, before a member is refused
 * something. True if there was one; false also where it cannot be done: within a purge,
 * inside jemalloc, in a signal handler, in a child of vfork. errno stays. */
bool heap_purge(void);

/* The same, member or not: because the program says so (malloc_trim(3)), or where it is
 * certain that the thread is not inside malloc or free, not even interrupted there. */
bool heap_trim(void);

/* The same without this thread's cache, for whoever is in jemalloc and holds none of its locks. */
void heap_give(void);

/* Something came back to this process by another way: whoever was refused may try again. */
void heap_gave(void);

/* Is the calling thread inside jemalloc, holding one of its locks? Then malloc would wait
 * for itself. */
bool heap_is_locked(void);

/* --- for shim/tables.c, in the middle of jemalloc --- */

/* What jemalloc asked for is refused to this thread, as if by one of its doors. */
void heap_refused(enum refusal_reason reason);

/* --- for shim/ahead.c --- */

/* What was refused last was more than jemalloc needed: as if it had not been asked for. */
void heap_forgive(void);

/* --- for shim/malloc.c: an allocation that failed --- */

/* Something was refused to this thread, and it has not heard of it. */
extern __thread __attribute__((tls_model("initial-exec"))) bool heap_note;
void heap_forget(void);

/* Before each: what is left of one that was refused a part, and could do without, is no reason
 * to say no to this one. */
static inline void heap_begin(void)
{
	if (unlikely(heap_note))
		heap_forget();
}

/* Was it refused, and is it worth another attempt? True: attempt it again at once, and if that
 * fails ask again. errno stays. */
bool heap_try_again(void);

/* What came of it in the end. Refused by us, it is recorded, as `bytes` asked for by `caller`;
 * errno is what it was before the first attempt in either case. False: nothing was tried again,
 * since the failure is of another kind (the arguments'), and errno says which. */
bool heap_tried_again(bool succeeded, size_t bytes, const void *caller);
