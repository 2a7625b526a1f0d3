/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Who is calling: return addresses, innermost first, ours left out. Returns how many, at
 * most `n`; 0 where it cannot be found out: no libunwind, inside the heap or the loader (of
 * which `caller` tells, where it is known), in a child of vfork, with little stack left.
 *
 * The first call loads the library, which takes half a millisecond and allocates; later ones
 * take some 20 us, allocate nothing, hold no file descriptor, take no lock of anybody
 * else's, and read no memory that was not checked to be there. May change errno. */
int blame_walk(uintptr_t *frames, int n, const void *caller);

/* Is this thread in the middle of it? What is refused to the walker is nobody's refusal. */
bool blame_is_walking(void);
