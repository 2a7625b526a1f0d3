/* SPDX-License-Identifier: MIT */
/* jemalloc's own tables, paid for as they are used. */
#pragma once

#include "include/ledger.h"

/* Are there any yet? Before, jemalloc maps a page to try what the kernel does with it, and unmaps it
 * again (src/pages.c:pages_boot). */
bool tables_have_begun(void);

/* Is jemalloc mapping a block for its tables, not memory to give out? */
bool tables_want_block(void);

/* Such a block, aligned to a huge page, of which only the beginning can be written to yet.
 * As heap_door_mmap; `ret_reason` says why not. */
long tables_block(size_t bytes, enum refusal_reason *ret_reason);

/* jemalloc has got these addresses and will enter them in its tree. False: what it writes
 * there cannot be paid for, it must not have them. */
bool tables_cover(uintptr_t addr, size_t bytes);

/* When this process joins: gives back what it was charged for that part of the tree's root
 * which was never written to. */
void tables_thin(void);

/* Is the root of the tree in this segment of a program? Then what it is charged is known here. */
bool tables_are_in(uintptr_t addr, size_t bytes);

/* In the child of a fork. */
void tables_child(void);
