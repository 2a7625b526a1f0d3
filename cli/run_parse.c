/* SPDX-License-Identifier: MIT */
/* The command line of solvent run. Whatever contradicts itself is refused with a sentence
 * before anything is started: a budget that was silently not the one asked for is worse
 * than none. */
#include "cli/run.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "reserve/size.h"

static const char HELP[] =
	"Usage: solvent run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
	"Run a command under a memory budget: over it, it hears ENOMEM instead of being killed.\n"
	"\n"
	"  --budget SIZE         start a broker for this command alone, with this budget:\n"
	"                        512M, 8G, 20% (of memory and swap), infinity\n"
	"  --mode enforce|observe   with --budget: refuse, or only note what would be refused\n"
	"  --fork strict|N%      with --budget: charge a child with all or N% of its parent\n"
	"  --account NAME        join this account of the running broker\n"
	"                        (default: $SOLVENT_ACCOUNT, else the broker's default account)\n"
	"  --no-broker strict|open  where no broker answers: do not start (the default), or run\n"
	"                        unaccounted\n"
	"  --summary, --no-summary  say at the end what was refused (default: when stderr is a\n"
	"                        terminal and no service manager started us)\n"
	"  --allow-unaccounted   run even a program that a preload cannot account\n"
	"  --socket NAME         the broker to join\n"
	"\n"
	"Exit status: the command's own; 125 if solvent fails, 126 if the command cannot be\n"
	"executed, 127 if it is not found.\n";

enum {
	OPTION_BUDGET = CLI_OWN,
	OPTION_ACCOUNT,
	OPTION_MODE,
	OPTION_FORK,
	OPTION_NO_BROKER,
	OPTION_SUMMARY,
	OPTION_NO_SUMMARY,
	OPTION_ALLOW_UNACCOUNTED,
};
static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "budget", required_argument, NULL, OPTION_BUDGET },
	{ "account", required_argument, NULL, OPTION_ACCOUNT },
	{ "mode", required_argument, NULL, OPTION_MODE },
	{ "fork", required_argument, NULL, OPTION_FORK },
	{ "no-broker", required_argument, NULL, OPTION_NO_BROKER },
	{ "summary", no_argument, NULL, OPTION_SUMMARY },
	{ "no-summary", no_argument, NULL, OPTION_NO_SUMMARY },
	{ "allow-unaccounted", no_argument, NULL, OPTION_ALLOW_UNACCOUNTED },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent run", HELP, OPTIONS, CLI_OURS };

static bool has_environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value;
}

/* Where stderr is closed there is nobody to tell, and its number would be used again. */
static bool can_tell(void)
{
	return fcntl(STDERR_FILENO, F_GETFD) >= 0;
}

static bool summary_by_default(void)
{
	return isatty(STDERR_FILENO) && !has_environment("NOTIFY_SOCKET") && !has_environment("INVOCATION_ID");
}

static void run_take(struct run *run, int option)
{
	switch (option) {
	case OPTION_BUDGET:
		run->budget = optarg;
		break;
	case OPTION_ACCOUNT:
		run->account = optarg;
		break;
	case OPTION_MODE:
		run->mode = optarg;
		break;
	case OPTION_FORK:
		run->fork = optarg;
		break;
	case OPTION_NO_BROKER:
		run->no_broker = optarg;
		break;
	case OPTION_SUMMARY:
	case OPTION_NO_SUMMARY:
		run->summary = option == OPTION_SUMMARY;
		break;
	case OPTION_ALLOW_UNACCOUNTED:
		run->allow_unaccounted = true;
		break;
	}
}

static bool is_one_of(const char *text, const char *a, const char *b)
{
	return !text || strcmp(text, a) == 0 || strcmp(text, b) == 0;
}

/* "strict", or a whole number of percents from 1 to 100 (daemon/value.c). */
static bool is_fork_policy(const char *text)
{
	if (!text || strcmp(text, "strict") == 0)
		return true;
	size_t digits = strspn(text, "0123456789");
	return digits >= 1 && digits <= 3 && strcmp(text + digits, "%") == 0 && atoi(text) >= 1 &&
	       atoi(text) <= 100;
}

static bool run_check_budget(struct run *run)
{
	struct sysinfo info;
	uint64_t bytes, whole = 0;
	if (!run->budget)
		return true;
	if (sysinfo(&info) == 0)
		whole = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
	if (size_parse(run->budget, whole, &bytes) != 0)
		return RUN_FAIL(run, "--budget %s is not a size; write it like 512M, 8G, 20%% or infinity", run->budget);
	if (bytes == 0)
		return RUN_FAIL(run, "--budget %s leaves no room for the command itself", run->budget);
	run->limit_pages = min_u64(pages_of(bytes), PAGES_MAX);
	return true;
}

static bool run_check_options(struct run *run)
{
	const char *stray = run->budget ? "--budget" : run->mode ? "--mode" : run->fork ? "--fork" : NULL;
	if (run->account && stray)
		return RUN_FAIL(run, "%s and --account exclude each other: the broker's configuration decides for "
				     "account %s", stray, run->account);
	if (!run->budget && stray)
		return RUN_FAIL(run, "%s goes with --budget: without one, the broker's configuration decides", stray);
	if (run->budget && run->cli->socket_is_given)
		return RUN_FAIL(run, "--budget and --socket exclude each other: --budget starts a broker of its own");
	if (run->account && (!*run->account || strlen(run->account) >= ACCOUNT_NAME_BYTES))
		return RUN_FAIL(run, "--account \"%s\": an account's name has 1 to %d characters", run->account,
				ACCOUNT_NAME_BYTES - 1);
	if (!is_one_of(run->mode, "enforce", "observe"))
		return RUN_FAIL(run, "--mode %s is neither enforce nor observe", run->mode);
	if (!is_one_of(run->no_broker, "strict", "open"))
		return RUN_FAIL(run, "--no-broker %s is neither strict nor open", run->no_broker);
	if (!is_fork_policy(run->fork))
		return RUN_FAIL(run, "--fork %s is neither strict nor a percentage from 1%% to 100%%", run->fork);
	return run_check_budget(run);
}

bool run_parse(struct run *run, int argc, char **argv)
{
	int option;
	run->summary = summary_by_default();
	while ((option = cli_option(&SYNTAX, run->cli, argc, argv)) > 0)
		run_take(run, option);
	if (option == CLI_STOP)
		return false;
	if (optind >= argc)
		return RUN_FAIL(run, "a command to run is missing; see solvent run --help");
	run->command = argv + optind;
	run->summary &= can_tell();
	return run_check_options(run);
}
