/* SPDX-License-Identifier: MIT */
/* solvent rank: who would be killed now, in order, and why each stands where it does. The broker
 * answers from what it would decide by; nothing is worked out here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/json.h"
#include "cli/text.h"

static const char HELP[] =
	"Usage: solvent rank [--watch CGROUP] [--all] [--json]\n"
	"Show who would be killed now if memory were short, first to last, and why.\n"
	"\n"
	"  --watch CGROUP  of that control group's watch, not the first in the configuration\n"
	"  --all           also those that are not touched, and why not\n"
	"  --json          one document; quantities in bytes, everybody included\n"
	"  --socket NAME   the broker to ask\n";

enum { OPTION_JSON = CLI_OWN, OPTION_ALL, OPTION_WATCH };
static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "all", no_argument, NULL, OPTION_ALL },
	{ "watch", required_argument, NULL, OPTION_WATCH },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent rank", HELP, OPTIONS, CLI_USAGE };

#define ATTEMPTS 8 /* somebody else may ask for an order of his own in between */

struct order {
	struct reply_rank head; /* the first reply; its rows are in `row` */
	struct rank_row *row;
};

static const char *watch_name(const struct reply_rank *r)
{
	return r->group[0] ? r->group : "the machine";
}

/* --- asking --- */

static int rows_take(struct order *o, uint32_t *n, const struct reply_rank *r)
{
	if (r->rows > RANK_ROWS || r->rows == 0 || *n + r->rows > o->head.n)
		return -EBADMSG;
	memcpy(&o->row[*n], r->row, r->rows * sizeof *o->row);
	*n += r->rows;
	return 0;
}

/* 0 and `o`; -ENODATA and the head's watches and group: its control group is not there, or there is
 * no such watch; -EAGAIN: the order changed hands meanwhile. */
static int order_ask(int fd, uint32_t watch, struct order *o)
{
	struct request_rank q = { .watch = watch };
	struct reply_rank r = { .watches = 0 };
	uint32_t n = 0;
	int error = client_rank(fd, &q, &r);
	if (!error || error == -ENODATA)
		o->head = r;
	if (error)
		return error;
	free(o->row);
	o->row = calloc(r.n ? r.n : 1, sizeof *o->row);
	if (!o->row)
		return -ENOMEM;
	for (error = r.n ? rows_take(o, &n, &r) : 0; !error && n < o->head.n;) {
		q.from = n;
		q.round = r.round;
		error = client_rank(fd, &q, &r);
		error = error == -ENODATA ? -EAGAIN : error ? error : rows_take(o, &n, &r);
	}
	return error;
}

static int order_get(int fd, uint32_t watch, struct order *o)
{
	int error = -EAGAIN;
	for (int i = 0; i < ATTEMPTS && error == -EAGAIN; i++)
		error = order_ask(fd, watch, o);
	return error;
}

static bool is_of(const struct order *o, const char *group)
{
	return strncmp(o->head.group, group, sizeof o->head.group) == 0;
}

/* The watch of that control group, or -ENOENT; NULL is the first. */
static int watch_get(int fd, const char *group, struct order *o)
{
	int error = order_get(fd, 0, o);
	for (uint32_t w = 1; (!error || error == -ENODATA) && group && !is_of(o, group); w++)
		error = w < o->head.watches ? order_get(fd, w, o) : -ENOENT;
	return error;
}

/* --- for people --- */

static void print_row(const char *place, const char *pid, const char *who, const char *account, const char *rule,
		      const char *over, const char *returns, const char *cpu, const char *why)
{
	printf("%4s %8s %-20s %-14s %-12s %10s %10s %8s  %s\n", place, pid, who, account, rule, over, returns, cpu, why);
}

static struct text number(long long n, const char *unit)
{
	struct text t;
	snprintf(t.s, sizeof t.s, "%lld%s", n, unit);
	return t;
}

static struct text who(const struct rank_row *r)
{
	struct text t = text_clean(r->comm, sizeof r->comm);
	size_t n = strlen(t.s);
	if (r->processes > 1)
		snprintf(t.s + n, sizeof t.s - n, " +%u", r->processes - 1);
	return t;
}

static struct text rule(const struct rank_row *r)
{
	struct text t;
	if (r->line == 0)
		return (struct text){ "-" };
	snprintf(t.s, sizeof t.s, "%u %.16s", r->line, text_clean(r->action, sizeof r->action).s);
	return t;
}

static void print_one(uint32_t place, const struct rank_row *r)
{
	print_row(r->ranked ? number(place, "").s : "-", number(r->pid, "").s, who(r).s,
		  r->account[0] ? text_clean(r->account, sizeof r->account).s : "-", rule(r).s, text_pages(r->over).s,
		  text_pages(r->returns).s, number(r->cpu_s, " s").s, text_clean(r->why, sizeof r->why).s);
}

