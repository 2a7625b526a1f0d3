/* SPDX-License-Identifier: MIT */
/* Finding the pages for a charge: the order before a refusal.
 *
 *   own purse -> the account's grant -> idle slack of siblings -> more grant from the
 *   broker -> no
 *
 * so that a refusal means the account is full to the page, not that a batch sat
 * elsewhere. (The caller's own dirty heap is purged by the shim, which then asks again.) */
#pragma once

#include "include/ledger.h"

/* A member funds itself this much beyond its need, so that the next charges stay on its
 * own line, and gives back what lies idle beyond GATHER_IDLE. 1 MiB and 4 MiB. */
#define GATHER_BATCH 256u
#define GATHER_IDLE 1024u

/* Asks the broker to reap the dead and to add `pages` to the account's grant. 0: look
 * again. -ENOMEM: refused, and `ret_reason` says why. Another -errno: no answer. */
typedef int gather_ask(void *context, uint32_t pages, enum refusal_reason *ret_reason);

struct gather {
	struct ledger *ledger;
	uint32_t slot; /* the actor; nobody else may act for it meanwhile */
	uint32_t generation; /* of that slot */
	gather_ask *ask;
	void *context;
};

/* Is the slot the actor's still? A child of vfork whose parent was killed has none any more, and
 * it may hear of that only from the broker, which has reaped the slot: nothing is taken for it then
 * (REASON_BROKER), and nothing may be done in its name. */
bool gather_may_act(const struct gather *g);

/* Charges `pages` in the actor's own purse. REASON_NONE, or why not (nothing changed). */
enum refusal_reason gather_take(const struct gather *g, uint64_t pages);

/* Puts `pages` more grant into the purse of the actor's embryo. */
enum refusal_reason gather_fund(const struct gather *g, uint32_t embryo, uint64_t pages);

/* Charges `pages` in the actor's own purse, which has no slack and gets none at any moment: what
 * the broker keeps for others (daemon/unseen.c). */
enum refusal_reason gather_charge(const struct gather *g, uint64_t pages);

/* Moves idle slack of members, the actor's own included, to the account until that has `pages`
 * of headroom, or there is no more. */
void gather_sweep(const struct gather *g, uint64_t pages);

/* Returns idle slack beyond GATHER_IDLE to the account, down to GATHER_BATCH. */
void gather_trim(const struct gather *g);

/* In observe mode: is the account over the limit that enforce mode would have kept? */
bool gather_is_over(const struct ledger *l);
