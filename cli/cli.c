/* SPDX-License-Identifier: MIT */
/* The table of verbs, and the few manners they have in common. */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/protocol.h"

static const struct verb VERBS[] = {
	{ "run", cli_run, "run a program under a budget" },
	{ "status", cli_status, "the pool, the accounts and who is in them" },
	{ "log", cli_log, "the requests that were refused" },
	{ "rank", cli_rank, "who would be killed if memory ran out, in order, and why" },
	{ "audit", cli_audit, "every member's charge beside the kernel's own count" },
};

static const char HELP_HEAD[] =
	"Usage: solvent [--socket NAME] VERB [OPTION]...\n"
	"A memory budget that says no: over it, a program hears ENOMEM instead of being killed.\n"
	"\n";
static const char HELP_TAIL[] =
	"\n"
	"  --socket NAME   the broker to speak to: a path, or @NAME for an abstract address\n"
	"                  (default: $SOLVENT_SOCKET, else " PROTOCOL_SOCKET ")\n"
	"  --version       print the version\n"
	"  --help          this page; solvent VERB --help explains a verb\n"
	"\n"
	"Manual: solvent(1), solvent(7)\n";

enum { OPTION_VERSION = CLI_OWN };

static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent", NULL, OPTIONS, CLI_USAGE };

void cli_complain(const char *format, ...)
{
	char line[4096];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(line, sizeof line, format, arguments);
	va_end(arguments);
	/* One call: lines of several processes on one terminal stay whole. */
	fprintf(stderr, "solvent: %s\n", line);
}

void cli_no_memory(void)
{
	cli_complain("there is no memory left to say it with");
	_exit(CLI_NO);
}

int cli_finish(int status)
{
	errno = 0;
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	cli_complain("the output could not be written: %s", errno ? strerror(errno) : "an earlier write failed");
	return CLI_NO;
}

static void print_help(const struct syntax *syntax)
{
	if (syntax->help) {
		fputs(syntax->help, stdout);
		return;
	}
	fputs(HELP_HEAD, stdout);
	for (size_t i = 0; i < ARRAY_N(VERBS); i++)
		printf("  %-8s %s\n", VERBS[i].name, VERBS[i].summary);
	fputs(HELP_TAIL, stdout);
}

static int stop(struct cli *cli, int status)
{
	cli->status = status;
	return CLI_STOP;
}

int cli_option(const struct syntax *syntax, struct cli *cli, int argc, char **argv)
{
	opterr = 0;
	for (;;) {
		int option = getopt_long(argc, argv, "+:", syntax->options, NULL);
		switch (option) {
		case -1:
			return CLI_END;
		case CLI_HELP:
			print_help(syntax);
			return stop(cli, cli_finish(CLI_OK));
		case CLI_SOCKET:
			cli->socket = optarg;
			cli->socket_is_given = true;
			continue;
		case ':':
			cli_complain("%s needs a value; see %s --help", argv[optind - 1], syntax->name);
			return stop(cli, syntax->usage_status);
		case '?':
			if (optopt > 0 && optopt < CLI_HELP)
				cli_complain("there is no option -%c; see %s --help", optopt, syntax->name);
			else
				cli_complain("%s is not an option, or is given a value it does not take; "
					     "see %s --help", argv[optind - 1], syntax->name);
			return stop(cli, syntax->usage_status);
		default:
			return option;
		}
	}
}

bool cli_no_operands(const struct syntax *syntax, struct cli *cli, int argc, char **argv)
{
	if (optind >= argc)
		return true;
	cli_complain("%s takes no operand, but was given \"%s\"; see %s --help", syntax->name, argv[optind],
		     syntax->name);
	cli->status = syntax->usage_status;
	return false;
}

static const struct verb *verb_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_N(VERBS); i++)
		if (strcmp(VERBS[i].name, name) == 0)
			return &VERBS[i];
	return NULL;
}

int cli_main(int argc, char **argv)
{
	const char *environment = getenv(ENV_SOCKET);
	struct cli cli = { .socket = environment && *environment ? environment : PROTOCOL_SOCKET };
	optind = 0;
	int option = cli_option(&SYNTAX, &cli, argc, argv);
	if (option == CLI_STOP)
		return cli.status;
	if (option == OPTION_VERSION) {
		printf("solvent %s\n", SOLVENT_VERSION);
		return cli_finish(CLI_OK);
	}
	if (optind >= argc) {
		cli_complain("a verb is missing; see solvent --help");
		return CLI_USAGE;
	}
	const struct verb *verb = verb_find(argv[optind]);
	if (!verb) {
		cli_complain("there is no verb \"%s\"; see solvent --help", argv[optind]);
		return CLI_USAGE;
	}
	int first = optind;
	optind = 0;
	return verb->run(&cli, argc - first, argv + first);
}
