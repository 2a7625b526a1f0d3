/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Uncharges the stacks that libc has unmapped since their threads ended: it keeps up to
 * 40 MiB of them for the next threads (nptl/nptl-stack.c) and tells nobody about the rest.
 * True if anything came back. Async-signal-safe; errno stays. */
bool stacks_sweep(void);

/* The same where one may be gone since the last time: before the loader maps a library, which
 * might come to stand on what is charged still, and be charged for its text as long as it
 * stays. */
void stacks_sweep_due(void);
