/* SPDX-License-Identifier: MIT */
/* Two numbers that both move are compared. The quick count (statm) differs from the charge
 * by what is charged and not writable now, and by what is writable and never charged; so
 * the difference itself says nothing, but as long as it stays what it was when the process
 * was last counted in full, nothing came past the doors. When it has grown, something did,
 * or a page that was charged already became writable again: the process is counted.
 *
 * A member charges before the kernel promises and gives back after, so at every instant its
 * charge covers the kernel's count. But we cannot look at both at one instant: a range that
 * is mapped and unmapped all the time may be in the count and in neither of two looks at
 * the charge around it. Hence several looks, and the smallest difference of them. */
#include "daemon/audit.h"

#include <time.h>

#include "daemon/broker.h"
#include "daemon/count.h"
#include "daemon/proc.h"
#include "daemon/unattached.h"
#include "daemon/unseen.h"
#include "reserve/purse.h"

#define LOOKS 8
#define COUNTS 3

/* What covers the kernel's count of a member: its charge, what its heap gave back and kept
 * writable, and what a child was let in without paying for, where the account allows that. */
static int64_t covered(const struct account *a, uint32_t s)
{
	const struct slot *slot = &a->ledger->slot[s];
	if (a->member[s].unattached)
		return 0;
	uint32_t soft = __atomic_load_n(&slot->soft, __ATOMIC_RELAXED);
	uint32_t credit = a->policy.fork_percent < 100 ? __atomic_load_n(&slot->credit, __ATOMIC_RELAXED) : 0;
	return (int64_t)PURSE_USED(purse_read(&slot->purse)) + soft + credit;
}

