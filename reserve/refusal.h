/* SPDX-License-Identifier: MIT */
/* Refusals as they are kept: counters that are exact, and a ring of the newest records.
 *
 * Everything here is lock-free, async-signal-safe and waits for nobody. Writers may be
 * killed anywhere and may be slow for any length of time; a reader gets a record whole or
 * not at all. */
#pragma once

#include "include/ledger.h"

/* Counts a refusal of `pages` to the member in `slot`; or, `observed`, one that was only
 * noted. */
void refusal_count(struct ledger *l, uint32_t slot, uint64_t pages, bool observed);

/* Puts the record into the ring as its newest. `seq` and `reserved0` are filled in here. It is
 * lost if LEDGER_REFUSALS newer ones overtake it while it is written. */
void refusal_push(struct ledger *l, const struct refusal *r);

/* Copies record `number` (0 is the account's first). False, and `ret` untouched: it is not
 * written yet, not any more, or never was finished. Every field is then what its writer
 * wrote, but a writer may be hostile: check before use. */
bool refusal_read(const struct ledger *l, uint64_t number, struct refusal *ret);
