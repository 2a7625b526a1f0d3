/* SPDX-License-Identifier: MIT */
#include "daemon/killer/deed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "daemon/alert.h"
#include "daemon/broker.h"
#include "daemon/frozen.h"
#include "daemon/killer/census.h"
#include "daemon/killer/reclaim.h"
#include "daemon/killer/release.h"
#include "daemon/process.h"

static int signal_send(struct broker *b, uint32_t i, int signal)
{
	const struct candidate *of = &b->killer.roll.candidate[i];
	return process_signal(of->pid, of->start_ticks, b->killer.census.handle[i].pidfd, signal);
}

/* Who is stopped does not hear that it should end. */
static int end_ask(struct broker *b, const struct deed *d)
{
	int error = signal_send(b, d->candidate, d->signal);
	if (!error && d->signal != SIGKILL)
		signal_send(b, d->candidate, SIGCONT);
	return error;
}

/* It may take a tenth of a second, and nothing waits for it. */
static int help_ask(struct broker *b, const char *word, uint32_t i)
{
	char pid[16];
	const struct handle *h = &b->killer.census.handle[i];
	if (h->pidfd < 0 || !b->killer.helper)
		return -ENOTCONN;
	snprintf(pid, sizeof pid, "%d", b->killer.roll.candidate[i].pid);
	return helper_ask(b->killer.helper, word, pid, h->pidfd);
}

/* Who is in an account is told by its account; of anybody else it is said in the log alone. */
static int notify(struct broker *b, uint32_t i)
{
	const struct candidate *of = &b->killer.roll.candidate[i];
	struct account *a = of->account ? &b->account[of->account - 1] : NULL;
	if (a && a->ledger && !a->damaged)
		alert_send(b, a, ALERT_ACT);
	return 0;
}

static int freeze(struct broker *b, uint32_t i, int (*how)(struct broker *, int32_t, uint64_t, int))
{
	const struct candidate *of = &b->killer.roll.candidate[i];
	return how(b, of->pid, of->start_ticks, b->killer.census.handle[i].pidfd);
}

int deed_do(struct broker *b, const struct deed *d)
{
	switch (d->kind) {
	case DEED_KILL:
		return signal_send(b, d->candidate, SIGKILL);
	case DEED_SIGNAL:
		return end_ask(b, d);
	case DEED_WARN:
		alert_watch(b, d->watch, d->signal == PRESSURE_ACT ? ALERT_ACT : ALERT_WARN);
		return 0;
	case DEED_NOTIFY:
		return notify(b, d->candidate);
	case DEED_RELEASE:
		return help_ask(b, RELEASE_WORD, d->candidate);
	case DEED_RECLAIM:
		return help_ask(b, RECLAIM_WORD, d->candidate);
	case DEED_FREEZE:
		return freeze(b, d->candidate, frozen_stop);
	case DEED_THAW:
		return freeze(b, d->candidate, frozen_go);
	default:
		return 0;
	}
}
