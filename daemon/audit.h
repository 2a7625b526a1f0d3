/* SPDX-License-Identifier: MIT */
/* The audit: what a member is charged against what the kernel counts, always, for all of
 * them. A difference is charged (daemon/unseen.h) and shown. */
#pragma once

#include "daemon/account.h"

struct broker;

#define AUDIT_NS (250 * 1000000ull) /* every member is looked at about this often */
/* Of those in whom nothing has moved for so many looks, one in AUDIT_CALM is looked at each time; of
 * those in whom nothing has for longer, one in AUDIT_CALMER. */
#define AUDIT_QUIET 4u
#define AUDIT_CALM 8u
#define AUDIT_QUIETER 6u
#define AUDIT_CALMER 24u
#define AUDIT_IN_TICK 256u          /* members; above 2,560 of them it is less often */
#define AUDIT_AT_ONCE 16u           /* 0.2 ms; then whoever waits for the broker is heard */

/* Counting mapping by mapping (daemon/count.h) may take this part of the broker's time, so much of it
 * at once; and one member is not counted twice within the rest. */
#define AUDIT_PARTS 50u
#define AUDIT_COUNT_NS (2 * 1000000)
#define AUDIT_REST_NS (250 * 1000000ull)

/* A larger process would stand still for too long; what is found of it is believed. 1 GiB. */
#define AUDIT_LARGE_PAGES ((uint64_t)1 << 18)

/* Some members are to be looked at in this tick. */
void audit_tick(struct broker *b);

/* A few of them, in turn. For every turn of the loop, which does not sleep while there are more
 * (audit_goes_on). */
void audit_turn(struct broker *b);
bool audit_goes_on(const struct broker *b);

/* One of them, now. */
void audit_slot(struct broker *b, struct account *a, uint32_t s);
