/* SPDX-License-Identifier: MIT */
/* What a slot says is a claim. It is believed when the kernel says the same: the process
 * is a child of a member, or it maps this very ledger. A claim that fails costs the
 * claimant's own account at worst, because nothing of another account is touched here. */
#include "daemon/births.h"

#include <errno.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/orphans.h"
#include "daemon/proc.h"
#include "daemon/unseen.h"
#include "reserve/crash.h"
#include "reserve/reap.h"

enum verdict {
	VERDICT_OURS,
	VERDICT_GONE,
	VERDICT_STRANGER, /* alive, but nothing connects it with this account */
	VERDICT_UNKNOWN,  /* it could not be asked: no descriptor, no memory */
};

/* A claim under examination. */
struct claim {
	struct broker *broker;
	struct account *account;
	uint32_t s;
	uint64_t word; /* the slot's state, read once */
	int32_t pid;   /* 0: not known, or not of our namespace */
	bool inherited;
};

bool attention_is_left(const struct broker *b, struct account *a)
{
	int64_t more = (int64_t)((b->now_ns - a->attended_ns) / ATTENTION_PARTS), most = ATTENTION_MOST_NS;
	a->attention_ns = a->attention_ns + more < most ? a->attention_ns + more : most;
	a->attended_ns = b->now_ns;
	return a->attention_ns > 0;
}

void attention_pay(struct account *a, uint64_t ns)
{
	a->attention_ns -= (int64_t)ns;
}

bool births_have_rung(const struct account *a)
{
	/* Acquire: pairs with the release of the bell in reserve/embryo.c. Sequentially consistent:
	 * read after header.calm was written (daemon/broker.c:calm_say). */
	return __atomic_load_n(&a->ledger->header.births, __ATOMIC_SEQ_CST) != a->births;
}

bool births_are_due(const struct account *a)
{
	return a->doubts > 0 || a->orphans > 0 || births_have_rung(a);
}

void births_enter_as(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, uid_t uid,
		     int pidfd, const struct proc_stat *st)
{
	struct slot *slot = &a->ledger->slot[s];
	__atomic_store_n(&slot->start_ticks, st->start_ticks, __ATOMIC_RELAXED);
	CRASH_POINT(ENTER_DATED);
	__atomic_store_n(&slot->uid, uid, __ATOMIC_RELAXED);
	memcpy(slot->comm, st->comm, sizeof slot->comm);
	if (__atomic_load_n(&slot->joined_ns, __ATOMIC_RELAXED) == 0)
		__atomic_store_n(&slot->joined_ns, clock_ns(CLOCK_REALTIME), __ATOMIC_RELAXED);
	CRASH_POINT(ENTER_WRITTEN);
	member_watch(b, a, s, word, pid, pidfd, st->start_ticks);
}

void births_enter(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, uid_t uid,
		  int pidfd)
{
	struct proc_stat st = { 0 };
	proc_stat(pid, &st);
	births_enter_as(b, a, s, word, pid, uid, pidfd, &st);
}

/* Looked at again later; true when it has been like this for `patience_ns`. */
static bool doubt_is_over(const struct claim *c, uint64_t patience_ns)
{
	struct member *m = &c->account->member[c->s];
	if (m->life != MEMBER_DOUBTED || m->generation != SLOT_GEN(c->word) || m->pid != c->pid)
		*m = (struct member){ .pid = c->pid, .pidfd = -1, .generation = SLOT_GEN(c->word),
				      .since_ns = c->broker->now_ns, .life = MEMBER_DOUBTED };
	if (c->broker->now_ns - m->since_ns >= patience_ns)
		return true;
	c->account->doubts++;
	return false;
}

static bool member_lives(const struct account *a, uint32_t s)
{
	return s < LEDGER_SLOTS && a->member[s].life == MEMBER_WATCHED;
}

static void orphan_mark(struct account *a, uint32_t s)
{
	orphan_add(a, s);
	a->member[s].life = MEMBER_NONE;
}

/* The process given to that slot belongs to another. Its own child may have said so in the
 * meantime; if not, the slot is an orphan again. */
