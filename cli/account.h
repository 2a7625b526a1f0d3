/* SPDX-License-Identifier: MIT */
/* The accounts a broker shows us, each with its ledger mapped read-only, and what stands
 * in one. A ledger is written by its members at any moment and may hold nonsense: every
 * word is read once, into the structs below. */
#pragma once

#include <sys/types.h>

#include "include/protocol.h"

struct account {
	char name[ACCOUNT_NAME_BYTES]; /* clean, for people */
	struct reply_account reply;
	ino_t inode;           /* tells one ledger from the next of the same name */
	struct ledger *ledger; /* NULL: it cannot be read */
};

struct accounts {
	struct reply_pool pool;
	struct account *at;
	size_t n;
};

/* Asks the broker at `socket` for the pool and for every account, or only for the one
 * named `only` if that is not NULL. 0 and `ret` (accounts_close releases it), -ENODATA when
 * there is no such account, or a negative error of client.h. */
int accounts_open(const char *socket, const char *only, struct accounts *ret);
void accounts_close(struct accounts *a);
void account_close(struct account *a);

/* Is it the one of that name? What is printed of a name may be another's, too. */
bool account_is(const struct account *a, const char *name);

/* Why the account's figures are not to be had, or not to be trusted; NULL: they are fine. */
const char *account_trouble(const struct account *a);

/* As accounts_open, with the sentence for people when it fails. */
int accounts_open_or_complain(const char *socket, const char *only, struct accounts *ret);

/* --- what stands in a ledger --- */

/* The header's figures at one moment. Pages, and counters. */
struct account_figures {
	uint32_t limit, guarantee, warn, mode, fork_percent;
	uint32_t granted; /* by the broker */
	uint64_t used;    /* ledger_used(): without idle slack */
	uint32_t peak;
	uint64_t refusals, observed, joins, forks;
	uint32_t unseen, drift;
	uint64_t refusal_head;
};

void account_read(const struct ledger *l, struct account_figures *ret);

struct member {
	uint32_t slot;
	uint32_t generation;
	bool embryo; /* claimed by a fork that is under way; not yet a process of its own */
	bool unattached; /* it has no shim (cli/reason.h); the broker charges what the kernel counts */
	int32_t pid;
	uint32_t uid;
	uint32_t flags;
	uint32_t used;    /* its whole charge, `unseen` included; an embryo's is all it was granted */
	uint32_t unseen;  /* charged by the broker, whose audit found it */
	uint32_t drift;   /* not charged: the account could not pay what the audit found */
	uint32_t soft;    /* of its heap: given back, and counted by the kernel still */
	uint32_t credit;  /* let in without paying for (fork = N%) */
	uint32_t granted;
	uint32_t peak;
	uint32_t refusals;
	uint64_t start_ticks;
	uint64_t joined_ns;
	char comm[COMM_BYTES]; /* raw: may lack its NUL */
	uint32_t category[CATEGORY_N];
};

/* The member in slot `s`. False: there is none, or it left while we read. */
bool member_read(const struct ledger *l, uint32_t s, struct member *ret);

struct object_view {
	enum object_kind kind;
	uint32_t pages;
	uint32_t holders;
};

/* The part of the shared objects that falls to the member in slot `s`: of each that it holds,
 * the pages divided by those who do. */
uint64_t objects_share(const struct ledger *l, uint32_t s);

/* The shared object number `o`. False: nothing is charged there. */
bool object_read(const struct ledger *l, uint32_t o, struct object_view *ret);
