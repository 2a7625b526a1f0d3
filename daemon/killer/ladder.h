/* SPDX-License-Identifier: MIT */
/* What is done when memory is short, step by step: warn; then, one victim after another in the
 * order of the rank, what the victim's rule says; ask it to end, and kill it when its grace is
 * over or memory will not last that long; wait until it is gone and memory was counted again, or
 * until it must be given up; then the next.
 *
 * Nothing here reads a clock or a file, or does anything to anybody: the same readings and the
 * same roll give the same script, byte for byte. */
#pragma once

#include "daemon/killer/rank.h"
#include "daemon/killer/script.h"

enum ladder_step {
	LADDER_REST,   /* no victim */
	LADDER_TOLD,   /* it was asked to end */
	LADDER_KILLED,
	LADDER_SETTLE, /* it is gone, and its memory on its way back */
};

/* One a watch. All zero: at rest. */
struct ladder {
	struct gauge gauge;
	uint8_t step;	    /* enum ladder_step */
	bool warned, short_of; /* was said */
	bool nobody;	    /* is left, and that was said */
	struct rule rule;   /* the victim's, as it was then: a reload may change it */
	struct standing victim;
	char comm[COMM_BYTES]; /* of its eldest */
	uint64_t since_ns;  /* this step began */
	uint64_t until_ns;  /* and ends at the latest */
	uint64_t crossed_ns; /* memory became short */
	uint64_t calm_ns;   /* since when it is not even worth a warning; 0: it is */
	uint64_t settled;   /* with that much available its memory is back */
	uint32_t victims;   /* since memory became short */
};

#define LADDER_RELEASE_NS (30 * 1000000ull) /* who was killed has this long to end by itself */
#define LADDER_NOBODY_NS (50 * 1000000ull) /* with nobody left, somebody may come: as often as all are looked at */
#define LADDER_THAW_NS (1000 * 1000000ull) /* of calm before one of the frozen goes on, and the next */

/* Takes one reading of watch `w` in and says what is to be done. `dry`: nothing of it will be done,
 * so that nobody is waited for and nobody follows. */
void ladder_climb(struct ladder *l, struct roll *roll, uint32_t w, const struct watch_policy *p,
		  const struct reading *r, bool dry, struct script *ret);

/* How long the next reading may wait. */
uint64_t ladder_wait_ns(const struct ladder *l, const struct watch_policy *p);