static int64_t larger(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* --- the quick count --- */

struct look {
	int64_t low, high; /* the kernel's count less what covers it: least and most of all looks */
	uint64_t data, resident;
};

static bool is_large(const struct look *look)
{
	return look->resident > AUDIT_LARGE_PAGES;
}

static bool look_once(const struct account *a, uint32_t s, struct look *ret)
{
	struct count count;
	int64_t before = covered(a, s);
	if (count_quick(a->member[s].pid, a->member[s].statm, &count) != 0)
		return false;
	ret->low = ret->high = (int64_t)count.data - larger(before, covered(a, s));
	ret->data = count.data;
	ret->resident = count.resident;
	return true;
}

static bool look_well(const struct account *a, uint32_t s, struct look *ret)
{
	struct look one;
	for (int i = 1; i < LOOKS; i++) {
		if (!look_once(a, s, &one))
			return false;
		ret->low = one.low < ret->low ? one.low : ret->low;
		ret->high = larger(ret->high, one.high);
	}
	return true;
}

/* --- the whole count --- */

/* How many pages the kernel counts beyond what covers them; -1: it never held still, or
 * cannot be counted. */
static int64_t excess_count(const struct account *a, uint32_t s)
{
	int64_t excess = -1;
	for (int i = 0; i < COUNTS; i++) {
		uint64_t whole;
		int64_t before = covered(a, s);
		if (count_whole(a->member[s].pid, &whole) != 0)
			return -1;
		int64_t after = covered(a, s), more = (int64_t)whole - larger(before, after);
		if (more <= 0)
			return 0;
		if (before == after && (excess < 0 || more < excess))
			excess = more;
		if (a->member[s].unattached)
			break;
	}
	return excess;
}

static bool count_is_due(struct broker *b, const struct member *m)
{
	int64_t more = (int64_t)((b->now_ns - b->counted_ns) / AUDIT_PARTS);
	b->counting_ns = b->counting_ns + more < AUDIT_COUNT_NS ? b->counting_ns + more : AUDIT_COUNT_NS;
	b->counted_ns = b->now_ns;
	return b->now_ns >= m->count_ns && b->counting_ns > 0;
}

/* True: it was counted, and `ret_excess` is what it should be charged for beside. */
static bool member_count(struct broker *b, struct account *a, uint32_t s, int64_t *ret_excess)
{
	struct member *m = &a->member[s];
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	*ret_excess = excess_count(a, s);
	uint64_t took_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns;
	b->counting_ns -= (int64_t)took_ns;
	b->audit_next = (uint32_t)(a - b->account) * LEDGER_SLOTS + s + 1; /* others come first next time */
	m->count_ns = b->now_ns + max_u64(AUDIT_REST_NS, AUDIT_PARTS * took_ns);
	__atomic_fetch_add(&a->ledger->header.counts, 1, __ATOMIC_RELAXED);
	return *ret_excess >= 0;
}

/* --- one member --- */

/* What it should be charged for, by the last count. */
static uint64_t owed(const struct member *m)
{
	return (uint64_t)m->unseen + m->drift;
}

/* The last count found more than is believed. */
static bool is_doubted(const struct member *m)
{
	return m->found > owed(m);
}

/* What the loader maps by itself is charged when it is back (shim/module.c), or is gone again because
 * it is too much. So more is believed as far as the count before this one found it, too. */
static void found_charge(struct broker *b, struct account *a, uint32_t s, uint64_t pages)
{
	struct member *m = &a->member[s];
	uint32_t found = (uint32_t)min_u64(pages, PAGES_MAX), before = m->found;
	m->found = found;
	unseen_set(b, a, s, (uint32_t)min_u64(found, max_u64(before, owed(m))));
}

/* Not counted: what the difference has grown by is what came past the doors. */
static void large_suspect(struct broker *b, struct account *a, uint32_t s, const struct look *look)
{
	struct member *m = &a->member[s];
	int64_t more = m->counted ? larger(0, look->low - m->apart) : 0;
	uint64_t before = owed(m);
	found_charge(b, a, s, before + (uint64_t)more);
	if (is_doubted(m))
		m->apart += (int64_t)(owed(m) - before); /* the rest is more the next time, too */
	else
		m->apart = more > 0 ? look->low : look->high;
	m->counted = true;
}

/* Something came past the doors, or looks like it. */
static void member_suspect(struct broker *b, struct account *a, uint32_t s, const struct look *look)
{
	struct member *m = &a->member[s];
	struct look now;
	int64_t excess;
	if (is_large(look)) {
		large_suspect(b, a, s, look);
		return;
	}
	if (!count_is_due(b, m) || !look_once(a, s, &now) || !member_count(b, a, s, &excess))
		return;
	m->apart = now.low;
	m->counted = true;
	found_charge(b, a, s, (uint64_t)excess);
}

/* It was not counted yet, and its turn has not come. As long as it holds still there is nothing
 * to learn from it: of many that have just started, few live to be counted. */
static bool can_wait(struct broker *b, struct member *m, const struct look *look)
{
	if (m->counted || m->has_left || is_large(look) || count_is_due(b, m))
		return false;
	bool moved = m->looked_at && (int64_t)look->data != m->apart;
	m->apart = (int64_t)look->data;
	m->looked_at = true;
	return !moved;
}

/* It was counted, and nothing has come past the doors since. */
static bool holds_still(const struct member *m, const struct look *look)
{
	return m->counted && look->low == m->apart && m->drift == 0 && !is_doubted(m) && !m->has_left;
}

static void attached_audit(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	struct look look;
	if (!look_once(a, s, &look))
		return;
	if (can_wait(b, m, &look) || holds_still(m, &look)) {
		m->quiet += m->quiet < AUDIT_QUIETER;
		return;
	}
	m->quiet = 0;
	/* The first time, one of these is counted whatever the looks say. */
	bool is_first = !m->counted && !is_large(&look);
	if (unattached_turn(b, a, s) || (!is_first && !look_well(a, s, &look)))
		return;
	if (m->counted && look.high < m->apart && m->unseen == 0 && !is_doubted(m))
		m->apart = look.high; /* less is writable: nothing to find */
	else if (!m->counted || look.low > m->apart || look.high < m->apart || m->drift != 0 || is_doubted(m))
		member_suspect(b, a, s, &look);
}

/* All that the kernel counts: at once by the quick count, and what that leaves out (segments
 * that were writable while they were relocated; here `apart`) when it is counted in full. */
static void unattached_audit(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	struct look look;
	int64_t whole;
	if (!look_once(a, s, &look))
		return;
	int64_t hidden = m->counted ? m->apart : 0;
	bool changed = (int64_t)m->unseen + m->drift != look.low + hidden;
	if (changed || m->drift != 0)
		unseen_set(b, a, s, (uint32_t)min_u64((uint64_t)(look.low + hidden), PAGES_MAX));
	bool wanted = !m->counted || (changed && !is_large(&look));
	if (!wanted || !count_is_due(b, m) || !member_count(b, a, s, &whole))
		return;
	m->apart = larger(0, whole - look.low);
	m->counted = true;
	unseen_set(b, a, s, (uint32_t)min_u64((uint64_t)(look.low + m->apart), PAGES_MAX));
}

/* It will be looked at again: its file is kept open, as long as there are descriptors enough for
 * those who join. */
static void statm_keep(struct broker *b, struct member *m)
{
	if (m->statm >= 0 || b->registry.pidfds >= b->registry.pidfds_most / 2)
		return;
	m->statm = count_open(m->pid);
	b->registry.pidfds += m->statm >= 0;
}

void audit_slot(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	if (m->life != MEMBER_WATCHED)
		return;
	statm_keep(b, m);
	if (m->unattached)
		unattached_audit(b, a, s);
	else if (SLOT_STATE(slot_read(a->ledger, s)) == SLOT_LIVE)
		attached_audit(b, a, s);
}

/* --- all of them, in turn --- */

#define PLACES (BOOKS_ACCOUNTS * LEDGER_SLOTS)

/* The next slot of the round, in an account that can be audited. False: the round is over.
 * It goes through all places once, from the one behind the last that was counted. */
static bool round_next(struct broker *b, struct account **ret_account, uint32_t *ret_slot)
{
	while (b->audit_done < PLACES) {
		uint32_t place = (b->audit_first + b->audit_done) % PLACES, s = place % LEDGER_SLOTS;
		struct account *a = &b->account[place / LEDGER_SLOTS];
		if (a->ledger && !a->damaged && a->members > 0 && s < ledger_slots(a->ledger)) {
			b->audit_done++;
			*ret_account = a;
			*ret_slot = s;
			return true;
		}
		b->audit_done += LEDGER_SLOTS - s;
	}
	return false;
}

void audit_tick(struct broker *b)
{
	if (b->now_ns >= b->audit_ns)
		b->audit_left = AUDIT_IN_TICK;
}

static uint32_t rest_of(const struct member *m)
{
	return m->quiet >= AUDIT_QUIETER ? AUDIT_CALMER : m->quiet >= AUDIT_QUIET ? AUDIT_CALM : 1;
}

void audit_turn(struct broker *b)
{
	struct account *a;
	uint32_t s;
	for (uint32_t n = 0; n < AUDIT_AT_ONCE && b->audit_left > 0; b->audit_left--) {
		if (!round_next(b, &a, &s)) {
			b->audit_first = b->audit_next % PLACES;
			b->audit_done = 0;
			b->audit_ns = b->now_ns + AUDIT_NS;
			b->audit_left = 0;
			b->audit_round++;
			return;
		}
		if ((b->audit_round + s) % rest_of(&a->member[s]) != 0)
			continue;
		audit_slot(b, a, s);
		n++;
	}
}

bool audit_goes_on(const struct broker *b)
{
	return b->audit_left > 0;
}
