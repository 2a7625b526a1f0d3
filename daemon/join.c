/* SPDX-License-Identifier: MIT */
/* Admission is by the kernel's word: uid and pid of whoever made the connection, a pidfd
 * of that very process, its cgroup. A process that is in already stays in, whatever user
 * it has become since: servers join as root and drop it. Who has got another's socket is not
 * that other, even when he has got its number, too. */
#include "daemon/join.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "daemon/settle.h"
#include "daemon/unseen.h"
#include "reserve/crash.h"

static struct account *only_account(struct broker *b)
{
	struct account *only = NULL;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		struct account *a = &b->account[i];
		if (!a->ledger || a->retired)
			continue;
		if (only)
			return broker_find(b, "default");
		only = a;
	}
	return only;
}

/* Without a process to be spoken for, or without a descriptor to ask for it with. */
static enum status absence(int error)
{
	return error == -ESRCH ? STATUS_NOT_MEMBER : STATUS_FULL;
}

static bool is_admitted(const struct broker *b, const struct account *a, const struct peer *peer)
{
	if (peer->uid != 0 && peer->uid != b->uid && !admission_allows(&a->admission, peer->uid))
		return false;
	return a->admission.cgroup[0] == '\0' || proc_in_cgroup(peer->pid, a->admission.cgroup);
}

static void reply_fill(struct broker *b, const struct account *a, uint32_t s, int32_t pid, struct reply *r)
{
	r->join.slot = s;
	r->join.generation = SLOT_GEN(slot_read(a->ledger, s));
	r->join.pid = pid;
	memcpy(r->join.account, a->name, sizeof a->name);
	r->place = (uint32_t)(a - b->account);
	r->slot = s;
}

static void foreign_mark(struct account *a, uint32_t s, int32_t pid, int pidfd)
{
	/* Its children's pids, which it will write, are not ours either. */
	if (proc_is_foreign(pid, pidfd))
		__atomic_fetch_or(&a->ledger->slot[s].flags, SLOT_FOREIGN_PID, __ATOMIC_RELAXED);
}

/* Other accounts where it was a member before. */
static void leave_others(struct broker *b, const struct account *stays, int32_t pid)
{
	for (struct account *a = NULL; (a = registry_next(b, pid, a));) {
		struct member *m = a == stays ? NULL : registry_find(b, a, pid);
		if (!m)
			continue;
		member_doom(b, a, member_slot(a, m), slot_read(a->ledger, member_slot(a, m)));
		settle_account(b, a, false);
	}
}

static enum status join_renewed(struct broker *b, struct account *a, struct member *m, struct reply *r)
{
	uint32_t s = member_slot(a, m);
	int32_t pid = m->pid;
	struct proc_stat st = { 0 };
	uid_t uid;
	settle_exec(b, a, s);
	if (a->damaged)
		return STATUS_DAMAGED;
	if (proc_stat(pid, &st) == 0)
		memcpy(a->ledger->slot[s].comm, st.comm, sizeof st.comm);
	if (proc_uid(pid, &uid) == 0)
		__atomic_store_n(&a->ledger->slot[s].uid, uid, __ATOMIC_RELAXED);
	m->has_left = false; /* it has a while to map the ledger */
	reply_fill(b, a, s, pid, r);
	r->join.renewed = 1;
	r->fd = a->fd;
	leave_others(b, a, pid);
	return STATUS_OK;
}

static int pidfd_take(int *pidfd)
{
	int taken = *pidfd;
	*pidfd = -1;
	return taken;
}

static enum status join_fresh(struct broker *b, struct account *a, const struct peer *peer, int *pidfd,
			      struct reply *r)
{
	if (!registry_has_room(&b->registry))
		return STATUS_FULL;
	int s = registry_claim(b, a, SLOT_LIVE);
	if (s < 0)
		return a->damaged ? STATUS_DAMAGED : STATUS_FULL;
	CRASH_POINT(JOIN_CLAIMED);
	__atomic_store_n(&a->ledger->slot[s].pid, peer->pid, __ATOMIC_RELEASE);
	CRASH_POINT(JOIN_NAMED);
	foreign_mark(a, (uint32_t)s, peer->pid, *pidfd);
	births_enter(b, a, (uint32_t)s, slot_read(a->ledger, (uint32_t)s), peer->pid, peer->uid,
		     pidfd_take(pidfd));
	CRASH_POINT(JOIN_ENTERED);
	__atomic_fetch_add(&a->ledger->header.joins, 1, __ATOMIC_RELAXED);
	b->joined++;
	reply_fill(b, a, (uint32_t)s, peer->pid, r);
	r->new_member = true;
	r->fd = a->fd;
	leave_others(b, a, peer->pid);
	return STATUS_OK;
}

/* An embryo that joins instead of adopting its slot has no use for that one. */
static bool is_renewed(struct broker *b, struct account *a, struct member *m)
{
	uint32_t s = member_slot(a, m);
	uint64_t word = slot_read(a->ledger, s);
	if (m->unattached && slot_turn(a->ledger, s, SLOT_UNATTACHED, SLOT_LIVE)) {
		CRASH_POINT(UNATTACHED_JOINED);
		unseen_hand_over(a, s);
	}
	if (!m->unattached && SLOT_STATE(word) != SLOT_EMBRYO)
		return true;
	member_doom(b, a, s, word);
	settle_account(b, a, false);
	return false;
}

/* The slot of a child that called execve before anybody had looked at it. The pid is the
 * peer's own, by the kernel's word; that it may be here is shown like everybody's. */
