/* SPDX-License-Identifier: MIT */
/* solvent audit: never under. Every member's charge is set beside what the kernel counts
 * for it (proc_pid_smaps(5), VmFlags `ac`); what is charged as a shared object is left out
 * on both sides, for shared mappings never carry that flag. */
#include "cli/audit.h"

#include <stdio.h>

#include "cli/cli.h"
#include "cli/json.h"
#include "cli/text.h"
#include "reserve/ledger.h"

static const char HELP[] =
	"Usage: solvent audit [--account NAME] [--json]\n"
	"Set every member's charge beside the kernel's own count of its private writable memory.\n"
	"Exit status 1 if any charge is below it.\n"
	"\n"
	"  --account NAME  of this account only\n"
	"  --json          one document; quantities in bytes\n"
	"  --socket NAME   the broker to ask\n";

enum { OPTION_JSON = CLI_OWN, OPTION_ACCOUNT };
static const struct option OPTIONS[] = {
	CLI_COMMON_OPTIONS,
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "account", required_argument, NULL, OPTION_ACCOUNT },
	{ 0 },
};
static const struct syntax SYNTAX = { "solvent audit", HELP, OPTIONS, CLI_USAGE };

static bool is_counted(const struct finding *f)
{
	return f->verdict == VERDICT_OK || f->verdict == VERDICT_UNDER || f->verdict == VERDICT_UNSETTLED;
}

/* --- for people --- */

static const char *verdict_remark(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_UNDER:
		return "UNDER: the kernel counts more than is charged";
	case VERDICT_UNSETTLED:
		return "too busy to compare: its charge never held still";
	case VERDICT_EMBRYO:
		return "a fork under way";
	case VERDICT_GONE:
		return "it ended meanwhile";
	case VERDICT_FOREIGN:
		return "of another pid namespace; run solvent audit there";
	case VERDICT_UNREADABLE:
		return "its /proc/PID/smaps may not be read; run solvent audit as its user or as root";
	default:
		return "";
	}
}

/* "+1.2 MiB". */
static struct text signed_pages(int64_t pages)
{
	struct text t;
	snprintf(t.s, sizeof t.s, "%c%.200s", pages < 0 ? '-' : '+',
		 text_pages((uint64_t)(pages < 0 ? -pages : pages)).s);
	return t;
}

/* What is not in the charge, in brackets. */
static void print_beside(const char *name, uint64_t pages)
{
	if (pages)
		printf(" (%s %s)", name, text_pages(pages).s);
}

/* How much more is covered than the kernel counts. */
static int64_t over(const struct finding *f)
{
	return (int64_t)audit_covered(&f->member) - (int64_t)f->kernel;
}

static void print_finding(const struct account *a, const struct finding *f)
{
	const struct member *m = &f->member;
	uint64_t share = objects_share(a->ledger, m->slot);
	printf("%-16s %7d %-15s %10s ", a->name, m->pid, text_clean(m->comm, sizeof m->comm).s,
	       text_pages(m->used).s);
	if (is_counted(f))
		printf("%10s %10s %11s", text_pages(f->kernel).s, text_pages(f->statm).s,
		       signed_pages(over(f)).s);
	else
		printf("%10s %10s %11s", "-", "-", "-");
	printf("%s%s\n", *verdict_remark(f->verdict) ? "  " : "", verdict_remark(f->verdict));
	printf("%-16s %7s", "", "");
	for (enum category c = 0; c < CATEGORY_N; c++)
		if (m->category[c])
			printf(" %s %s", category_name(c), text_pages(m->category[c]).s);
	print_beside("soft", m->soft);
	print_beside("credit", m->credit);
	print_beside("drift", m->drift);
	print_beside("shared", share);
	putchar('\n');
}

static void print_heading(void)
{
	printf("%-16s %7s %-15s %10s %10s %10s %11s\n", "ACCOUNT", "PID", "COMMAND", "CHARGE", "KERNEL", "STATM",
	       "OVER");
}

/* --- for programs --- */

static json_t *finding_json(const struct ledger *l, const struct finding *f)
{
	const struct member *m = &f->member;
	json_t *o = json_object();
	json_object_set_new(o, "pid", json_integer(m->pid));
	json_object_set_new(o, "comm", json_clean(m->comm, sizeof m->comm));
	json_object_set_new(o, "verdict", json_string(verdict_name(f->verdict)));
	json_object_set_new(o, "charge_bytes", json_pages(m->used));
	json_object_set_new(o, "kernel_bytes", is_counted(f) ? json_pages(f->kernel) : json_null());
	json_object_set_new(o, "statm_bytes", is_counted(f) ? json_pages(f->statm) : json_null());
	json_object_set_new(o, "difference_bytes",
			    is_counted(f) ? json_integer(over(f) * (int64_t)PAGE_BYTES) : json_null());
	json_object_set_new(o, "soft_bytes", json_pages(m->soft));
	json_object_set_new(o, "credit_bytes", json_pages(m->credit));
	json_object_set_new(o, "drift_bytes", json_pages(m->drift));
	json_object_set_new(o, "shared_bytes", json_pages(objects_share(l, m->slot)));
	json_object_set_new(o, "categories", json_categories(m->category));
	return o;
}

/* --- both --- */

/* Returns how many are under. `members` is NULL for people. */
static unsigned audit_account(const struct account *a, json_t *members)
{
	struct member m;
	unsigned under = 0;
	for (uint32_t s = 0; a->ledger && s < ledger_slots(a->ledger); s++) {
		if (!member_read(a->ledger, s, &m))
			continue;
		struct finding f = audit_member(a->ledger, &m);
		under += f.verdict == VERDICT_UNDER;
		if (members)
			json_array_append_new(members, finding_json(a->ledger, &f));
		else
			print_finding(a, &f);
	}
	return under;
}

static unsigned audit_for_people(const struct accounts *all)
{
	unsigned under = 0;
	print_heading();
	for (size_t i = 0; i < all->n; i++) {
		under += audit_account(&all->at[i], NULL);
		if (account_trouble(&all->at[i]))
			printf("%-16s %s\n", all->at[i].name, account_trouble(&all->at[i]));
	}
	return under;
}

static unsigned audit_for_programs(const struct accounts *all)
{
	unsigned under = 0;
	json_t *accounts = json_array();
	for (size_t i = 0; i < all->n; i++) {
		json_t *members = json_array();
		under += audit_account(&all->at[i], members);
		json_array_append_new(accounts,
				      json_pack("{s:o, s:b, s:o}", "name",
						json_name(all->at[i].reply.account, ACCOUNT_NAME_BYTES), "damaged",
						all->at[i].reply.damaged || !all->at[i].ledger, "members", members));
	}
	json_print(json_pack("{s:i, s:i, s:o}", "v", 1, "under", (int)under, "accounts", accounts), JSON_INDENT(2));
	return under;
}

int cli_audit(struct cli *cli, int argc, char **argv)
{
	const char *account = NULL;
	bool json = false;
	int option;
	while ((option = cli_option(&SYNTAX, cli, argc, argv)) > 0) {
		json |= option == OPTION_JSON;
		if (option == OPTION_ACCOUNT)
			account = optarg;
	}
	if (option == CLI_STOP || !cli_no_operands(&SYNTAX, cli, argc, argv))
		return cli->status;
	struct accounts all;
	if (accounts_open_or_complain(cli->socket, account, &all) != 0)
		return CLI_NO;
	unsigned under = json ? audit_for_programs(&all) : audit_for_people(&all);
	accounts_close(&all);
	return cli_finish(under ? CLI_NO : CLI_OK);
}
