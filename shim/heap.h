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

/* Was it our refusal, and is it worth another attempt? True: attempt it again at once, and
 * pass the result to heap_tried_again. False: the failure is not ours (the kernel's, or the
 * arguments'); errno stays. */
bool heap_try_again(void);

/* What came of it. Refused again, it is recorded, as `bytes` asked for by `caller`; errno is
 * what it was before the first attempt in either case. */
void heap_tried_again(bool succeeded, size_t bytes, const void *caller);
