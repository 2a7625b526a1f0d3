/* SPDX-License-Identifier: MIT */
/* solvent log: what was refused, oldest first. Every account keeps its newest refusals in
 * a ring in its own ledger; here the rings are merged by time. With --follow the rings are
 * looked at again and again, and the list of accounts too, so that a broker that starts
 * anew or an account that is added is followed without a word. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/account.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/record.h"
#include "cli/symbols.h"
#include "reserve/refusal.h"

#define FOLLOW_TICK_MS 250
#define FOLLOW_LIST_TICKS 8 /* how often the list of accounts is asked for again */
/* A record whose writer died half way never becomes whole: passed over after a second. */
#define FOLLOW_STUCK_TICKS 4

static const char HELP[] =
	"Usage: solvent log [--account NAME] [--json] [--follow] [--frames]\n"
	"Show the requests that were refused, oldest first: when, who, what, how much.\n"
	"\n"
	"  --account NAME  of this account only\n"
	"  --json          one JSON document a line\n"
	"  --follow        go on as they happen\n"
	"  --frames        with the call chain: functions and lines where the program is found here\n"
	"  --socket NAME   the broker to ask\n";

enum { OPTION_JSON = CLI_OWN, OPTION_FOLLOW, OPTION_FRAMES, OPTION_ACCOUNT };
static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "follow", no_argument, NULL, OPTION_FOLLOW },
	{ "frames", no_argument, NULL, OPTION_FRAMES },
	{ "account", required_argument, NULL, OPTION_ACCOUNT },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent log", HELP, OPTIONS, CLI_USAGE };

struct wish {
	const char *socket, *account;
	bool json, follow, frames;
};

/* Where we stand in one account's ring. */
struct tail {
	struct account account;
	uint64_t next;  /* number of the next record to read */
	unsigned stuck; /* ticks it has been found unfinished */
};

struct tails {
	struct tail *at;
	size_t n;
};

struct entry {
	const struct tail *tail;
	uint64_t number;
	struct refusal refusal;
};

struct entries {
	struct entry *at;
	size_t n;
};

/* --- the rings --- */

/* The oldest number the ring can still hold, not before `next`. */
static uint64_t first_kept(uint64_t next, uint64_t head)
{
	if (next > head) /* the ledger was made anew */
		next = 0;
	return head - next > LEDGER_REFUSALS ? head - LEDGER_REFUSALS : next;
}

static void entries_add(struct entries *all, const struct tail *tail, const struct refusal *r)
{
	all->at = reallocarray(all->at, all->n + 1, sizeof *all->at);
	if (!all->at)
		cli_no_memory();
	all->at[all->n++] = (struct entry){ .tail = tail, .number = tail->next, .refusal = *r };
}

/* Everything whole in one ring. An unfinished record holds up the ones behind it, for a
 * while, so that they come out in order. */
static void tail_collect(struct tail *tail, struct entries *all, bool wait)
{
	const struct ledger *l = tail->account.ledger;
	if (!l)
		return;
	/* Acquire: pairs with the release of who numbered the record. */
	uint64_t head = __atomic_load_n(&l->header.refusal_head, __ATOMIC_ACQUIRE);
	for (tail->next = first_kept(tail->next, head); tail->next < head; tail->next++) {
		struct refusal r;
		bool whole = refusal_read(l, tail->next, &r);
		if (!whole && wait && ++tail->stuck < FOLLOW_STUCK_TICKS)
			return;
		tail->stuck = 0;
		if (whole)
			entries_add(all, tail, &r);
	}
}

static int entry_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	if (x->refusal.time_ns != y->refusal.time_ns)
		return x->refusal.time_ns < y->refusal.time_ns ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

/* --- the output --- */

static void entry_print(const struct entry *e, const struct wish *wish)
{
	if (wish->json) {
		json_print(record_json(&e->refusal, e->tail->account.reply.account, e->number, wish->frames), JSON_COMPACT);
		return;
	}
	printf("%s %s %s\n", text_time(e->refusal.time_ns).s, e->tail->account.name,
	       record_sentence(&e->refusal).s);
	if (wish->frames)
		record_print_frames(&e->refusal);
}

static void tails_print_new(struct tails *tails, const struct wish *wish)
{
	struct entries all = { 0 };
	for (size_t i = 0; i < tails->n; i++)
		tail_collect(&tails->at[i], &all, wish->follow);
	if (all.n)
		qsort(all.at, all.n, sizeof *all.at, entry_compare);
	for (size_t i = 0; i < all.n; i++)
		entry_print(&all.at[i], wish);
	free(all.at);
}

/* --- the list of accounts --- */

static struct tail *tail_find(struct tails *tails, const struct account *a)
{
	for (size_t i = 0; i < tails->n; i++)
		if (account_is(&tails->at[i].account, a->reply.account))
			return &tails->at[i];
	return NULL;
}

/* Takes the account over from `from`, in place of an earlier ledger of the same name; not where
 * the broker had no descriptor left to show it with. */
static void tails_take(struct tails *tails, struct account *from)
{
	struct tail *tail = tail_find(tails, from);
	if (tail && tail->account.ledger && (!from->ledger || tail->account.inode == from->inode))
		return;
	if (tail) {
		account_close(&tail->account);
	} else {
		tails->at = reallocarray(tails->at, tails->n + 1, sizeof *tails->at);
		if (!tails->at)
			cli_no_memory();
		tail = &tails->at[tails->n++];
	}
	*tail = (struct tail){ .account = *from };
	from->ledger = NULL;
}

static void tails_take_all(struct tails *tails, struct accounts *all)
{
	for (size_t i = 0; i < all->n; i++)
		tails_take(tails, &all->at[i]);
	accounts_close(all);
}

static void tails_close(struct tails *tails)
{
	for (size_t i = 0; i < tails->n; i++)
		account_close(&tails->at[i].account);
	free(tails->at);
}

/* Until a signal, or until the output cannot be written any more. */
static int follow(struct tails *tails, const struct wish *wish)
{
	const struct timespec tick = { .tv_nsec = FOLLOW_TICK_MS * 1000000 };
	for (unsigned n = 1; cli_finish(CLI_OK) == CLI_OK; n++) {
		struct accounts all;
		nanosleep(&tick, NULL);
		/* A broker that is away is waited for: the ledgers stay readable meanwhile. */
		if (n % FOLLOW_LIST_TICKS == 0 && accounts_open(wish->socket, wish->account, &all) == 0)
			tails_take_all(tails, &all);
		tails_print_new(tails, wish);
	}
	return CLI_NO;
}

int cli_log(struct cli *cli, int argc, char **argv)
{
	struct wish wish = { 0 };
	int option;
	while ((option = cli_option(&SYNTAX, cli, argc, argv)) > 0) {
		wish.json |= option == OPTION_JSON;
		wish.follow |= option == OPTION_FOLLOW;
		wish.frames |= option == OPTION_FRAMES;
		if (option == OPTION_ACCOUNT)
			wish.account = optarg;
	}
	if (option == CLI_STOP || !cli_no_operands(&SYNTAX, cli, argc, argv))
		return cli->status;
	wish.socket = cli->socket;
	struct accounts all;
	struct tails tails = { 0 };
	if (accounts_open_or_complain(wish.socket, wish.account, &all) != 0)
		return CLI_NO;
	tails_take_all(&tails, &all);
	tails_print_new(&tails, &wish);
	int status = wish.follow ? follow(&tails, &wish) : cli_finish(CLI_OK);
	tails_close(&tails);
	symbols_close();
	return status;
}
