/* SPDX-License-Identifier: MIT */
/* solvent status: the pool and its accounts at this moment. `used` is what the members
 * and the shared objects are charged for, to the page; what lies idle in their purses is
 * in `granted` only. */
#include <stdio.h>

#include "cli/account.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/reason.h"
#include "cli/text.h"
#include "reserve/ledger.h"

static const char HELP[] =
	"Usage: solvent status [--json]\n"
	"Show the pool and every account: mode, limit, what is used, peak, guarantee, members\n"
	"and refusals.\n"
	"\n"
	"  --json          one document; quantities in bytes, members and shared objects included\n"
	"  --socket NAME   the broker to ask\n";

enum { OPTION_JSON = CLI_OWN };
static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "json", no_argument, NULL, OPTION_JSON },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent status", HELP, OPTIONS, CLI_USAGE };

/* --- for people --- */

static void print_pool(const struct reply_pool *pool, const char *socket)
{
	printf("solventd %s (pid %d) at %s since %s\n", text_clean(pool->version, sizeof pool->version).s,
	       pool->broker_pid, socket, text_time(pool->start_ns).s);
	printf("pool %s, %s of it granted to %u account%s with %u member%s\n\n", text_limit(pool->limit).s,
	       text_pages(pool->granted).s, pool->accounts, pool->accounts == 1 ? "" : "s", pool->members,
	       pool->members == 1 ? "" : "s");
	if (pool->turned_away)
		printf("%u process%s asked to join and could not\n\n", pool->turned_away,
		       pool->turned_away == 1 ? "" : "es");
}

static void print_row(const char *name, const char *mode, struct text limit, struct text used, struct text peak,
		      struct text guarantee, struct text members, struct text refusals)
{
	printf("%-20s %-8s %10s %10s %10s %10s %8s %9s\n", name, mode, limit.s, used.s, peak.s, guarantee.s,
	       members.s, refusals.s);
}

static struct text count(uint64_t n)
{
	struct text t;
	snprintf(t.s, sizeof t.s, "%llu", (unsigned long long)n);
	return t;
}

static void print_account(const struct account *a)
{
	struct account_figures f;
	const char *trouble = account_trouble(a);
	if (trouble)
		printf("%-20s %s\n", a->name, trouble);
	if (!a->ledger)
		return;
	account_read(a->ledger, &f);
	print_row(a->name, mode_name(f.mode), text_limit(f.limit), text_pages(f.used), text_pages(f.peak),
		  text_pages(f.guarantee), count(a->reply.members),
		  count(f.mode == ACCOUNT_OBSERVE ? f.observed : f.refusals));
}

/* Those without a shim, and what the account could not pay for. */
static void print_remarks(const struct account *a)
{
	struct account_figures f;
	struct member m;
	if (!a->ledger)
		return;
	account_read(a->ledger, &f);
	if (f.drift)
		printf("%s: %s are in use and not charged: the account cannot pay for what its audit found\n", a->name,
		       text_pages(f.drift).s);
	for (uint32_t s = 0; s < ledger_slots(a->ledger); s++)
		if (member_read(a->ledger, s, &m) && m.unattached)
			printf("%s: %s[%d] is not attached (%s); charged %s, as the kernel counts\n", a->name,
			       text_clean(m.comm, sizeof m.comm).s, m.pid, reason_unattached(m.pid), text_pages(m.used).s);
}

static void print_status(const struct accounts *all, const char *socket)
{
	print_pool(&all->pool, socket);
	if (all->n == 0) {
		puts("no account that you may see");
		return;
	}
	print_row("ACCOUNT", "MODE", (struct text){ "LIMIT" }, (struct text){ "USED" }, (struct text){ "PEAK" },
		  (struct text){ "GUARANTEE" }, (struct text){ "MEMBERS" }, (struct text){ "REFUSALS" });
	for (size_t i = 0; i < all->n; i++)
		print_account(&all->at[i]);
	for (size_t i = 0; i < all->n; i++)
		print_remarks(&all->at[i]);
}

/* --- for programs --- */

static json_t *member_json(const struct member *m)
{
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(m->pid));
	json_object_set_new(o, "comm", json_clean(m->comm, sizeof m->comm));
	json_object_set_new(o, "uid", json_count(m->uid));
	json_object_set_new(o, "state", json_string(m->embryo ? "embryo" : m->unattached ? "unattached" : "live"));
	if (m->unattached)
		json_object_set_new(o, "reason", json_string(reason_unattached(m->pid)));
	json_object_set_new(o, "used_bytes", json_pages(m->used));
	json_object_set_new(o, "granted_bytes", json_pages(m->granted));
	json_object_set_new(o, "unseen_bytes", json_pages(m->unseen));
	json_object_set_new(o, "drift_bytes", json_pages(m->drift));
	json_object_set_new(o, "peak_bytes", json_pages(m->peak));
	json_object_set_new(o, "refusals", json_count(m->refusals));
	json_object_set_new(o, "joined", json_time(m->joined_ns));
	json_object_set_new(o, "categories", json_categories(m->category));
	return o;
}

