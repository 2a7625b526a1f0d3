/* SPDX-License-Identifier: MIT */
/* What `solvent run` says at the end, on stderr: who was refused what, how the command
 * ended, and how near it came to its budget. */
#pragma once

#include <time.h>

#include "cli/account.h"

struct summary {
	const char *command;         /* as people know it: its last component */
	const struct account *account; /* NULL: not accounted, or it cannot be read */
	bool is_accounted;
	bool is_shared;              /* the account is not this command's alone */
	struct account_figures before;
	struct timespec start;       /* CLOCK_MONOTONIC */
};

#define SUMMARY_LINES 20 /* refusals named one by one */

/* Before the command starts. `account` is kept until summary_print. */
void summary_begin(struct summary *s, const char *command, const struct account *account, bool is_shared,
		   bool is_accounted);

/* After it has ended with `status` (waitpid(2)). */
void summary_print(const struct summary *s, int status);

/* "exited 0", "killed by signal 9 (Killed)". */
struct text summary_end(int status);

/* "15.3 of 16.0 MiB": the unit once where it is the same; only the peak for infinity. */
struct text summary_peak(uint32_t peak, uint32_t limit);
