/* SPDX-License-Identifier: MIT */
/* The last word of a run. It reads the account's ledger once more after the command has
 * ended; the mapping outlives the broker, so a private one may be gone by then. */
#include "cli/summary.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cli/cli.h"
#include "cli/record.h"
#include "cli/text.h"
#include "reserve/refusal.h"

void summary_begin(struct summary *s, const char *command, const struct account *account, bool is_shared,
		   bool is_accounted)
{
	const char *slash = strrchr(command, '/');
	*s = (struct summary){ .command = slash ? slash + 1 : command, .is_shared = is_shared,
			       .is_accounted = is_accounted };
	if (account && account->ledger) {
		s->account = account;
		account_read(account->ledger, &s->before);
	}
	clock_gettime(CLOCK_MONOTONIC, &s->start);
}

struct text summary_end(int status)
{
	struct text t;
	if (WIFSIGNALED(status))
		snprintf(t.s, sizeof t.s, "killed by signal %d (%.100s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(t.s, sizeof t.s, "exited %d", WEXITSTATUS(status));
	return t;
}

struct text summary_peak(uint32_t peak, uint32_t limit)
{
	struct text t, of = text_limit(limit), was = text_pages(peak);
	char *unit = strchr(was.s, ' '), *unit_of = strchr(of.s, ' ');
	if (limit == PAGES_MAX)
		return was;
	if (unit && unit_of && strcmp(unit, unit_of) == 0)
		*unit = '\0';
	snprintf(t.s, sizeof t.s, "%.100s of %.100s", was.s, of.s);
	return t;
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

/* Counters of a ledger may go anywhere; here never below zero. */
static unsigned long long grown(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

/* The first of the refusals since the start that are still kept; returns how many it printed.
 * Not every one has a record: a member that is refused without end keeps some of them. */
static unsigned long long print_records(const struct summary *s, const struct account_figures *now)
{
	const struct ledger *l = s->account->ledger;
	uint64_t from = s->before.refusal_head, to = now->refusal_head;
	unsigned long long printed = 0;
	if (to > from && to - from > LEDGER_REFUSALS)
		from = to - LEDGER_REFUSALS;
	for (; from < to && printed < SUMMARY_LINES; from++) {
		struct refusal r;
		if (refusal_read(l, from, &r)) {
			cli_complain("%s", record_sentence(&r).s);
			printed++;
		}
	}
	return printed;
}

static void print_refusals(const struct summary *s, const struct account_figures *now)
{
	unsigned long long printed = print_records(s, now);
	unsigned long long total = grown(now->refusals, s->before.refusals) + grown(now->observed, s->before.observed);
	if (total > printed)
		cli_complain("and %llu more%s", total - printed, s->is_shared ? ": solvent log" : "");
}

void summary_print(const struct summary *s, int status)
{
	struct text end = summary_end(status), time = text_seconds(seconds_since(&s->start));
	if (!s->account) {
		cli_complain("%s %s in %s   %s", s->command, end.s, time.s,
			     s->is_accounted ? "its account cannot be read" : "not accounted");
		return;
	}
	struct account_figures now;
	account_read(s->account->ledger, &now);
	print_refusals(s, &now);
	/* In a run within a run of the same account we are a member already, and the command
	 * came in by a fork. */
	if (now.joins == s->before.joins && now.forks == s->before.forks)
		cli_complain("WARNING: %s never joined account %s: nothing it did was accounted or limited",
			     s->command, s->account->name);
	bool observe = now.mode == ACCOUNT_OBSERVE;
	unsigned long long n = observe ? grown(now.observed, s->before.observed) :
					 grown(now.refusals, s->before.refusals);
	cli_complain("%s %s in %s   %s%s%speak %s   %s %llu request%s", s->command, end.s, time.s,
		     s->is_shared ? "account " : "", s->is_shared ? s->account->name : "", s->is_shared ? ": " : "",
		     summary_peak(now.peak, now.limit).s, observe ? "would have refused" : "refused", n,
		     n == 1 ? "" : "s");
}
