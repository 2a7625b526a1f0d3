/* SPDX-License-Identifier: MIT */
/* Charges that the broker makes itself: for memory that came past every door (a thread that
 * libc made for itself, a stack that grew in a sleep), and for processes without a shim.
 * They stand in slots for which nobody but the broker acts, so that no word of a living
 * member is touched: one for each unattached process, and one for what is unseen of all
 * attached members together.
 *
 * What is there cannot be refused any more. It is charged as far as the account can pay;
 * the rest is its drift, and is tried again at every look. */
#pragma once

#include "daemon/account.h"

struct broker;

/* `pages` of member `s` are charged beside its own purse from now on, all of its charge when
 * it is unattached. */
void unseen_set(struct broker *b, struct account *a, uint32_t s, uint32_t pages);

/* The same for what it was let in without paying for and has of its own by now. False: the account
 * cannot pay for all of it; what it can is charged. */
bool unseen_lend(struct broker *b, struct account *a, uint32_t s, uint32_t pages);

/* Idle slack of the account's members, up to `pages`, becomes idle grant of the account, which
 * others may be given. Does what it can: a full ledger has no slot to act from. */
void unseen_sweep(struct broker *b, struct account *a, uint64_t pages);

/* Member `s` has died or begun anew (execve): nothing unseen of it is left. */
void unseen_forget(struct broker *b, struct account *a, uint32_t s);

/* Slot `s` is acted for by the broker from now on, or was by the last one: its process is
 * unattached, what it left open is settled, and all that was granted is charged. */
void unseen_take_over(struct account *a, uint32_t s);

/* Member `s` joins after all: the charge in its slot is its own from now on. */
void unseen_hand_over(struct account *a, uint32_t s);

/* Is slot `s`, for which the broker acts, as the broker left it? */
bool unseen_is_sound(const struct account *a, uint32_t s);
