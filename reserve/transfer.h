/* SPDX-License-Identifier: MIT */
/* Moving pages between the purses of one account so that SIGKILL at any instruction
 * loses and leaks nothing.
 *
 * Every transfer is made in the name of one slot, by one actor at a time: the slot's
 * process under its slow lock, or the broker once that process is gone. It is two
 * signed steps, the debit before the credit, with an intent in the slot around them:
 *
 *   intent := {op, target, pages, step}     release
 *   debit   signed (slot, step)
 *   credit  signed (slot, step + 1)
 *   intent := none                          release
 *
 * A pages-in-flight moment (debited, not credited) shows as the account's `used` being
 * larger than the sum of its children's grants: never smaller. transfer_settle finishes
 * or undoes what an actor that died left open; it may itself be cut short anywhere and
 * be run again. The model in tests/model/ledger.pml names the same steps.
 *
 * `s` is the actor's slot number everywhere. All functions are lock-free,
 * async-signal-safe, and never allocate. */
#pragma once

#include "reserve/purse.h"

/* Account to the purse of slot `target` (its own, or its embryo's). False: the account's
 * grant has not that much headroom; nothing changed. */
bool transfer_fund(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages);

/* The same, and the pages arrive in use: at no moment are they slack, which a sibling may take. */
bool transfer_charge(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages);

/* Up to `pages` of the slack of slot `target` (its own, a sibling's that is not using it,
 * or what strayed into a free slot) back to the account. Returns how many. Never touches
 * an embryo, whose slack is its child's. */
uint32_t transfer_return(struct ledger *l, uint32_t s, uint32_t target, uint32_t pages);

/* `pages` already charged in the purse of `s` become the object's, as long as that has `has`: of two
 * who bring it what is missing only one does. False: it has not, or they are not there; then they
 * are the account's again. */
bool transfer_to_object(struct ledger *l, uint32_t s, uint32_t object, uint32_t has, uint32_t pages);

/* Everything charged to the object goes back to the account. Returns how many pages. */
uint32_t transfer_from_object(struct ledger *l, uint32_t s, uint32_t object);

/* As above, but at most `most` of them, and `keep` pages stay the object's: a file became shorter.
 * 0 if it has no more than that. */
uint32_t transfer_shrink_object(struct ledger *l, uint32_t s, uint32_t object, uint32_t most, uint32_t keep);

/* Everything in the purse of `target`, used or not, goes back to the account: a dead
 * member's last settlement, or an embryo that will not be born. Returns the grant. */
uint32_t transfer_reap(struct ledger *l, uint32_t s, uint32_t target);

/* As above, but `keep` pages of it stay, in use or not. */
uint32_t transfer_shrink(struct ledger *l, uint32_t s, uint32_t target, uint32_t keep);

/* Finishes or undoes the transfer that slot `s` had open. The caller must be the only
 * one who can act for `s`. Harmless when nothing is open. */
void transfer_settle(struct ledger *l, uint32_t s);