static void guess_withdraw(struct broker *b, struct account *a, uint32_t s)
{
	int32_t guess = a->member[s].pid;
	member_unwatch(b, a, s);
	int32_t *pid = &a->ledger->slot[s].pid;
	if (__atomic_compare_exchange_n(pid, &guess, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		orphan_mark(a, s);
	else
		a->doubts++;
}

/* Is another slot of this account watched for the very same process? One of the two is
 * wrong. Hearsay gives way to a child that says itself where it is; an embryo, whose pid
 * may have been written late by a parent that was slow (reserve/embryo.c), gives way to
 * whoever was there before; who was taken for unattached and says otherwise is believed.
 * Two slots in which one process says it is, no honest member can make. */
static bool claim_conflicts(const struct claim *c, uint64_t start_ticks)
{
	struct account *a = c->account;
	struct member *other = registry_find(c->broker, a, c->pid);
	if (!other || other->start_ticks != start_ticks)
		return false;
	if (SLOT_STATE(c->word) != SLOT_LIVE)
		return true;
	if (other->unattached) {
		uint32_t s = member_slot(a, other);
		member_doom(c->broker, a, s, slot_read(a->ledger, s));
		return false;
	}
	if (other->guessed) {
		guess_withdraw(c->broker, a, member_slot(a, other));
		return false;
	}
	damage_found(c->broker, a, "two slots claim one process");
	return true;
}

/* May a process whose mappings we may not read belong here, by its user? Root's may be
 * read by root, and are no member of a broker that is not. */
static bool user_is_admitted(const struct claim *c)
{
	uid_t uid;
	if (proc_uid(c->pid, &uid) != 0 || uid == 0)
		return false;
	return uid == c->broker->uid || admission_allows(&c->account->admission, uid);
}

/* What cannot be opened is gone if the kernel says that, and for no other reason: an account's
 * living are not buried because descriptors are short. */
static enum verdict error_verdict(int error)
{
	if (error == -ENOENT || error == -ESRCH)
		return VERDICT_GONE;
	return error == -EACCES || error == -EPERM ? VERDICT_STRANGER : VERDICT_UNKNOWN;
}

static enum verdict claim_connect(const struct claim *c, const struct proc_stat *st)
{
	struct account *a = c->account;
	uint32_t place = (uint32_t)(a - c->broker->account);
	if (c->inherited && books_know(c->broker->books, place, c->s, c->pid, st->start_ticks))
		return VERDICT_OURS;
	if (registry_find(c->broker, a, st->parent))
		return VERDICT_OURS;
	int maps = proc_maps(c->pid, a->device, a->inode);
	if (maps == -EACCES || maps == -EPERM)
		return user_is_admitted(c) ? VERDICT_OURS : VERDICT_STRANGER;
	return maps > 0 ? VERDICT_OURS : maps == 0 ? VERDICT_STRANGER : error_verdict(maps);
}

static enum verdict claim_examine(const struct claim *c, int pidfd, struct proc_stat *ret_stat)
{
	if (pidfd >= 0 && pidfd_is_gone(pidfd))
		return VERDICT_GONE;
	int error = proc_stat(c->pid, ret_stat);
	if (error)
		return error_verdict(error);
	return claim_conflicts(c, ret_stat->start_ticks) ? VERDICT_GONE : claim_connect(c, ret_stat);
}

/* `ret_pidfd` stays open, the caller's, when the verdict is OURS; it may be -1 even then. What
 * `ret_stat` says is then of that process. */
static enum verdict claim_judge(const struct claim *c, int *ret_pidfd, struct proc_stat *ret_stat)
{
	int pidfd = pidfd_open(c->pid, 0);
	if (pidfd < 0 && errno != EMFILE && errno != ENFILE && errno != ENOMEM) {
		attention_pay(c->account, ATTENTION_GONE_NS);
		return VERDICT_GONE;
	}
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	/* The pidfd first and asked last: what was read between belongs to its process. */
	enum verdict verdict = claim_examine(c, pidfd, ret_stat);
	if (pidfd >= 0 && pidfd_is_gone(pidfd))
		verdict = VERDICT_GONE;
	if (verdict == VERDICT_OURS) {
		*ret_pidfd = pidfd;
		return verdict;
	}
	if (pidfd >= 0)
		close(pidfd);
	attention_pay(c->account, clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns);
	return verdict;
}

/* What was unseen of it when the last broker looked; of a child, what is unseen of its
 * parent. Until it is counted itself. */
static void unseen_resume(const struct claim *c, const struct proc_stat *st)
{
	struct account *a = c->account;
	uint32_t pages = __atomic_load_n(&a->ledger->slot[c->s].unseen, __ATOMIC_RELAXED);
	const struct member *parent = NULL;
	if (SLOT_STATE(c->word) == SLOT_UNATTACHED && unattached_resume(c->broker, a, c->s))
		return;
	if (!c->inherited) {
		parent = registry_find(c->broker, a, st->parent);
		pages = parent && !parent->unattached ? parent->unseen : 0;
	}
	unseen_set(c->broker, a, c->s, pages);
}

/* Nothing is decided yet. In a slot that only a broker writes nobody is late: what cannot be shown at once
 * is given up, and who was in it is found and charged anew. */
static void claim_postpone(const struct claim *c)
{
	if (SLOT_STATE(c->word) == SLOT_UNATTACHED)
		member_doom_alleged(c->broker, c->account, c->s, c->word);
	else
		c->account->doubts++;
}

static void claim_settle(const struct claim *c)
{
	struct account *a = c->account;
	/* What is true costs no more than the fork it tells of. All else may be invented, with
	 * one store, as often as somebody likes, and is paid from the account's share of our
	 * time: the dead, too. */
	if (!attention_is_left(c->broker, a)) {
		claim_postpone(c);
		return;
	}
	bool embryo = SLOT_STATE(c->word) == SLOT_EMBRYO;
	struct proc_stat st;
	int pidfd;
	enum verdict verdict = claim_judge(c, &pidfd, &st); /* model: claim_settle */
	if (a->damaged)
		return;
	if (verdict == VERDICT_UNKNOWN) {
		claim_postpone(c); /* until it can be asked */
		return;
	}
	if (verdict == VERDICT_OURS) {
		uid_t uid = 0;
		proc_uid(c->pid, &uid);
		births_enter_as(c->broker, a, c->s, c->word, c->pid, uid, pidfd, &st);
		a->member[c->s].guessed = embryo;
		unseen_resume(c, &st);
		return;
	}
	/* The slot of a dead child is settled at once, unless its parent lives and may be
	 * about to write: an embryo belongs to it until it is adopted. A stranger's parent
	 * may just not have been entered yet. */
	bool at_once = SLOT_STATE(c->word) == SLOT_UNATTACHED ||
		       (verdict == VERDICT_GONE && !(embryo && member_lives(a, SLOT_OWNER(c->word))));
	if (at_once || doubt_is_over(c, BIRTHS_DOUBT_NS))
		member_doom_alleged(c->broker, a, c->s, c->word);
}

/* Who has called execve, and did not come back, will not tell either (daemon/unattached.c). */
static bool owner_lives(const struct account *a, uint32_t owner)
{
	if (member_lives(a, owner))
		return !a->member[owner].unattached;
	return a->member[owner].life != MEMBER_DYING && SLOT_STATE(slot_read(a->ledger, owner)) == SLOT_LIVE;
}

/* A slot without a pid. An embryo's is not known before its parent's fork returns. In a pid
 * namespace of its own it is not known then either, until the child has spoken up: it may
 * never, if it was killed before it adopted its slot. */
static void unknown_settle(const struct claim *c)
{
	struct account *a = c->account;
	bool embryo = SLOT_STATE(c->word) == SLOT_EMBRYO;
	bool owned = embryo && owner_lives(a, SLOT_OWNER(c->word)); /* model: unknown_settle */
	bool born = __atomic_load_n(&a->ledger->slot[c->s].pid, __ATOMIC_RELAXED) != 0;
	if (owned && !born) /* its parent is in the middle of fork */
		return;
	bool dying = embryo && a->member[SLOT_OWNER(c->word)].life == MEMBER_DYING;
	if (dying || doubt_is_over(c, embryo && !owned ? BIRTHS_DOUBT_NS : BIRTHS_PATIENCE_NS))
		orphan_mark(a, c->s);
}

int32_t births_pid(const struct account *a, uint32_t s, uint64_t word)
{
	const struct slot *slot = &a->ledger->slot[s];
	int32_t pid = __atomic_load_n(&slot->pid, __ATOMIC_ACQUIRE);
	uint32_t flags = __atomic_load_n(&slot->flags, __ATOMIC_RELAXED);
	/* With a start time it is one that a broker looked up. */
	if (__atomic_load_n(&slot->start_ticks, __ATOMIC_RELAXED) != 0)
		return pid > 0 ? pid : 0;
	if (SLOT_STATE(word) == SLOT_EMBRYO && SLOT_OWNER(word) < LEDGER_SLOTS)
		flags |= __atomic_load_n(&a->ledger->slot[SLOT_OWNER(word)].flags, __ATOMIC_RELAXED);
	return pid > 0 && !(flags & SLOT_FOREIGN_PID) ? pid : 0;
}

/* Is the state one that is written by whoever has the slot? A member of ours is in the state
 * it was entered in, or was born since. */
static bool word_is_possible(const struct member *m, uint64_t word, bool inherited)
{
	enum slot_state state = SLOT_STATE(word);
	bool ours = m->life == MEMBER_OURS || (m->life == MEMBER_WATCHED && m->unattached);
	if (m->life == MEMBER_WATCHED && (state == SLOT_FREE || SLOT_GEN(word) != m->generation))
		return false;
	if (ours || state == SLOT_UNATTACHED)
		return state == SLOT_UNATTACHED && (ours || inherited || m->life == MEMBER_DYING);
	return state == SLOT_FREE || state == SLOT_LIVE ||
	       (state == SLOT_EMBRYO && SLOT_OWNER(word) < LEDGER_SLOTS);
}

bool guess_is_wrong(const struct account *a, uint32_t s, uint64_t word)
{
	const struct member *m = &a->member[s];
	int32_t said = SLOT_STATE(word) == SLOT_LIVE ? births_pid(a, s, word) : 0;
	return m->guessed && said != 0 && said != m->pid;
}

static void slot_look(struct broker *b, struct account *a, uint32_t s, bool inherited)
{
	struct claim c = { .broker = b, .account = a, .s = s, .inherited = inherited };
	c.word = slot_read(a->ledger, s);
	struct member *m = &a->member[s];
	bool taken = SLOT_STATE(c.word) != SLOT_FREE;
	if (!word_is_possible(m, c.word, inherited)) {
		damage_found(b, a, "a slot's state is not one that a member writes");
		return;
	}
	if (!taken && m->life == MEMBER_DOUBTED)
		m->life = MEMBER_NONE;
	if (SLOT_STATE(c.word) == SLOT_EMBRYO)
		a->parent[SLOT_OWNER(c.word) / 64] |= 1ull << SLOT_OWNER(c.word) % 64;
	if (m->life == MEMBER_WATCHED && guess_is_wrong(a, s, c.word))
		member_unwatch(b, a, s);
	if (!taken || member_is_known(a, s) || (a->orphan[s / 64] >> s % 64 & 1))
		return;
	c.pid = births_pid(a, s, c.word);
	if (c.pid == 0 && SLOT_STATE(c.word) == SLOT_UNATTACHED)
		member_reap(a->ledger, s); /* the last broker's; its members are charged anew */
	else if (c.pid > 0)
		claim_settle(&c);
	else
		unknown_settle(&c);
}

void births_look(struct broker *b, struct account *a, bool inherited)
{
	if (births_have_rung(a))
		b->busy_ns = b->now_ns; /* whoever it was: others will come as soon */
	a->births = __atomic_load_n(&a->ledger->header.births, __ATOMIC_ACQUIRE);
	a->doubts = 0;
	memset(a->parent, 0, sizeof a->parent);
	for (uint32_t s = 0; s < ledger_slots(a->ledger) && !a->damaged; s++)
		slot_look(b, a, s, inherited);
}
