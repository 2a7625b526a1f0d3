/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* From now on arenas are made here. For the constructor, when jemalloc is up. */
void arenas_start(void);

/* In a child of fork: whoever was starting a thread is not here. */
void arenas_child(void);

/* jemalloc's own (5.3.0, src/arena.c and src/jemalloc.c). */
extern unsigned je_narenas_auto; /* arenas that threads are spread over */
extern void *je_arenas[];
