/* SPDX-License-Identifier: MIT */
/* solventd's arguments, and nothing else: everything behind this line links into tests. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/killer/replay.h"
#include "daemon/log.h"
#include "daemon/start.h"
#include "include/protocol.h"

#define DEFAULT_STATE "/run/solvent"
#define DEFAULT_CONFIG SOLVENT_SYSCONFDIR "/solvent/solvent.conf"

enum { OPTION_CHECK = 256, OPTION_UNTIL_EMPTY, OPTION_READY_FD, OPTION_VERSION, OPTION_HELP,
       OPTION_DRY_RUN, OPTION_RECORD, OPTION_REPLAY };

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, 's' },
	{ "state", required_argument, NULL, 'd' },
	{ "config", required_argument, NULL, 'c' },
	{ "foreground", no_argument, NULL, 'f' },
	{ "check", no_argument, NULL, OPTION_CHECK },
	{ "dry-run", no_argument, NULL, OPTION_DRY_RUN },
	{ "record", required_argument, NULL, OPTION_RECORD },
	{ "replay", required_argument, NULL, OPTION_REPLAY },
	{ "until-empty", no_argument, NULL, OPTION_UNTIL_EMPTY },
	{ "ready-fd", required_argument, NULL, OPTION_READY_FD },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 },
};

static void help(void)
{
	printf("solventd - the broker that keeps the books of memory budgets\n\n"
	       "usage: solventd [OPTION]...\n\n"
	       "  -s, --socket PATH    where members find it; @NAME for an abstract address\n"
	       "                       (%s)\n"
	       "  -d, --state DIR      what the next broker needs to take over (%s)\n"
	       "  -c, --config FILE    accounts (%s)\n"
	       "  -f, --foreground     stay; complaints to stderr\n"
	       "      --check          read the configuration, say what is wrong with it, end\n"
	       "      --dry-run        say who would be killed, and kill nobody\n"
	       "      --record FILE    write down all that led to each such decision\n"
	       "      --replay FILE    decide again what stands in FILE; 1 if it is not the same\n"
	       "      --until-empty    end when the last member has gone; without --state nothing is kept\n"
	       "      --ready-fd N     write a byte to descriptor N when it listens\n"
	       "      --version, --help\n\n"
	       "SIGHUP reads the configuration again, SIGTERM ends it; members live on.\n"
	       "See solventd(8), solvent.conf(5).\n",
	       PROTOCOL_SOCKET, DEFAULT_STATE, DEFAULT_CONFIG);
}

static int descriptor_read(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (*text && !*end && n > 2 && n < 1 << 20)
		return (int)n;
	log_error("--ready-fd %s is not a descriptor; write a number above 2", text);
	exit(2);
}

static void option_take(struct options *o, int option)
{
	switch (option) {
	case 's':
		o->socket = optarg;
		break;
	case 'd':
		o->state = optarg;
		break;
	case 'c':
		o->config = optarg;
		break;
	case 'f':
		o->foreground = true;
		break;
	case OPTION_CHECK:
		o->check = true;
		break;
	case OPTION_DRY_RUN:
		o->dry_run = true;
		break;
	case OPTION_RECORD:
		o->record = optarg;
		break;
	case OPTION_REPLAY:
		exit(replay(optarg));
	case OPTION_UNTIL_EMPTY:
		o->until_empty = true;
		break;
	case OPTION_READY_FD:
		o->ready_fd = descriptor_read(optarg);
		break;
	case OPTION_VERSION:
		puts("solventd " SOLVENT_VERSION);
		exit(0);
	case OPTION_HELP:
		help();
		exit(0);
	default:
		fputs("solventd: see solventd --help\n", stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options o = { .socket = PROTOCOL_SOCKET, .config = DEFAULT_CONFIG, .ready_fd = -1 };
	log_open(LOG_TO_STDERR);
	for (int option; (option = getopt_long(argc, argv, "s:d:c:f", long_options, NULL)) != -1;)
		option_take(&o, option);
	if (optind < argc) {
		log_error("%s is not understood; solventd takes options only, see solventd --help", argv[optind]);
		return 2;
	}
	if (!o.state && !o.until_empty)
		o.state = DEFAULT_STATE;
	return o.check ? start_check(&o) : start(&o);
}
