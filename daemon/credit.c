/* SPDX-License-Identifier: MIT */
#include "daemon/credit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/broker.h"
#include "daemon/count.h"
#include "daemon/frozen.h"
#include "daemon/log.h"
#include "daemon/process.h"
#include "daemon/unseen.h"
#include "reserve/purse.h"

static uint32_t credit_of(const struct account *a, uint32_t s)
{
	return __atomic_load_n(&a->ledger->slot[s].credit, __ATOMIC_RELAXED);
}

static bool is_borrower(const struct account *a, uint32_t s)
{
	const struct member *m = &a->member[s];
	/* What an embryo is to be let in with stands in its slot before it lives (shim/fork.c). */
	return m->life == MEMBER_WATCHED && !m->unattached && credit_of(a, s) > 0 &&
	       SLOT_STATE(slot_read(a->ledger, s)) == SLOT_LIVE;
}

/* --- what is shared no more --- */

/* How often a process and its parent faulted: neither breaks a page without. */
static uint64_t faults_of(int32_t pid)
{
	char text[1024];
	struct proc_life child, parent;
	if (proc_text(proc_file(pid, "stat"), text, sizeof text) < 0 || proc_life_parse(text, &child) != 0)
		return 0;
	if (proc_text(proc_file(child.stat.parent, "stat"), text, sizeof text) < 0 || proc_life_parse(text, &parent) != 0)
		return child.faults;
	return child.faults + parent.faults;
}

/* Pages that are its alone; -1: nobody can tell now. */
static int64_t apart_count(const struct member *m, uint64_t faults)
{
	struct count quick;
	uint64_t alone;
	if (count_quick(m->pid, m->statm, &quick) != 0)
		return -1;
	if (quick.resident > CREDIT_LARGE_PAGES)
		return (int64_t)(faults - m->faults);
	return count_alone(m->pid, &alone) == 0 ? (int64_t)alone : -1;
}

/* What the account owes for the child: pages of its own beyond what it has paid, and no more than it
 * was let in without paying. */
static int64_t owed_count(const struct account *a, uint32_t s, uint64_t faults)
{
	int64_t alone = apart_count(&a->member[s], faults), paid = PURSE_USED(purse_read(&a->ledger->slot[s].purse));
	if (alone < 0)
		return -1;
	return (int64_t)min_u64(alone > paid ? (uint64_t)(alone - paid) : 0, credit_of(a, s));
}

/* --- when it cannot be paid --- */

static uint64_t room_of(const struct account *a)
{
	uint64_t used = ledger_used(a->ledger), limit = a->policy.limit;
	return limit == PAGES_MAX ? PAGES_MAX : limit > used ? limit - used : 0;
}

static uint32_t room_to_keep(const struct account *a)
{
	return (uint32_t)min_u64(a->policy.limit / CREDIT_ROOM_PARTS, room_of(a) / 2);
}

/* The rule for the child, where memory is watched and so rules are asked. */
static const struct rule *rule_of(struct broker *b, const struct member *m)
{
	struct killer *k = &b->killer;
	if (b->config.watches == 0)
		return NULL;
	if (census_find(&k->census, &k->roll, m->pid) == ROLL)
		census_walk(b); /* it was born since the last */
	uint32_t i = census_find(&k->census, &k->roll, m->pid);
	if (i < ROLL)
		k->roll.candidate[i].borrower = true;
	return i < ROLL ? rank_rule(&k->roll, i) : NULL;
}

/* What became of it when it was to be sent that signal. */
static void ending_say(const struct account *a, const struct member *m, int signal, int error)
{
	const char *what = signal == SIGSTOP ? "frozen" : signal == SIGKILL ? "killed" : "asked to end";
	if (error == -ESRCH) /* it has ended by itself */
		return;
	if (error)
		log_warning("account \"%s\": process %d, a fork on credit, is not %s: %s", a->name, m->pid, what,
			    strerror(-error));
	else
		log_warning("account \"%s\": process %d, a fork on credit, has %llu MiB of its own, and the account has no room "
			    "for more: it is %s", a->name, m->pid, (unsigned long long)(bytes_of(m->lent) >> 20), what);
}

