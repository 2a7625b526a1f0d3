/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* From now on arenas are made here. For the constructor, when jemalloc is up. */
void arenas_start(void);

/* In a child of fork: whoever was starting a thread is not here. */
void arenas_child(void);
