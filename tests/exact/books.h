/* SPDX-License-Identifier: MIT */
/* The ledger of our account as it lies in our own memory, where the shim mapped it: what is
 * charged, to the page and at this instant, without asking anybody. */
#pragma once

#include "include/ledger.h"

/* NULL: this process is in no account. */
const struct ledger *books(void);

/* Pages charged to this process. */
uint64_t books_charge(void);

/* Pages charged to the whole account. */
uint64_t books_used(void);

/* Slots in use by others: processes that live, or have died and are not settled yet. */
uint32_t books_others(void);

/* Refusals so far. */
uint64_t books_refusals(void);

/* The last one, if it is the first since this thread called books_refusals, which said `before`,
 * and was written down, as not more than a hundred in a second are; else NULL. */
const struct refusal *books_last_refusal(uint64_t before);

/* Pages of the published object of that kind and keys; -1: there is none. */
int64_t books_object(enum object_kind kind, uint64_t key_a, uint64_t key_b);

/* All objects of one kind: how many there are, and their pages. */
uint32_t books_objects(enum object_kind kind, uint64_t *ret_pages);
