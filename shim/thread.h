/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>

/* Uncharges the stacks that libc has unmapped since their threads ended: it keeps up to
 * 40 MiB of them for the next threads (nptl/nptl-stack.c) and tells nobody about the rest.
 * True if anything came back. Async-signal-safe; errno stays. */
bool stacks_sweep(void);
