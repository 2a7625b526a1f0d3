/* SPDX-License-Identifier: MIT */
/* Why not repair it at once: whoever wrote over it still can. Members that did nothing
 * wrong live on; their charges go on in a ledger that nobody reads, and the pool keeps
 * counting what the account had been granted.
 *
 * Who maps it is in /proc/PID/maps alone, and reading that of every process is dear. So
 * it is not done while a member is known to live, the process found last is asked first,
 * and the walk is made in steps. */
#include "daemon/damage.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/credit.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "reserve/purse.h"

/* One walk at a time is enough; a second damaged account waits for the first. */
static struct {
	struct proc_walk at;
	struct account *of;
} walk;

void damage_found(struct broker *b, struct account *a, const char *how)
{
	if (a->damaged)
		return;
	a->damaged = true;
	a->doubts = a->orphans = 0;
	memset(a->orphan, 0, sizeof a->orphan);
	a->damage_pid = 0;
	b->look_ns = b->now_ns;
	credit_leave(b, a);
	log_error("account \"%s\": its ledger was written over (%s); nobody may join until its members are gone",
		  a->name, how);
}

bool damage_absent(struct broker *b, struct account *a)
{
	if (!a->damaged && purse_gave_up(a->ledger))
		damage_found(b, a, "a word of it never holds still");
	if (!a->damaged && !account_is_sound(a))
		damage_found(b, a, "a word that only the broker writes has changed");
	return !a->damaged;
}

static void damage_heal(struct account *a)
{
	account_reformat(a);
	log_notice("account \"%s\": the last process that had its ledger is gone; it begins anew", a->name);
}

static bool walk_begin(struct account *a)
{
	if (walk.of && walk.of != a)
		return false;
	if (!walk.of && proc_walk_open(&walk.at) != 0)
		return false;
	walk.of = a;
	return true;
}

static void walk_end(void)
{
	proc_walk_close(&walk.at);
	walk.of = NULL;
}

void damage_forget(const struct account *a)
{
	if (walk.of == a)
		walk_end();
}

/* Does that process keep the ledger from being made anew? What we may not ask is of a user
 * who could not have joined; of whom nobody can tell, it may. */
static bool keeps(const struct account *a, int32_t pid)
{
	int maps = pid > 0 && pid != getpid() ? proc_maps(pid, a->device, a->inode) : 0;
	return maps > 0 || maps == -ETIME;
}

/* One step of the walk. True when it is over and nobody keeps the ledger. */
static bool walk_step(struct account *a)
{
	uint64_t until_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) + DAMAGE_STEP_NS;
	for (int32_t pid; (pid = proc_walk_next(&walk.at)) > 0;) {
		if (keeps(a, pid)) {
			a->damage_pid = pid;
			walk_end();
			return false;
		}
		if (clock_ns(CLOCK_THREAD_CPUTIME_ID) >= until_ns)
			return false;
	}
	walk_end();
	return true;
}

void damage_look(struct broker *b, struct account *a)
{
	if (a->members > 0 || b->now_ns < a->damage_next_ns)
		return;
	uint64_t since_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID); /* others' work is not ours to rest for */
	bool healed = !keeps(a, a->damage_pid) && walk_begin(a) && walk_step(a);
	/* A process may have very many mappings, to make this dear. */
	a->damage_next_ns = b->now_ns + DAMAGE_REST * (clock_ns(CLOCK_THREAD_CPUTIME_ID) - since_ns);
	if (healed)
		damage_heal(a);
}
