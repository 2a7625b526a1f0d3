/* SPDX-License-Identifier: MIT */
#include "daemon/killer/deed.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>

#include "daemon/alert.h"
#include "daemon/broker.h"
#include "daemon/frozen.h"
#include "daemon/killer/census.h"
#include "daemon/killer/reclaim.h"
#include "daemon/killer/release.h"

/* By the pidfd that was opened when the process was entered; who has none is opened now, and is
 * then who it was if it is not gone afterwards. */
static int signal_send(struct broker *b, uint32_t i, int signal)
{
	const struct handle *h = &b->killer.census.handle[i];
	if (h->pidfd >= 0)
		return pidfd_send_signal(h->pidfd, signal, NULL, 0) == 0 ? 0 : -errno;
	const struct candidate *of = &b->killer.roll.candidate[i];
	struct proc_stat now;
	int fd = pidfd_open(of->pid, 0);
	if (fd < 0)
		return -errno;
	int error = proc_stat(of->pid, &now);
	if (!error)
		error = now.start_ticks != of->start_ticks		     ? -ESRCH :
			pidfd_send_signal(fd, signal, NULL, 0) != 0 ? -errno : 0;
	close(fd);
	return error;
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
	int pidfd = b->killer.census.handle[i].pidfd;
	return pidfd >= 0 ? how(b, of->pid, of->start_ticks, pidfd) : -EBADF;
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
