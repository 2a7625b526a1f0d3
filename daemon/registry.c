/* SPDX-License-Identifier: MIT */
/* A pid alone is no identity: it may be used again. Here it is a key only, and what it
 * leads to is a pidfd that was opened while the process was known to be in the slot. */
#include "daemon/registry.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/proc.h"
#include "daemon/unseen.h"

#define DEATHS_AT_ONCE 128
#define HEARINGS 64 /* times DEATHS_AT_ONCE; the rest waits for the next turn of the loop */

void registry_share(struct registry *r, uint32_t others)
{
	struct rlimit files = { 0 };
	getrlimit(RLIMIT_NOFILE, &files);
	uint32_t all = (uint32_t)min_u64(files.rlim_cur, UINT32_MAX);
	uint32_t most = all > 2 * REGISTRY_FDS_SPARE ? all - REGISTRY_FDS_SPARE : all / 2;
	r->pidfds_most = most > others ? most - others : 0;
}

int registry_init(struct registry *r)
{
	registry_share(r, 0);
	r->epoll = epoll_create1(EPOLL_CLOEXEC);
	return r->epoll < 0 ? -errno : 0;
}

static uint32_t place_of(const struct broker *b, const struct account *a, uint32_t s)
{
	return (uint32_t)(a - b->account) * LEDGER_SLOTS + s;
}

static struct member *member_at(struct broker *b, uint32_t place)
{
	return &b->account[place / LEDGER_SLOTS].member[place % LEDGER_SLOTS];
}

static uint32_t *bucket_of(struct broker *b, int32_t pid)
{
	return &b->registry.bucket[(uint32_t)pid % REGISTRY_BUCKETS];
}

struct member *registry_find(struct broker *b, const struct account *a, int32_t pid)
{
	uint32_t index = (uint32_t)(a - b->account);
	for (uint32_t p = *bucket_of(b, pid); p; p = member_at(b, p - 1)->chain)
		if ((p - 1) / LEDGER_SLOTS == index && member_at(b, p - 1)->pid == pid)
			return member_at(b, p - 1);
	return NULL;
}

struct account *registry_next(struct broker *b, int32_t pid, const struct account *after)
{
	uint32_t from = after ? (uint32_t)(after - b->account) + 1 : 0, best = BOOKS_ACCOUNTS;
	for (uint32_t p = *bucket_of(b, pid); p; p = member_at(b, p - 1)->chain) {
		uint32_t index = (p - 1) / LEDGER_SLOTS;
		if (member_at(b, p - 1)->pid == pid && index >= from && index < best)
			best = index;
	}
	return best < BOOKS_ACCOUNTS ? &b->account[best] : NULL;
}

static void chain_in(struct broker *b, uint32_t place)
{
	struct member *m = member_at(b, place);
	uint32_t *bucket = bucket_of(b, m->pid);
	m->chain = *bucket;
	*bucket = place + 1;
}

static void chain_out(struct broker *b, uint32_t place)
{
	uint32_t *at = bucket_of(b, member_at(b, place)->pid);
	while (*at && *at != place + 1)
		at = &member_at(b, *at - 1)->chain;
	if (*at)
		*at = member_at(b, place)->chain;
}

/* Somebody may have written these who did not know yet that the slot was given up, and who comes owes
 * nothing. Relaxed: it does not charge before it has heard of its slot. */
static void late_words_clear(struct slot *slot)
{
	__atomic_store_n(&slot->credit, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->soft, 0, __ATOMIC_RELAXED);
}

int registry_claim(struct broker *b, struct account *a, enum slot_state state)
{
	int s = slot_claim(a->ledger, state, 0);
	if (s < 0)
		return s;
	late_words_clear(&a->ledger->slot[s]);
	if (!member_is_known(a, (uint32_t)s))
		return s;
	damage_found(b, a, "a slot was emptied by somebody else");
	return -EBADMSG;
}

bool registry_has_room(const struct registry *r)
{
	return r->pidfds < r->pidfds_most;
}

static bool pidfd_listen(struct broker *b, uint32_t place, int pidfd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = place };
	return epoll_ctl(b->registry.epoll, EPOLL_CTL_ADD, pidfd, &e) == 0;
}

/* Root may always ask what a process has become, and need not know what it was. */
static uid_t user_of(const struct broker *b, int32_t pid)
{
	uid_t uid;
	return b->uid == 0 || proc_effective_uid(pid, &uid) != 0 ? 0 : uid;
}