static json_t *members_json(const struct ledger *l)
{
	json_t *array = json_array();
	struct member m;
	for (uint32_t s = 0; s < ledger_slots(l); s++)
		if (member_read(l, s, &m))
			json_array_append_new(array, member_json(&m));
	return array;
}

static json_t *objects_json(const struct ledger *l)
{
	json_t *array = json_array();
	struct object_view v;
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		if (object_read(l, o, &v))
			json_array_append_new(array, json_pack("{s:s, s:o, s:o}", "kind", object_kind_name(v.kind),
							       "bytes", json_pages(v.pages), "holders",
							       json_count(v.holders)));
	return array;
}

static void figures_json(json_t *o, const struct account_figures *f)
{
	json_object_set_new(o, "mode", json_string(mode_name(f->mode)));
	json_object_set_new(o, "fork_percent", json_count(f->fork_percent));
	json_object_set_new(o, "limit_bytes", json_limit(f->limit));
	json_object_set_new(o, "used_bytes", json_pages(f->used));
	json_object_set_new(o, "granted_bytes", json_pages(f->granted));
	json_object_set_new(o, "guarantee_bytes", json_pages(f->guarantee));
	json_object_set_new(o, "warn_bytes", json_limit(f->warn));
	json_object_set_new(o, "peak_bytes", json_pages(f->peak));
	json_object_set_new(o, "refusals", json_count(f->refusals));
	json_object_set_new(o, "observed", json_count(f->observed));
	json_object_set_new(o, "unseen_bytes", json_pages(f->unseen));
	json_object_set_new(o, "drift_bytes", json_pages(f->drift));
	json_object_set_new(o, "joins", json_count(f->joins));
	json_object_set_new(o, "forks", json_count(f->forks));
}

static json_t *account_json(const struct account *a)
{
	struct account_figures f;
	json_t *o = json_object();
	json_object_set_new(o, "name", json_name(a->reply.account, sizeof a->reply.account));
	json_object_set_new(o, "damaged", json_boolean(a->reply.damaged || !a->ledger));
	json_object_set_new(o, "turned_away", json_count(a->reply.turned_away));
	if (!a->ledger)
		return o;
	account_read(a->ledger, &f);
	figures_json(o, &f);
	json_object_set_new(o, "members", members_json(a->ledger));
	json_object_set_new(o, "objects", objects_json(a->ledger));
	return o;
}

static json_t *pool_json(const struct reply_pool *pool)
{
	json_t *o = json_object();
	json_object_set_new(o, "limit_bytes", json_limit(pool->limit));
	json_object_set_new(o, "granted_bytes", json_pages(pool->granted));
	json_object_set_new(o, "accounts", json_count(pool->accounts));
	json_object_set_new(o, "members", json_count(pool->members));
	json_object_set_new(o, "turned_away", json_count(pool->turned_away));
	json_object_set_new(o, "broker_pid", json_integer(pool->broker_pid));
	json_object_set_new(o, "started", json_time(pool->start_ns));
	json_object_set_new(o, "version", json_clean(pool->version, sizeof pool->version));
	return o;
}

static void print_json(const struct accounts *all)
{
	json_t *accounts = json_array();
	for (size_t i = 0; i < all->n; i++)
		json_array_append_new(accounts, account_json(&all->at[i]));
	json_print(json_pack("{s:i, s:o, s:o}", "v", 1, "pool", pool_json(&all->pool), "accounts", accounts),
		   JSON_INDENT(2));
}

int cli_status(struct cli *cli, int argc, char **argv)
{
	bool json = false;
	int option;
	while ((option = cli_option(&SYNTAX, cli, argc, argv)) > 0)
		json |= option == OPTION_JSON;
	if (option == CLI_STOP || !cli_no_operands(&SYNTAX, cli, argc, argv))
		return cli->status;
	struct accounts all;
	if (accounts_open_or_complain(cli->socket, NULL, &all) != 0)
		return CLI_NO;
	if (json)
		print_json(&all);
	else
		print_status(&all, cli->socket);
	accounts_close(&all);
	return cli_finish(CLI_OK);
}
