/* SPDX-License-Identifier: MIT */
/* Every touch of a ledger's header goes through here. The order of a change of grant is
 * books.next, ledger, books.granted: a broker that dies in between leaves one of two
 * numbers that its successor can tell from a lie. */
#include "daemon/account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reserve/crash.h"
#include "reserve/purse.h"

/* How often a change is tried against members who charge at the same time. Each attempt
 * fails only because one of theirs succeeded; only an attacker makes this many succeed. */
#define SWAP_TRIES 4096

static void policy_write(struct account *a)
{
	struct ledger_header *h = &a->ledger->header;
	const struct policy *p = &a->policy;
	/* Relaxed: each field is used by itself, and a member may see an old one a little longer. */
	__atomic_store_n(&h->limit, p->limit, __ATOMIC_RELAXED);
	__atomic_store_n(&h->guarantee, p->guarantee, __ATOMIC_RELAXED);
	__atomic_store_n(&h->warn, p->warn, __ATOMIC_RELAXED);
	__atomic_store_n(&h->mode, p->mode, __ATOMIC_RELAXED);
	__atomic_store_n(&h->fork_percent, p->fork_percent, __ATOMIC_RELAXED);
	__atomic_store_n(&h->noreserve_free, p->noreserve_free, __ATOMIC_RELAXED);
}

static bool policy_is_written(const struct account *a)
{
	const struct ledger_header *h = &a->ledger->header;
	const struct policy *p = &a->policy;
	return __atomic_load_n(&h->limit, __ATOMIC_RELAXED) == p->limit &&
	       __atomic_load_n(&h->guarantee, __ATOMIC_RELAXED) == p->guarantee &&
	       __atomic_load_n(&h->warn, __ATOMIC_RELAXED) == p->warn &&
	       __atomic_load_n(&h->mode, __ATOMIC_RELAXED) == p->mode &&
	       __atomic_load_n(&h->fork_percent, __ATOMIC_RELAXED) == p->fork_percent &&
	       __atomic_load_n(&h->noreserve_free, __ATOMIC_RELAXED) == p->noreserve_free;
}

static uint32_t first_grant(const struct policy *p)
{
	return p->mode == ACCOUNT_OBSERVE ? PAGES_MAX : p->guarantee;
}

/* Before anyone else maps it, or when nobody does any more. It begins with no more than it has
 * of the pool already; the rest of what it is guaranteed may be in others' hands at this
 * moment, and is granted when it is free (daemon/funds.c). */
static void ledger_begin(struct account *a)
{
	policy_write(a);
	CRASH_POINT(BEGIN_POLICY);
	a->granted = (uint32_t)min_u64(a->granted, first_grant(&a->policy));
	a->unsettled = true;
	a->counted = 0;
	a->book->next = a->granted;
	CRASH_POINT(BEGIN_NOTED);
	__atomic_store_n(&a->ledger->header.purse.word, PURSE(a->granted, 0), __ATOMIC_RELEASE);
	CRASH_POINT(BEGIN_GRANTED);
	a->book->granted = a->granted;
	CRASH_POINT(BEGIN_BOOKED);
}

static void account_begin(struct account *a, struct book *book, struct ledger *l, int fd, const struct stat *st)
{
	/* Who can write to a ledger is taken for a member (daemon/proc.h); a child of the broker is
	 * none, at no moment of its life. */
	madvise(l, LEDGER_BYTES, MADV_DONTFORK);
	memset(a, 0, offsetof(struct account, member));
	memcpy(a->name, book->name, sizeof a->name);
	a->ledger = l;
	a->fd = fd;
	a->device = st->st_dev;
	a->inode = st->st_ino;
	a->book = book;
	a->policy = book->policy;
}

