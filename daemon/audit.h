/* SPDX-License-Identifier: MIT */
/* The audit: what a member is charged against what the kernel counts, always, for all of
 * them. A difference is charged (daemon/unseen.h) and shown. */
#pragma once

#include "daemon/account.h"

struct broker;

#define AUDIT_NS (250 * 1000000ull) /* every member is looked at about this often */
#define AUDIT_AT_ONCE 256u          /* in one tick; above 2,560 members it is less often */

/* Counting mapping by mapping (daemon/count.h) may take this part of the broker's time, and
 * one member is not counted twice within the rest. */
#define AUDIT_PARTS 50u
#define AUDIT_REST_NS (250 * 1000000ull)

/* A larger process would stand still for too long; what is found of it is believed. 1 GiB. */
#define AUDIT_LARGE_PAGES ((uint64_t)1 << 18)

/* A few members, in turn. For the tick. */
void audit_tick(struct broker *b);

/* One of them, now. */
void audit_slot(struct broker *b, struct account *a, uint32_t s);
