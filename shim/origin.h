/* SPDX-License-Identifier: MIT */
#pragma once

#include "include/ledger.h"

/* Writes return addresses into the record in the form in which another process can read
 * them: an offset into a file, and that file's build id and name. Takes no lock. */
void origin_fill(struct refusal *r, const uintptr_t *frames, int n);

/* Is the address in our own code? In the dynamic loader's? */
bool origin_is_ours(uintptr_t address);
bool origin_is_loader(uintptr_t address);