static void print_order(const struct order *o, bool all)
{
	const struct reply_rank *h = &o->head;
	uint32_t ranked = 0;
	while (ranked < h->n && o->row[ranked].ranked)
		ranked++;
	printf("%s: %s of %s available; warned at %s, acted on at %s%s\n", watch_name(h), text_pages(h->available).s,
	       text_pages(h->total).s, text_pages(h->warn).s, text_pages(h->act).s, h->dry ? ", as a dry run" : "");
	if (ranked == 0)
		puts("no rule gives anybody up that holds enough to matter");
	if (ranked > 0 || all)
		print_row("", "PID", "WHO", "ACCOUNT", "RULE", "OVER", "RETURNS", "CPU", "BECAUSE");
	for (uint32_t i = 0; i < (all ? h->n : ranked); i++)
		print_one(i + 1, &o->row[i]);
}

/* --- for programs --- */

static json_t *row_json(const struct rank_row *r)
{
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(r->pid));
	json_object_set_new(o, "comm", json_clean(r->comm, sizeof r->comm));
	json_object_set_new(o, "processes", json_count(r->processes));
	json_object_set_new(o, "uid", json_count(r->uid));
	json_object_set_new(o, "account", r->account[0] ? json_clean(r->account, sizeof r->account) : json_null());
	json_object_set_new(o, "ranked", json_boolean(r->ranked));
	json_object_set_new(o, "rule_line", r->line ? json_count(r->line) : json_null());
	json_object_set_new(o, "action", r->line ? json_clean(r->action, sizeof r->action) : json_null());
	json_object_set_new(o, "unit", r->line ? json_clean(r->unit, sizeof r->unit) : json_null());
	json_object_set_new(o, "order", json_count(r->order));
	json_object_set_new(o, "borrower", json_boolean(r->borrower));
	json_object_set_new(o, "over_bytes", json_pages(r->over));
	json_object_set_new(o, "returns_bytes", json_pages(r->returns));
	json_object_set_new(o, "cpu_seconds", json_count(r->cpu_s));
	json_object_set_new(o, "start_ticks", json_count(r->start_ticks));
	json_object_set_new(o, "because", json_clean(r->why, sizeof r->why));
	return o;
}

static void print_json(const struct order *o)
{
	const struct reply_rank *h = &o->head;
	json_t *document = json_object(), *rows = json_array();
	json_object_set_new(document, "v", json_integer(1));
	json_object_set_new(document, "watch", h->group[0] ? json_clean(h->group, sizeof h->group) : json_null());
	json_object_set_new(document, "total_bytes", json_pages(h->total));
	json_object_set_new(document, "available_bytes", json_pages(h->available));
	json_object_set_new(document, "warn_bytes", json_pages(h->warn));
	json_object_set_new(document, "act_bytes", json_pages(h->act));
	json_object_set_new(document, "dry_run", json_boolean(h->dry));
	for (uint32_t i = 0; i < h->n; i++)
		json_array_append_new(rows, row_json(&o->row[i]));
	json_object_set_new(document, "order", rows);
	json_print(document, JSON_INDENT(2));
}

static void complain(const struct cli *cli, int error, const char *group, const struct order *o)
{
	if ((error == -ENOENT || error == -ENODATA) && o->head.watches == 0)
		cli_complain("no memory is watched by the broker at %s; write watch { } in solvent.conf(5)", cli->socket);
	else if (error == -ENOENT)
		cli_complain("%s is not watched; write watch { cgroup = \"%s\" } in solvent.conf(5)", group, group);
	else if (error == -ENODATA)
		cli_complain("the memory of %s cannot be read now: %s", text_clean(watch_name(&o->head), sizeof o->head.group).s,
			     o->head.group[0] ? "its control group is not there" : "/proc/meminfo says nothing");
	else if (error == -EACCES)
		cli_complain("only root and the broker's own user may ask who would be killed");
	else if (error == -EAGAIN)
		cli_complain("others ask for the order all the time; try again");
	else
		client_complain(cli->socket, error);
}

int cli_rank(struct cli *cli, int argc, char **argv)
{
	bool json = false, all = false;
	const char *group = NULL;
	struct order o = { .row = NULL };
	int option;
	while ((option = cli_option(&SYNTAX, cli, argc, argv)) != CLI_END) {
		if (option == CLI_STOP)
			return cli->status;
		json |= option == OPTION_JSON;
		all |= option == OPTION_ALL;
		group = option == OPTION_WATCH ? optarg : group;
	}
	if (!cli_no_operands(&SYNTAX, cli, argc, argv))
		return cli->status;
	int fd = client_open(cli->socket);
	if (fd < 0) {
		client_complain(cli->socket, fd);
		return CLI_NO;
	}
	int error = watch_get(fd, group, &o);
	close(fd);
	if (error)
		complain(cli, error, group, &o);
	else if (json)
		print_json(&o);
	else
		print_order(&o, all);
	free(o.row);
	return cli_finish(error ? CLI_NO : CLI_OK);
}
