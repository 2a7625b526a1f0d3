/* SPDX-License-Identifier: MIT */
/* What a process is charged before its first own call: the program, its libraries, the
 * dynamic loader's memory, the stack. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Marks and charges everything that is private and writable now and not marked yet. For
 * the constructor. Returns false when /proc/self/maps cannot be read; the charge then
 * covers the modules' segments and the stack only. */
bool baseline_find(void);

/* The main thread's stack is paid for down to here; see stack_pay. */
struct stack_floor {
	uintptr_t paid;  /* lowest address paid for */
	uintptr_t limit; /* as far as it may ever grow */
};
extern struct stack_floor stack_floor;

/* Pays for what the main thread's stack has grown beyond what was paid, if the caller
 * runs on it. The kernel grows it by page faults (mm/vma.c:acct_stack_growth), which no
 * wrapper sees, so this is asked at every charge: one comparison. */
static inline bool stack_has_grown(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	return here - stack_floor.limit < stack_floor.paid - stack_floor.limit;
}
void stack_pay(void);
