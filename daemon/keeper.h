/* SPDX-License-Identifier: MIT */
/* The keeper: a process that holds the ledgers open and does nothing else, so that a
 * broker may be killed at any moment and the next one find them. Without it the memory
 * would belong to the members alone. A service manager's descriptor store does the same
 * (daemon/notify.h). */
#pragma once

#include "daemon/broker.h"
#include "daemon/state.h"

struct keeper {
	int32_t pid; /* 0: none */
	uint64_t since_ns;
};

/* Starts a keeper of what the broker holds now, notes it, and ends the one before. 0 or
 * -errno (the one before lives on). */
int keeper_replace(struct keeper *k, const struct broker *b, const struct state *s);

/* Ends it; the ledgers are not needed any more. */
void keeper_end(struct keeper *k);
