/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Counts one change of the heap's mappings and answers: does this process have so many of
 * them (half of vm.max_map_count) that it should make no more? An estimate, checked against
 * /proc/self/maps as often as it could have become wrong. errno stays; async-signal-safe. */
bool vmas_are_short(void);

/* In a child of fork: whoever was counting is not here. */
void vmas_child(void);
