/* SPDX-License-Identifier: MIT */
/* One `solvent run`, from its command line to the moment before execve. */
#pragma once

#include <limits.h>

#include "cli/account.h"
#include "cli/cli.h"
#include "cli/private.h"

struct run {
	struct cli *cli;
	/* the command line: as given; NULL: not given */
	const char *budget, *account, *mode, *fork, *no_broker;
	bool summary, allow_unaccounted;
	char **command;
	uint64_t limit_pages; /* with budget */

	/* what comes of it */
	bool is_accounted;
	char library[PATH_MAX];
	char socket[PATH_MAX];
	char private_account[ACCOUNT_NAME_BYTES];
	struct private_broker private; /* with budget */
	struct accounts accounts;      /* with summary */
};

/* Complains; false, with 125 as the status to end with. */
#define RUN_FAIL(run, ...) (cli_complain(__VA_ARGS__), (run)->cli->status = CLI_OURS, false)

/* Reads the command line into `run`. False: run->cli->status is how to end. */
bool run_parse(struct run *run, int argc, char **argv);
