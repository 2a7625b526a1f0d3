/* SPDX-License-Identifier: MIT */
/* What the verbs of solvent(1) share: how they are called, how they read options, how
 * they complain and how they end. Human output goes to stdout, complaints to stderr. */
#pragma once

#include <getopt.h>

#include "include/base.h"

/* Exit statuses. `run` stands in front of another program, so its own are those of
 * env(1); the reading verbs use 1 for "no" and 2 for a wrong command line. */
enum {
	CLI_OK = 0,
	CLI_NO = 1,
	CLI_USAGE = 2,
	CLI_OURS = 125,
	CLI_NOT_EXECUTABLE = 126,
	CLI_NOT_FOUND = 127,
};

/* What is known before the verb starts. */
struct cli {
	const char *socket;   /* the broker's address, as given or by default */
	bool socket_is_given; /* by --socket, not by the environment */
	int status;           /* how to end when cli_option says CLI_STOP */
};

struct verb {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv); /* argv[0] is the verb */
	const char *summary;
};

int cli_main(int argc, char **argv);
int cli_run(struct cli *cli, int argc, char **argv);
int cli_status(struct cli *cli, int argc, char **argv);
int cli_log(struct cli *cli, int argc, char **argv);
int cli_audit(struct cli *cli, int argc, char **argv);
int cli_rank(struct cli *cli, int argc, char **argv);

/* --- options --- */

/* How one command line is written. `options` starts with CLI_COMMON_OPTIONS and ends
 * with a zero entry; the verb's own have values from CLI_OWN on. */
struct syntax {
	const char *name; /* as in "solvent run" */
	const char *help;
	const struct option *options;
	int usage_status;
};

enum { CLI_STOP = -1, CLI_END = 0, CLI_HELP = 256, CLI_SOCKET, CLI_OWN };

#define CLI_COMMON_OPTIONS                             \
	{ "help", no_argument, NULL, CLI_HELP },       \
	{ "socket", required_argument, NULL, CLI_SOCKET }

/* The next option of the verb's own (its argument in optarg), CLI_END when optind stands
 * at the first operand, or CLI_STOP: --help was answered, or a complaint was made, and
 * cli->status is how to end. Stops at the first operand (POSIX). Set optind to 0 first. */
int cli_option(const struct syntax *syntax, struct cli *cli, int argc, char **argv);

/* For the verbs that take no operands: true when none is left, else a complaint. */
bool cli_no_operands(const struct syntax *syntax, struct cli *cli, int argc, char **argv);

/* --- ending --- */

/* One line to stderr, "solvent: " in front of it. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Flushes stdout. `status`, or CLI_NO with a complaint when something could not be
 * written (a full disk). */
int cli_finish(int status);

/* Without memory: says so, and ends with CLI_NO. */
void cli_no_memory(void) __attribute__((noreturn));
