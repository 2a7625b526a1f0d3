/* SPDX-License-Identifier: MIT */
/* The comparison behind `solvent audit`. Two moving numbers are compared, so what could
 * go wrong is a false alarm. A member takes its charge before the kernel promises and
 * gives it back after, so at every instant charge >= count; but a count takes its time,
 * and a page may be seen in the mapping it is leaving and again in the one it goes to.
 * Hence: the larger of the charges before and after, several tries, and no verdict on a
 * charge that never held still. A real shortfall does not go away by looking again. */
#include <errno.h>
#include <time.h>

#include "cli/audit.h"
#include "cli/smaps.h"

const char *verdict_name(enum verdict verdict)
{
	static const char *const WORDS[VERDICT_N] = {
		[VERDICT_OK] = "ok",           [VERDICT_UNDER] = "under",     [VERDICT_UNSETTLED] = "unsettled",
		[VERDICT_EMBRYO] = "embryo",   [VERDICT_GONE] = "gone",       [VERDICT_FOREIGN] = "foreign",
		[VERDICT_UNREADABLE] = "unreadable",
	};
	return WORDS[verdict];
}

uint64_t audit_covered(const struct member *m)
{
	return (uint64_t)m->used + m->soft + m->credit;
}

static enum verdict error_verdict(int error)
{
	return error == -ENOENT || error == -ESRCH ? VERDICT_GONE : VERDICT_UNREADABLE;
}

/* One count between two looks at the charge; false when there is nothing to go on with
 * and the verdict says why. `ret_still`: the charge was the same before and after. */
static bool count_once(const struct audit_source *source, struct finding *f, bool *ret_still)
{
	uint64_t kernel, statm;
	uint32_t before = f->member.used;
	int error = source->kernel(source->context, f->member.pid, &kernel);
	if (!error)
		error = source->statm(source->context, f->member.pid, &statm);
	struct member after;
	if (!source->member(source->context, &after)) {
		f->verdict = VERDICT_GONE;
		return false;
	}
	if (error) {
		f->verdict = error_verdict(error);
		return false;
	}
	*ret_still = after.used == before;
	f->member = after;
	f->member.used = before > after.used ? before : after.used;
	f->kernel = kernel;
	f->statm = statm;
	return true;
}

struct finding audit_compare(const struct audit_source *source, const struct member *member)
{
	struct finding f = { .verdict = VERDICT_EMBRYO, .member = *member };
	bool held_still = false;
	if (member->embryo)
		return f;
	/* A foreign one's number is ours where the broker has looked it up (include/ledger.h). */
	if (member->pid <= 0 || (member->flags & SLOT_FOREIGN_PID && member->start_ticks == 0)) {
		f.verdict = VERDICT_FOREIGN;
		return f;
	}
	for (int i = 0; i < AUDIT_TRIES; i++) {
		bool still;
		if (!count_once(source, &f, &still))
			return f;
		if (audit_covered(&f.member) >= f.kernel) {
			f.verdict = VERDICT_OK;
			return f;
		}
		held_still |= still;
		if (i >= AUDIT_TRIES_AT_ONCE)
			source->wait(source->context);
		if (!source->member(source->context, &f.member)) {
			f.verdict = VERDICT_GONE;
			return f;
		}
	}
	f.verdict = held_still ? VERDICT_UNDER : VERDICT_UNSETTLED;
	return f;
}

/* --- against a ledger and /proc --- */

struct place {
	const struct ledger *ledger;
	const struct member *member;
};

static bool place_member(void *context, struct member *ret)
{
	const struct place *p = context;
	struct member m;
	uint64_t ticks;
	if (!member_read(p->ledger, p->member->slot, &m) || m.generation != p->member->generation ||
	    m.pid != p->member->pid)
		return false;
	/* A pid that has passed to another process is nobody of ours. */
	if (m.start_ticks && start_ticks_of(m.pid, &ticks) == 0 && ticks != m.start_ticks)
		return false;
	*ret = m;
	return true;
}

/* Some of the broker's rounds (daemon/audit.h). */
static void place_wait(void *context)
{
	struct timespec pause = { .tv_nsec = 150 * 1000000 };
	(void)context;
	nanosleep(&pause, NULL);
}

static int place_kernel(void *context, int32_t pid, uint64_t *ret_pages)
{
	(void)context;
	return smaps_of(pid, ret_pages);
}

static int place_statm(void *context, int32_t pid, uint64_t *ret_pages)
{
	(void)context;
	return statm_of(pid, ret_pages);
}

struct finding audit_member(const struct ledger *l, const struct member *m)
{
	struct member it = *m;
	struct place place = { l, &it };
	uint64_t ticks;
	/* The broker's number of it, which is not ours if we are in another namespace than the broker. */
	if (it.flags & SLOT_FOREIGN_PID && (start_ticks_of(it.pid, &ticks) != 0 || ticks != it.start_ticks))
		it.start_ticks = 0;
	return audit_compare(&(struct audit_source){ place_member, place_wait, place_kernel, place_statm, &place }, &it);
}
