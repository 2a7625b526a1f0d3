/* SPDX-License-Identifier: MIT */
/* Bringing an account's books in line with who is alive. Reaping happens here and nowhere
 * else: the only way a dead member's charge comes home. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Finds the newborn, places the orphans, reaps the dying, and checks an account nobody is
 * left in. Of the dying, those that there is time for: the rest next time. Harmless when there is
 * nothing to do, and when the account is damaged: then its dead are struck off the list and its
 * ledger is left alone. */
void settle_account(struct broker *b, struct account *a, bool inherited);

/* What a death takes: memory that many thousand honest members leave at once is back at once, or the
 * next who asks is refused what is there. A member may stretch its death; so much beyond that is
 * waited for. */
#define DEATH_NS 10000ull
#define DEATHS_NS (5 * 1000000ull)

/* Is nobody in it: no member, none who was heard to die (perhaps in the middle of another account's
 * request) and is to be reaped, none who may have been born? */
bool account_is_vacant(const struct account *a);

/* Are the books of an account that nobody is left in as they must be? Damaged if not. */
void settle_empty(struct broker *b, struct account *a);

/* Every account where somebody died or was born since. */
void settle_all(struct broker *b);

/* Every account where somebody died. Who was born waits for the tick, unless one of the dead may be the
 * parent: most children that a server forks for a moment do not live to see it, and a dead one costs
 * us a tenth of what a living one does, which is asked who it is, watched, and waited for. */
void settle_deaths(struct broker *b);

/* Settles whatever slot `s` left open, without giving up its charge: its process called
 * execve. Shared objects are dropped, its embryos settled. */
void settle_exec(struct broker *b, struct account *a, uint32_t s);
