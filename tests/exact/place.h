/* SPDX-License-Identifier: MIT */
/* Where a call is aimed: at what is mapped, at what is not, across both, at nonsense. Never at
 * memory that is not the actor's own. */
#pragma once

#include "tests/exact/exact.h"

struct place {
	uintptr_t addr;
	size_t bytes;
};

/* Most are a few pages, some are many. */
uint64_t pages_roll(struct dice *d);
/* Of that many pages, now and then not a whole number of them. */
size_t bytes_roll(struct dice *d);

struct place place_in_window(struct actor *a, struct dice *d);
/* Within one run that is mapped, from its beginning or not, to its end or not. */
struct place place_in_run(struct actor *a, struct dice *d);
/* Any of these, or across several, or what a call must refuse. */
struct place place_any(struct actor *a, struct dice *d);

bool place_is_in_window(const struct actor *a, uintptr_t addr, size_t bytes);
