/* SPDX-License-Identifier: MIT */
/* A refusal put into the way, for tests (make check-inject, MODE=inject): the growth with the
 * number that SOLVENT_INJECT names is refused, counted over all processes of the account, and
 * so is what its thread tries next, or a purge of the heap would help: the heap asks for much,
 * for little (shim/ahead.c), purges, and asks for both again. In every other build this is
 * nothing. */
#pragma once

#include <stdbool.h>

#ifdef SOLVENT_INJECT
#include <stdint.h>
#include <stdlib.h>

#include "shim/self.h"

#define INJECT_AGAIN 3

/* Is this growth the one? Async-signal-safe. */
static inline bool inject_refuses(void)
{
	static long number = -1;
	static __thread __attribute__((tls_model("initial-exec"))) uint8_t again;
	if (self.state != SELF_MEMBER)
		return false;
	if (number < 0) {
		const char *text = getenv("SOLVENT_INJECT");
		number = text ? atol(text) : 0;
	}
	/* A word that nobody uses; relaxed: only its number matters. */
	uint32_t *count = &self.ledger->header.reserved1[0];
	bool now = number > 0 && (again > 0 || __atomic_add_fetch(count, 1, __ATOMIC_RELAXED) == (uint32_t)number);
	if (now)
		again = again > 0 ? again - 1 : INJECT_AGAIN;
	return now;
}
#else
static inline bool inject_refuses(void)
{
	return false;
}
#endif
