/* SPDX-License-Identifier: MIT */
/* A ledger somebody wrote over. Its account is closed: nobody joins, nothing in it is
 * believed, its share of the pool stays what it was. When no process maps it any more it
 * begins anew. Nobody else notices. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Marks the account damaged and says so, once. `how` ends a sentence. */
void damage_found(struct broker *b, struct account *a, const char *how);

/* Is the account in order, as far as a glance can tell? If not, it is damaged from now on. */
bool damage_absent(struct broker *b, struct account *a);

/* One step towards healing; DAMAGE_STEP_NS of looking through /proc at most, the rest next
 * time. */
void damage_look(struct broker *b, struct account *a);

/* The account is about to be forgotten: nothing here may refer to it any more. */
void damage_forget(const struct account *a);

#define DAMAGE_STEP_NS (5 * NS_PER_MS)
#define DAMAGE_REST 20 /* times what a step took, before the next */
