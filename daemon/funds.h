/* SPDX-License-Identifier: MIT */
/* The pool's decisions (daemon/pool.h) carried out on ledgers. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Account `a` is short of `asked` pages, as one of its members sees it. REASON_NONE and
 * `ret_pages` that were added to its grant, 0 when it has them already; or REASON_LIMIT or
 * REASON_POOL. The idle grant of others is taken back before the pool says no. */
enum refusal_reason funds_extend(struct broker *b, struct account *a, uint32_t asked, uint32_t *ret_pages);

/* Moves the account's grant towards what its policy wants: after a reload, and again
 * every second until it is there. */
void funds_settle(struct broker *b, struct account *a);

/* What is promised to all accounts. */
uint64_t funds_promised(struct broker *b);
