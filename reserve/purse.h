/* SPDX-License-Identifier: MIT */
/* The purse: one 64-bit word {granted, used}, the only thing that is ever charged.
 *
 * used <= granted at every instant. Taking and giving move `used` and are the hot
 * path: one compare-and-swap on a line nobody else writes. A transfer moves `granted`
 * and signs for it, so that a death in the middle can be settled (reserve/transfer.h).
 *
 * All operations are lock-free and async-signal-safe. Beside the purse a transfer writes `confirmed`
 * in the slot of whoever signed last, and in the broker one that is given up is noted. */
#pragma once

#include "include/ledger.h"

/* Reads the word once. Acquire: what was written before a transfer into this purse is
 * seen after it. */
static inline uint64_t purse_read(const struct purse *p)
{
	return __atomic_load_n(&p->word, __ATOMIC_ACQUIRE);
}

/* Granted less used; 0 if the word is nonsense. */
static inline uint32_t purse_headroom(uint64_t word)
{
	uint32_t granted = PURSE_GRANTED(word), used = PURSE_USED(word);
	return granted > used ? granted - used : 0;
}

/* Charges `pages` if the grant covers them. False: nothing changed. */
bool purse_take(struct purse *p, uint32_t pages);

/* Uncharges `pages`. Cannot fail; more than `used` (a scribbled ledger, or our bug)
 * becomes 0. */
void purse_give(struct purse *p, uint32_t pages);

/* What a signed change does to a purse, in pages. Both halves move in one step. */
struct purse_change {
	int64_t granted;
	int64_t used;
};

/* Applies `change` and leaves `by` as the signature; refused (false, nothing changed)
 * when it would break 0 <= used <= granted <= PAGES_MAX. Before the old signature is
 * overwritten it is confirmed in its slot of `ledger`, so that its owner's settlement
 * still finds it. */
bool purse_transfer(struct purse *p, struct purse_change change, uint64_t by, struct ledger *ledger);

/* As above, but only if `p` still holds `expected` and `expected_by` in full. */
bool purse_swap(struct purse *p, uint64_t expected, uint64_t expected_by, uint64_t word, uint64_t by,
		struct ledger *ledger);

/* A transfer is tried again when somebody else has moved the purse meanwhile. A member goes on
 * until it succeeds, for each time it fails another has succeeded. The broker must not be held
 * up by the members of one account, who might move it without end: told so once, a process
 * gives up a transfer after `tries`, as if it had been refused, and all others in the same
 * ledger after one, until purse_gave_up has been asked. */
void purse_patience(uint32_t tries);

/* In the loops of transfers: once more, after `tries` that failed? */
bool purse_is_tried_again(uint32_t tries, const struct ledger *ledger);

/* Whatever else was tried and never came to an end has been given up, too. */
void purse_give_up(const struct ledger *ledger);

/* Was a transfer in that ledger given up since this was last asked? Then somebody writes to it
 * all the time, and what stands in it is worth nothing. */
bool purse_gave_up(const struct ledger *ledger);

/* Records in the signer's slot that the step signed by `by` was done. */
void signature_confirm(uint64_t by, struct ledger *ledger);

/* Was the step signed by `by` applied to `p`? True if its signature stands there or was
 * confirmed in its slot. Exact once the signer can no longer act. */
bool purse_was_signed(const struct purse *p, uint64_t by, const struct ledger *ledger);
