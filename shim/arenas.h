/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* From now on arenas are made here. For the constructor, when jemalloc is up. */
void arenas_start(void);

/* This thread's tsd_t, while it has a cache; else NULL. */
void *arenas_cached(void);

/* It is about to lose it (shim/deserted.c). */
void arenas_uncached(void);

/* In a child of fork: whoever was starting a thread is not here. */
void arenas_child(void);

/* jemalloc's own (5.3.0, src/arena.c and src/jemalloc.c). */
extern unsigned je_narenas_auto; /* arenas that threads are spread over */
extern void *je_arenas[];
