/* SPDX-License-Identifier: MIT */
/* Settling a dead member: the only way its charge comes home. The broker's, once the
 * process of slot `s` is gone (its pidfd said so) and nobody can act for it. */
#pragma once

#include "include/ledger.h"

/* Settles the open transfer, drops the objects, returns the whole grant to the account
 * and frees the slot. Its embryos must have been settled before. May be cut short
 * anywhere and run again. Returns the pages that were granted to it. */
uint32_t member_reap(struct ledger *l, uint32_t s);

/* The next slot from `from` on that is an embryo owned by `parent`, or LEDGER_SLOTS. A
 * dead parent's embryo whose pid is unknown and whom no process of this account can be
 * (the broker asks /proc) is reaped like a member. */
uint32_t embryo_next(const struct ledger *l, uint32_t parent, uint32_t from);