void member_watch(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, int pidfd,
		  uint64_t start_ticks)
{
	uint32_t place = place_of(b, a, s);
	if (pidfd >= 0 && (!registry_has_room(&b->registry) || !pidfd_listen(b, place, pidfd))) {
		close(pidfd);
		pidfd = -1;
	}
	a->member[s] = (struct member){ .pid = pid, .pidfd = pidfd, .statm = -1, .start_ticks = start_ticks,
					.generation = SLOT_GEN(word), .life = MEMBER_WATCHED, .user = user_of(b, pid) };
	books_note(b->books, (uint32_t)(a - b->account), s, pid, start_ticks);
	chain_in(b, place);
	b->registry.members++;
	a->members++;
	b->busy_ns = b->now_ns;
	if (pidfd >= 0)
		b->registry.pidfds++;
	else
		a->polled++;
}

void member_unwatch(struct broker *b, struct account *a, uint32_t s)
{
	struct member *m = &a->member[s];
	if (m->life != MEMBER_WATCHED)
		return;
	unseen_forget(b, a, s);
	chain_out(b, place_of(b, a, s));
	books_note(b->books, (uint32_t)(a - b->account), s, 0, 0);
	b->registry.members--;
	a->members--;
	if (m->pidfd < 0) {
		a->polled--;
	} else {
		/* Said aloud: a child of ours may hold a copy for a moment longer, and epoll
		 * would keep the entry until that is closed too (man 7 epoll). */
		epoll_ctl(b->registry.epoll, EPOLL_CTL_DEL, m->pidfd, NULL);
		close(m->pidfd);
		b->registry.pidfds--;
	}
	if (m->statm >= 0) {
		close(m->statm);
		b->registry.pidfds--;
	}
	m->pidfd = m->statm = -1;
	m->life = MEMBER_NONE;
	b->busy_ns = b->now_ns;
}

void member_doom(struct broker *b, struct account *a, uint32_t s, uint64_t word)
{
	struct member *m = &a->member[s];
	if (m->life == MEMBER_DYING)
		return;
	if (m->life == MEMBER_WATCHED)
		member_unwatch(b, a, s);
	else
		*m = (struct member){ .pidfd = -1, .statm = -1, .generation = SLOT_GEN(word),
				      .embryo = SLOT_STATE(word) == SLOT_EMBRYO };
	m->life = MEMBER_DYING;
	m->queue = a->dying;
	a->dying = s + 1;
}

void member_doom_alleged(struct broker *b, struct account *a, uint32_t s, uint64_t word)
{
	member_doom(b, a, s, word);
	a->member[s].alleged = true;
}

bool pidfd_is_gone(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

void registry_hear(struct broker *b)
{
	struct epoll_event deaths[DEATHS_AT_ONCE];
	for (int hearing = 0; hearing < HEARINGS; hearing++) {
		int n = epoll_wait(b->registry.epoll, deaths, DEATHS_AT_ONCE, 0);
		for (int i = 0; i < n; i++) {
			struct account *a = &b->account[deaths[i].data.u32 / LEDGER_SLOTS];
			uint32_t s = deaths[i].data.u32 % LEDGER_SLOTS;
			if (a->member[s].life == MEMBER_WATCHED)
				member_doom(b, a, s, SLOT_WORD(a->member[s].generation, 0, SLOT_LIVE));
		}
		if (n < DEATHS_AT_ONCE)
			break;
	}
}

/* Without a descriptor of its own: opened for the question only. */
static bool member_is_gone(const struct member *m)
{
	int pidfd = pidfd_open(m->pid, 0);
	if (pidfd < 0)
		return errno == ESRCH;
	struct proc_stat st;
	bool gone = pidfd_is_gone(pidfd) || (proc_stat(m->pid, &st) == 0 && st.start_ticks != m->start_ticks);
	close(pidfd);
	return gone;
}

void registry_poll(struct broker *b, struct account *a)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS && a->polled > 0; s++) {
		struct member *m = &a->member[s];
		if (m->life == MEMBER_WATCHED && m->pidfd < 0 && member_is_gone(m))
			member_doom(b, a, s, SLOT_WORD(m->generation, 0, SLOT_LIVE));
	}
}