/* One step a time: frozen, or asked, or killed. */
static void borrower_end(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	const struct rule *r = rule_of(b, m);
	enum rule_action action = r ? r->action : ACTION_KILL;
	if (action == ACTION_NEVER || action == ACTION_NOTIFY || (action == ACTION_FREEZE && m->frozen))
		return;
	bool asked = m->asked_ns != 0, waits = asked && b->now_ns - m->asked_ns < (r ? r->grace_ns : 0);
	if (waits)
		return;
	int signal = action == ACTION_FREEZE ? SIGSTOP : r && action == ACTION_KILL && !asked ? r->signal : SIGKILL;
	int error = signal == SIGSTOP ? frozen_stop(b, m->pid, m->start_ticks, m->pidfd) :
					process_signal(m->pid, m->start_ticks, m->pidfd, signal);
	if (!asked)
		ending_say(a, m, signal, error);
	m->frozen = signal == SIGSTOP && !error;
	m->asked_ns = b->now_ns;
}

/* Whoever is frozen, or asked, gives nothing back in time. */
bool credit_call(struct broker *b, struct account *a, uint32_t asker)
{
	uint32_t slots = ledger_slots(a->ledger);
	/* No credit is given here, whatever a slot says; who was let in while it was is left alone. */
	if (a->policy.fork_percent == 100)
		return false;
	for (uint32_t s = 0; s < slots; s++) {
		struct member *m = &a->member[s];
		if (s == asker || !is_borrower(a, s) || is_borrower(a, asker))
			continue;
		const struct rule *r = rule_of(b, m);
		if (r && (r->action == ACTION_NEVER || r->action == ACTION_NOTIFY))
			continue;
		int error = process_signal(m->pid, m->start_ticks, m->pidfd, SIGKILL);
		if (error == -ESRCH) /* it has ended by itself */
			return true;
		if (!m->called)
			ending_say(a, m, SIGKILL, error);
		m->called = true;
		if (!error)
			return true;
	}
	return false;
}

static void borrower_thaw(struct broker *b, struct account *a, uint32_t s, const char *why)
{
	struct member *m = &a->member[s];
	if (m->life != MEMBER_WATCHED || !m->frozen)
		return;
	log_notice("account \"%s\": process %d, a fork on credit, goes on: %s", a->name, m->pid, why);
	m->frozen = false;
	m->asked_ns = 0;
	frozen_go(b, m->pid, m->start_ticks, m->pidfd);
}

/* --- one borrower --- */

static void borrower_look(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID), faults = faults_of(m->pid);
	if (m->credit_ns == 0) {
		m->faults = faults;
		m->room = room_to_keep(a);
	}
	int64_t owed = m->credit_ns != 0 && faults == m->seen_faults ? m->lent : owed_count(a, s, faults);
	uint64_t took_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
	m->credit_ns = b->now_ns + CREDIT_PARTS * took_ns;
	m->seen_faults = faults;
	if (owed < 0)
		return;
	bool paid = unseen_lend(b, a, s, (uint32_t)owed);
	if (a->damaged)
		return;
	if (!paid || room_of(a) < m->room)
		borrower_end(b, a, s);
	else
		borrower_thaw(b, a, s, "there is room again");
}

void credit_leave(struct broker *b, struct account *a)
{
	/* What a damaged ledger says is nobody's word; and places that were never used take no memory. */
	uint32_t slots = a->members == 0 ? 0 : a->damaged ? LEDGER_SLOTS : ledger_slots(a->ledger);
	for (uint32_t s = 0; s < slots; s++)
		borrower_thaw(b, a, s, "the account gives no credit any more");
}

/* How many borrowers it has. Who was stopped and is none any more would be forgotten. */
static uint32_t account_look(struct broker *b, struct account *a)
{
	uint32_t slots = ledger_slots(a->ledger), n = 0;
	for (uint32_t s = 0; s < slots && !a->damaged; s++) {
		if (!is_borrower(a, s)) {
			borrower_thaw(b, a, s, "it has nothing on credit any more");
			continue;
		}
		n++;
		if (b->now_ns >= a->member[s].credit_ns)
			borrower_look(b, a, s);
	}
	return n;
}

void credit_tick(struct broker *b)
{
	b->borrowers = 0;
	b->credit_ns = b->now_ns;
	for (uint32_t i = 0; i < b->places; i++) {
		struct account *a = &b->account[i];
		if (a->ledger && !a->damaged && a->members > 0 && a->policy.fork_percent < 100)
			b->borrowers += account_look(b, a);
	}
}

void credit_turn(struct broker *b)
{
	if (b->now_ns >= credit_next_ns(b))
		credit_tick(b);
}

uint64_t credit_next_ns(const struct broker *b)
{
	return b->borrowers > 0 ? b->credit_ns + CREDIT_NS : NEVER;
}