static struct member *unentered_find(struct broker *b, struct account *a, const struct peer *peer, int *pidfd)
{
	struct proc_stat st;
	/* Where no births are due nobody is unentered. */
	bool believed = births_are_due(a) && (is_admitted(b, a, peer) ||
					      (proc_stat(peer->pid, &st) == 0 && registry_find(b, a, st.parent)));
	for (uint32_t s = 0; believed && s < ledger_slots(a->ledger); s++) {
		uint64_t word = slot_read(a->ledger, s);
		if (SLOT_STATE(word) != SLOT_LIVE || member_is_known(a, s) || births_pid(a, s, word) != peer->pid)
			continue;
		births_enter(b, a, s, word, peer->pid, peer->uid, pidfd_take(pidfd));
		return &a->member[s];
	}
	return NULL;
}

/* `pidfd`: of the peer; -1 afterwards if it was kept. */
static enum status join_account(struct broker *b, struct account *a, const struct peer *peer, int *pidfd,
				struct reply *r)
{
	struct member *m = registry_find(b, a, peer->pid);
	if (!m)
		m = unentered_find(b, a, peer, pidfd);
	if (m && is_renewed(b, a, m))
		return join_renewed(b, a, m, r);
	if (a->damaged)
		return STATUS_DAMAGED;
	if (a->retired)
		return STATUS_NO_ACCOUNT;
	return is_admitted(b, a, peer) ? join_fresh(b, a, peer, pidfd, r) : STATUS_NOT_ALLOWED;
}

enum status join(struct broker *b, const struct peer *peer, const char *name, struct reply *r)
{
	struct account *a = name[0] ? broker_find(b, name) : only_account(b);
	if (!a)
		return STATUS_NO_ACCOUNT;
	/* It may be the child of a member, not entered yet. */
	registry_hear(b);
	settle_all(b);
	if (!damage_absent(b, a))
		return STATUS_DAMAGED;
	int pidfd = peer_pidfd(peer); /* before anything is found by its number */
	if (pidfd < 0)
		return absence(pidfd);
	enum status status = join_account(b, a, peer, &pidfd, r);
	if (pidfd >= 0)
		close(pidfd);
	return status;
}

/* The name is the peer's: what is not fit to print is not printed. */
static void name_clean(const char *name, char ret[ACCOUNT_NAME_BYTES])
{
	size_t n = strnlen(name, ACCOUNT_NAME_BYTES - 1);
	for (size_t i = 0; i < n; i++)
		ret[i] = name[i] > ' ' && name[i] < 0x7f ? name[i] : '?';
	ret[n] = '\0';
}

void join_turned_away(struct broker *b, const struct peer *peer, const char *name, enum status status)
{
	static const char *const why[STATUS_N] = {
		[STATUS_NO_ACCOUNT] = "there is no such account; add it to the configuration",
		[STATUS_NOT_ALLOWED] = "its user or cgroup may not; see users and cgroup in the configuration",
		[STATUS_FULL] = "the account has no free slot, or the broker no free descriptor",
		[STATUS_DAMAGED] = "its ledger was written over",
		[STATUS_MALFORMED] = "the name has no end",
		[STATUS_NOT_MEMBER] = "its pid namespace is not below the broker's",
	};
	struct account *a = status == STATUS_MALFORMED ? NULL : broker_find(b, name);
	if (status == STATUS_NOT_MEMBER && peer->pid > 0)
		return; /* it was gone before it could be answered */
	b->turned_away++;
	if (a)
		a->turned_away++;
	char shown[ACCOUNT_NAME_BYTES];
	name_clean(name, shown);
	log_notice("process %d of user %u may not join account \"%s\": %s", peer->pid, peer->uid, shown,
		   why[status] ? why[status] : "refused");
}

/* May a process that is in no slot be in that one? Not where somebody is known to be, nor where the slot
 * says that it is another's: a child that has adopted it, and was not looked at yet. */
static bool is_vacant(const struct account *a, uint32_t s, uint64_t word, int32_t pid)
{
	int32_t said = births_pid(a, s, word);
	return !member_is_known(a, s) && (said == 0 || said == pid);
}

enum status adopt(struct broker *b, struct account *a, const struct peer *peer, uint32_t s, uint32_t generation,
		  struct reply *r)
{
	struct proc_stat st;
	uint64_t word = s < LEDGER_SLOTS ? slot_read(a->ledger, s) : 0;
	bool lives = SLOT_STATE(word) == SLOT_EMBRYO || SLOT_STATE(word) == SLOT_LIVE;
	if (!lives || SLOT_GEN(word) != generation || proc_stat(peer->pid, &st) != 0)
		return STATUS_NOT_MEMBER;
	const struct member *m = &a->member[s];
	if (m->life == MEMBER_WATCHED && (m->pid != peer->pid || peer_check(peer) != 0))
		return STATUS_NOT_MEMBER;
	if (m->life != MEMBER_WATCHED) {
		if (!is_vacant(a, s, word, peer->pid) || registry_find(b, a, peer->pid) ||
		    (!registry_find(b, a, st.parent) && proc_maps(peer->pid, a->device, a->inode) <= 0))
			return STATUS_NOT_MEMBER;
		int pidfd = peer_pidfd(peer);
		if (pidfd < 0)
			return STATUS_NOT_MEMBER;
		__atomic_store_n(&a->ledger->slot[s].pid, peer->pid, __ATOMIC_RELEASE);
		CRASH_POINT(ADOPT_NAMED);
		foreign_mark(a, s, peer->pid, pidfd);
		births_enter_as(b, a, s, word, peer->pid, peer->uid, pidfd, &st);
	}
	reply_fill(b, a, s, peer->pid, r);
	return STATUS_OK;
}
