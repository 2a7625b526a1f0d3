/* SPDX-License-Identifier: MIT */
/* A ledger that only one test sees: empty, and aligned as its lines of cache want it. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "include/ledger.h"

static inline struct ledger *ledger_made(void)
{
	struct ledger *l = aligned_alloc(_Alignof(struct ledger), sizeof *l);
	return l ? memset(l, 0, sizeof *l) : NULL;
}
