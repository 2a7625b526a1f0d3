/* SPDX-License-Identifier: MIT */
#include "daemon/alert.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/armour.h"
#include "daemon/broker.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "daemon/process.h"

#define COMMAND_SECONDS 60 /* a command that takes longer is ended */

static const char *const level_name[] = {
	[ALERT_BUDGET] = "budget", [ALERT_WARN] = "memory-warn", [ALERT_ACT] = "memory-act",
};

/* --- the word --- */

/* Release: pairs with the acquire of whoever waits (shim/alert.c), who then reads the level. */
static void word_raise(const struct account *a, enum alert_level level)
{
	struct ledger_header *h = &a->ledger->header;
	__atomic_store_n(&h->alert_level, level, __ATOMIC_RELAXED);
	__atomic_fetch_add(&h->alert, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, &h->alert, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

/* --- the heaps --- */

/* Relaxed: sooner or later (shim/asked.c). */
void alert_heaps(struct account *a)
{
	uint32_t slots = ledger_slots(a->ledger);
	for (uint32_t s = 0; s < slots; s++)
		if (a->member[s].life == MEMBER_WATCHED && !a->member[s].unattached)
			__atomic_fetch_add(&a->ledger->slot[s].asked, 1, __ATOMIC_RELAXED);
}

/* --- the signal --- */

/* Only to who handles it: the default action of most would end the process. */
static void signals_send(const struct account *a)
{
	uint32_t slots = ledger_slots(a->ledger);
	for (uint32_t s = 0; s < slots && a->warning.signal != 0; s++) {
		const struct member *m = &a->member[s];
		if (m->life == MEMBER_WATCHED && proc_handles(m->pid, a->warning.signal))
			process_signal(m->pid, m->start_ticks, m->pidfd, a->warning.signal);
	}
}

/* --- the command --- */

static void command_ask(struct broker *b, struct account *a, enum alert_level level)
{
	char text[HELPER_TEXT_BYTES - 64];
	if (!a->warning.command[0] || !b->killer.helper || b->now_ns < a->command_next_ns[level])
		return;
	a->command_next_ns[level] = b->now_ns + ALERT_COMMAND_NS;
	snprintf(text, sizeof text, "%s\n%s\n%llu\n%llu\n%s", a->name, level_name[level],
		 (unsigned long long)bytes_of(ledger_used(a->ledger)), (unsigned long long)bytes_of(a->policy.limit),
		 a->warning.command);
	int error = helper_ask(b->killer.helper, ALERT_WORD, text, -1);
	if (error)
		log_warning("account \"%s\": its warn-command could not be started: %s", a->name, strerror(-error));
}

/* The next line of a text, which is cut there. */
static char *line_take(char **text)
{
	char *line = *text, *end = strchr(line, '\n');
	if (end)
		*end = '\0';
	*text = end ? end + 1 : line + strlen(line);
	return line;
}

void alert_task(const char *text, int fd)
{
	static const char *const names[] = { "SOLVENT_ALERT_ACCOUNT", "SOLVENT_ALERT", "SOLVENT_ALERT_USED_BYTES",
					     "SOLVENT_ALERT_LIMIT_BYTES" };
	char *copy = strdup(text), *rest = copy;
	(void)fd;
	for (size_t i = 0; copy && i < ARRAY_N(names); i++)
		setenv(names[i], line_take(&rest), 1);
	armour_leave();
	alarm(COMMAND_SECONDS);
	if (copy)
		execl("/bin/sh", "sh", "-c", rest, NULL);
}

/* --- when --- */

void alert_send(struct broker *b, struct account *a, enum alert_level level)
{
	alert_heaps(a);
	word_raise(a, level);
	signals_send(a);
	command_ask(b, a, level);
}

void alert_budget(struct broker *b, struct account *a)
{
	uint32_t warn = a->policy.warn, used = PURSE_USED(a->ledger->header.purse.word);
	if (warn == PAGES_MAX)
		return;
	/* The purse's word counts idle slack, too: it is looked through only when that is enough. */
	if (!a->warned && used >= warn && ledger_used(a->ledger) >= warn) {
		a->warned = true;
		log_warning("account \"%s\" has come up to its warn: %llu of %llu MiB", a->name,
			    (unsigned long long)(bytes_of(ledger_used(a->ledger)) >> 20),
			    (unsigned long long)(bytes_of(a->policy.limit) >> 20));
		alert_send(b, a, ALERT_BUDGET);
	} else if (a->warned && ledger_used(a->ledger) < warn - warn / ALERT_PARTS) {
		a->warned = false;
	}
}

void alert_watch(struct broker *b, uint32_t w, enum alert_level level)
{
	const struct roll *roll = &b->killer.roll;
	bool told[BOOKS_ACCOUNTS] = { false };
	for (uint32_t i = 0; i < roll->n; i++) {
		const struct candidate *c = &roll->candidate[i];
		if (c->pid != 0 && c->account != 0 && (c->watches >> w & 1))
			told[c->account - 1] = true;
	}
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (told[i] && b->account[i].ledger && !b->account[i].damaged)
			alert_send(b, &b->account[i], level);
}
