/* SPDX-License-Identifier: MIT */
/* Taking over from a broker that is gone: its members never noticed. */
#pragma once

#include "daemon/broker.h"
#include "daemon/state.h"

/* Adopts the ledgers in `k`, whose descriptors become the broker's or are closed, and
 * settles them: who died meanwhile is reaped, who lives is watched. All are retired until
 * broker_configure says otherwise. What cannot be used is said in the log. */
void recover(struct broker *b, struct kept *k);
