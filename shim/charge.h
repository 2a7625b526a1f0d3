/* SPDX-License-Identifier: MIT */
/* The one place where this process is charged and uncharged. */
#pragma once

#include "include/ledger.h"

/* Charges `pages` to this process. REASON_NONE: paid. Otherwise why not, and nothing has
 * changed; in observe mode never refused (the refusal it would have been is recorded by
 * charge_refused all the same). Async-signal-safe; errno untouched. */
enum refusal_reason charge_take(uint64_t pages, enum category category);

/* Gives back. Cannot fail. Call it after the kernel has let the pages go. */
void charge_give(uint64_t pages, enum category category);

/* Pages move from one category to another (for people to read; the charge stays). */
void charge_recategorise(uint64_t pages, enum category from, enum category to);

/* Counts pages that were charged in the purse by other means (under self_lock). */
void charge_note(uint64_t pages, enum category category);

/* Pages of the heap that are to be uncharged and stay writable, so that the kernel goes on
 * counting them (shim/heap.c); they are shown in the slot, for audits. Call it before they are
 * uncharged. And the opposite, after they were charged again or unmapped. */
void charge_soften(uint64_t pages);
void charge_harden(uint64_t pages);
/* Shows them in that slot, of ours or about to be. */
void charge_soft_show(uint32_t slot);

/* What this address space is charged at this moment, in pages. */
uint64_t charge_mine(void);

/* A fork is about to copy this address space: from now until charge_fork_end every
 * charge pays for `e` too. Waits until no other thread is in the middle of a charge.
 * Returns the pages the child will inherit; the caller funds the embryo with them
 * before forking. Several threads may fork at once (up to 16; more wait). */
struct embryo;
uint64_t charge_fork_begin(void);
void charge_fork_cover(const struct embryo *e);
void charge_fork_end(void);

/* Between the two no fork of another thread begins to conceive; waits for those that do. Not under
 * the slot lock. */
void charge_window_enter(void);
void charge_window_leave(void);
/* In there, under the slot lock: of the object, which we hold, something is about to be mapped, and
 * the copies that are due now may have it. */
void charge_embryos_hold(uint32_t object);

/* The constructor has joined: what was counted so far is shown in the slot. */
void charge_categories_start(void);

/* In the child: nobody else is charging or forking here; `pages` is what it inherited. */
void charge_child_reset(uint64_t pages);

/* Observe mode: would the last charge this thread was granted have been refused? Asking
 * clears it; the door then records it (door_observed). */
bool charge_was_over(void);