int account_create(struct account *a, struct book *book, const char *name, const struct policy *policy)
{
	struct stat st;
	struct ledger *l;
	int fd = ledger_create(name);
	if (fd < 0)
		return fd;
	/* Its owner alone may open it anew: a descriptor handed out read-only stays that. */
	int error = fchmod(fd, 0600) != 0 || fstat(fd, &st) != 0 ? -errno : ledger_map(fd, true, &l);
	if (error) {
		close(fd);
		return error;
	}
	*book = (struct book){ .inode = st.st_ino, .policy = *policy };
	snprintf(book->name, sizeof book->name, "%s", name);
	account_begin(a, book, l, fd, &st);
	ledger_begin(a);
	return 0;
}

/* A ledger whose header was written over is refused by ledger_map, but is still ours to
 * heal: its inode is in our books. */
static int ledger_map_anyhow(int fd, struct ledger **ret)
{
	int error = ledger_map(fd, true, ret);
	if (error != -EBADMSG && error != -EPROTO)
		return error;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);
	if (fstat(fd, &st) != 0 || st.st_size != (off_t)LEDGER_BYTES || seals < 0 || !(seals & F_SEAL_SHRINK))
		return -EBADMSG;
	struct ledger *l = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (l == MAP_FAILED)
		return -errno;
	*ret = l;
	return 0;
}

int account_adopt(struct account *a, struct book *book, int fd)
{
	struct stat st;
	struct ledger *l;
	int error = fstat(fd, &st) != 0 ? -errno : ledger_map_anyhow(fd, &l);
	if (error)
		return error;
	account_begin(a, book, l, fd, &st);
	/* The last broker may have been killed in the middle of a reload: that the header has
	 * another policy than the books says nothing against anybody. */
	if (ledger_is_sound(l, a->name))
		policy_write(a);
	uint64_t word = purse_read(&l->header.purse);
	uint32_t granted = PURSE_GRANTED(word);
	bool expected = granted == book->granted || granted == book->next;
	a->granted = expected ? granted : (uint32_t)max_u64(book->granted, book->next);
	book->granted = book->next = a->granted;
	CRASH_POINT(ADOPT_BOOKED);
	a->damaged = !expected || !account_is_sound(a);
	a->unchecked = true;
	if (!a->damaged) {
		a->counted = PURSE_USED(word);
		__atomic_fetch_add(&l->header.broker_epoch, 1, __ATOMIC_RELAXED);
	}
	return 0;
}

/* Only what was used: the table is large and most of it was never touched. */
static void members_clear(struct account *a)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (a->member[s].life != MEMBER_NONE)
			a->member[s] = (struct member){ 0 };
}

void account_forget(struct account *a)
{
	members_clear(a);
	purse_gave_up(a->ledger); /* there may be another at its place */
	ledger_unmap(a->ledger);
	close(a->fd);
	*a->book = (struct book){ 0 };
	a->ledger = NULL;
	a->name[0] = '\0';
}

bool account_is_sound(const struct account *a)
{
	uint64_t word = purse_read(&a->ledger->header.purse);
	return ledger_is_sound(a->ledger, a->name) && policy_is_written(a) && PURSE_GRANTED(word) == a->granted &&
	       PURSE_USED(word) <= a->granted;
}

/* All of them, whatever the ledger says about where looking may stop. */
static const char *slots_unclean(const struct ledger *l)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		if (SLOT_STATE(slot_read(l, s)) != SLOT_FREE)
			return "nobody is in it, yet a slot is taken";
		if (purse_read(&l->slot[s].purse) != 0)
			return "nobody is in it, yet a slot has pages";
	}
	return NULL;
}

/* May the object be there when nobody is? */
static bool object_is_left(const struct ledger *l, uint32_t o, uint64_t word, uint64_t state)
{
	return OBJECT_KIND(state) == OBJECT_SYSV && !object_is_held(l, o) &&
	       PURSE_GRANTED(word) == PURSE_USED(word);
}

