/* SPDX-License-Identifier: MIT */
/* The broker as one object: everything it knows, in fixed tables, so that after the start
 * it never allocates. One thread; whoever is handed a struct broker may touch all of it. */
#pragma once

#include "daemon/account.h"
#include "daemon/killer/killer.h"
#include "daemon/peer.h"
#include "daemon/registry.h"
#include "daemon/unattached.h"

#define NS_PER_MS 1000000ull
#define NS_PER_S 1000000000ull
#define NEVER UINT64_MAX

#define TICK_NS (25 * NS_PER_MS)  /* births and doubts are looked at this often while there are members */
#define QUIET_TICK_NS (90 * NS_PER_MS) /* or this often, when nobody has come or gone for CALM_NS */
#define CALM_TICK_NS (500 * NS_PER_MS) /* or this, when nothing moves at all: who forks knocks (ledger.h:calm) */
#define CALM_NS NS_PER_S
#define SLOW_NS NS_PER_S          /* SysV segments, grants on their way to a new policy */
/* A transfer is tried this often (reserve/purse.h): 20 ms at worst, and more than 64 honest
 * members at once could make fail. */
#define PURSE_TRIES 16384u
#define LOOK_NS (250 * NS_PER_MS) /* who still maps a damaged ledger? */

struct broker {
	struct config config; /* in force */
	struct account account[BOOKS_ACCOUNTS];
	uint32_t places; /* one above the highest of them that ever was an account: where looking may stop */
	struct books *books;
	int books_fd;
	struct registry registry;
	struct peers peers;

	uid_t uid; /* our own: always admitted, like root */
	uint64_t now_ns;   /* CLOCK_MONOTONIC, as of this turn of the loop */
	uint64_t start_ns; /* CLOCK_REALTIME */
	uint64_t tick_ns, slow_ns, look_ns; /* when each was last done */
	uint64_t busy_ns;     /* somebody came or went, or knocked */
	uint64_t every_ns;    /* from the last tick to the next, at most */
	uint32_t borrowers;   /* when last looked at, at: */
	uint64_t credit_ns;
	uint64_t audit_ns;    /* the next round of the audit begins */
	int64_t counting_ns;  /* how long processes may still be counted in full; below 0: spent ahead */
	uint64_t counted_ns;  /* when that was last added to */
	uint32_t audit_first, audit_done; /* places in the tables: where the round began, how many it has seen */
	uint32_t audit_next;  /* where the next one begins */
	uint32_t audit_left;  /* members still to be looked at in this tick */
	uint32_t audit_round; /* counts them */
	struct unattached unattached;
	struct killer killer;
	uint64_t joined;      /* members let in since the start */
	uint32_t turned_away;
	bool keeper_stale; /* the ledgers to keep have changed */
	uint32_t gone;     /* of those, how many need not be kept any more: their inodes */
	uint64_t gone_inode[BOOKS_ACCOUNTS];
	struct member member[BOOKS_ACCOUNTS][LEDGER_SLOTS]; /* apart, so that accounts stand close together */
};

/* What is due within this much of its time is done together with what is due now: a wake costs
 * more than most of what it is for. Less than half, or it would be done twice as often. */
static inline uint64_t early_by(uint64_t every_ns)
{
	return every_ns * 9 / 20;
}

/* An empty broker: books and an epoll for members, no socket, no accounts. 0 or -errno. */
int broker_init(struct broker *b);

/* Takes over a configuration, at start or at a reload: creates, changes and retires
 * accounts. 0, or -errno when an account could not be made (it is logged; the others are
 * in force). */
int broker_configure(struct broker *b, const struct config *config);

/* The account of that name, or NULL; also one that is retired. */
struct account *broker_find(struct broker *b, const char *name);

/* What has to be done without being asked, whatever is due by now_ns. */
void broker_tick(struct broker *b);

/* When it should be called next, CLOCK_MONOTONIC, or NEVER. */
uint64_t broker_next_ns(const struct broker *b);

/* Was it last done `every` nanoseconds ago, or before? Then it is done now. */
bool is_due(uint64_t now, uint64_t *last, uint64_t every);

/* A clock of clock_gettime(2), in nanoseconds. */
uint64_t clock_ns(int clock);
