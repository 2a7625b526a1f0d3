/* SPDX-License-Identifier: MIT */
/* The mappings of this process, charged. Everything here returns the kernel's result or
 * -errno, leaves errno alone, is async-signal-safe and records no refusal: `ret_reason`
 * tells the door whether its -ENOMEM was ours (not REASON_NONE), so that it can purge,
 * record, and say ENOMEM. Refused: nothing has changed. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "include/ledger.h"

long map_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset, enum category category,
	      enum refusal_reason *ret_reason);
long map_munmap(void *addr, size_t bytes, enum category category);
/* `pkey` -1: mprotect; else pkey_mprotect. */
long map_mprotect(void *addr, size_t bytes, int prot, int pkey, enum category category,
		  enum refusal_reason *ret_reason);
long map_mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, void *new_addr,
		enum refusal_reason *ret_reason);
/* brk(2) itself: the new break, which is the old one when refused. And sbrk(3): the old break,
 * or -ENOMEM. Several threads may move it at once. */
long map_brk(void *end, enum refusal_reason *ret_reason);
long map_sbrk(intptr_t increment, enum refusal_reason *ret_reason);
/* In a child of fork: whoever moved the break is not here. */
void map_child(void);

/* Marks a range that became private and writable without us (a thread's stack, a
 * library's data) as charged and pays for what was not. `paid` pages of it were charged
 * before. REASON_NONE, or why not (nothing changed). */
enum refusal_reason map_found(void *addr, size_t bytes, uint64_t paid, enum category category);

/* The opposite: the range is gone, or no longer ours. Uncharges what was marked. */
void map_lost(void *addr, size_t bytes, enum category category);

/* Whatever both books have of the range is no longer: a mapping came to stand there, or the
 * range is free and ours. */
void map_forget(uintptr_t addr, uint64_t pages, enum category category);

/* Uncharges what is no longer mapped of a range that was charged once. Whoever is given the
 * addresses meanwhile keeps his marks: each piece is occupied while it is looked at. True if
 * there was any. */
bool map_sweep(uintptr_t addr, uint64_t pages, enum category category);

/* Decommits without unmapping, jemalloc's way when mappings run short (shim/heap.c):
 * drops the pages, keeps them writable, uncharges. And the way back: pays again. */
long map_soften(void *addr, size_t bytes, enum category category);
enum refusal_reason map_harden(void *addr, size_t bytes, enum category category);