/* `ret_used`: what the objects that may be there hold. */
static const char *objects_unclean(const struct ledger *l, uint64_t *ret_used)
{
	uint64_t used = 0;
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		uint64_t word = purse_read(&l->object[o].purse);
		uint64_t state = object_word(l, o);
		bool empty = OBJECT_KIND(state) == OBJECT_FREE && word == 0;
		if (!empty && !object_is_left(l, o, word, state))
			return "nobody is in it, yet a shared object is held";
		used += PURSE_USED(word);
	}
	*ret_used = used;
	return NULL;
}

const char *account_unclean(const struct account *a)
{
	uint64_t left = 0;
	const char *what = objects_unclean(a->ledger, &left);
	if (!what)
		what = slots_unclean(a->ledger);
	if (!what && PURSE_USED(purse_read(&a->ledger->header.purse)) != left)
		what = "nobody is in it, yet its use is not that of its segments";
	return what;
}

void account_sweep(struct account *a)
{
	ledger_sweep(a->ledger, SIGNATURE(SIGNATURE_BROKER_SLOT, ++a->book->step));
}

void account_set_policy(struct account *a, const struct policy *policy)
{
	a->policy = *policy;
	a->book->policy = *policy;
	CRASH_POINT(POLICY_BOOKED);
	if (!a->damaged)
		policy_write(a);
	CRASH_POINT(POLICY_WRITTEN);
}

/* Moves the grant to `granted`, of which used must be covered. One signed step. */
static bool grant_move(struct account *a, uint32_t granted)
{
	struct purse *p = &a->ledger->header.purse;
	a->book->next = granted;
	CRASH_POINT(GRANT_NOTED);
	for (int tries = 0; tries < SWAP_TRIES; tries++) {
		/* Acquire, and the pair may be torn: the exchange compares both halves. */
		uint64_t by = __atomic_load_n(&p->by, __ATOMIC_ACQUIRE), word = purse_read(p);
		if (PURSE_GRANTED(word) != a->granted || PURSE_USED(word) > granted)
			return false;
		uint64_t next = PURSE(granted, PURSE_USED(word)); /* model: GRANT_SWAP */
		if (!purse_swap(p, word, by, next, SIGNATURE(SIGNATURE_BROKER_SLOT, ++a->book->step), a->ledger))
			continue;
		CRASH_POINT(GRANT_MOVED);
		a->granted = a->book->granted = granted; /* model: GRANT_BOOK */
		CRASH_POINT(GRANT_BOOKED);
		return true;
	}
	return false;
}

bool account_grant(struct account *a, uint32_t pages)
{
	return pages <= PAGES_MAX - a->granted && grant_move(a, a->granted + pages);
}

uint32_t account_reclaim(struct account *a, uint32_t pages)
{
	uint64_t word = purse_read(&a->ledger->header.purse);
	uint32_t before = a->granted, n = (uint32_t)min_u64(pages, purse_headroom(word));
	/* Used may grow over the new grant between the two; then nothing is taken now. */
	if (n == 0 || PURSE_GRANTED(word) != before || !grant_move(a, before - n))
		return 0;
	return n;
}

void account_reformat(struct account *a)
{
	purse_gave_up(a->ledger);
	ledger_format(a->ledger, a->name);
	CRASH_POINT(REFORMAT_EMPTIED);
	members_clear(a);
	memset(a->orphan, 0, sizeof a->orphan);
	memset(a->parent, 0, sizeof a->parent);
	a->doubts = a->orphans = a->dying = 0;
	a->unseen_slot = a->unseen = a->drift = 0;
	a->births = 0;
	a->damaged = false;
	ledger_begin(a);
}

struct pool_account account_in_pool(struct account *a)
{
	struct pool_account p = { .limit = a->policy.limit, .guarantee = a->policy.guarantee,
				  .granted = a->granted, .used = a->granted,
				  .observe = a->policy.mode == ACCOUNT_OBSERVE };
	uint64_t word = purse_read(&a->ledger->header.purse);
	if (!a->damaged && PURSE_GRANTED(word) == a->granted && PURSE_USED(word) <= a->granted)
		p.used = a->counted = PURSE_USED(word);
	else if (p.observe)
		p.used = a->counted;
	return p;
}
