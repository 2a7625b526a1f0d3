/* SPDX-License-Identifier: MIT */
/* The crash points of a file that is included after this become longjmps: what has been stored
 * stays stored, nothing after it happens, as with SIGKILL. */
#pragma once

#include <setjmp.h>
#include <stdint.h>

static jmp_buf crash_to;
static int crash_countdown;	 /* at which point; 0: never */
static uint64_t *crash_restless; /* a word that changes at every point; NULL: none */

static void crash_point(void)
{
	if (crash_restless)
		++*crash_restless;
	if (crash_countdown != 0 && --crash_countdown == 0)
		longjmp(crash_to, 1);
}

#define CRASH_POINT(name) crash_point()
