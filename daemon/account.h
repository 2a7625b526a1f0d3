/* SPDX-License-Identifier: MIT */
/* One account as the broker sees it: its ledger, what it may have, what it was granted,
 * and the processes watched in it. The broker's copies count; a word of the ledger is read
 * once, checked against them, and used. */
#pragma once

#include "daemon/books.h"
#include "daemon/pool.h"
#include "reserve/ledger.h"

enum member_life {
	MEMBER_NONE = 0,
	MEMBER_DOUBTED, /* the slot says something that is looked at again before it is acted on */
	MEMBER_WATCHED, /* a live process, known by its pidfd */
	MEMBER_DYING,   /* the process is gone; the slot waits to be reaped */
	MEMBER_OURS,    /* nobody's: the broker charges what is unseen of all members here */
};

/* What the broker knows of one slot. */
struct member {
	int32_t pid;
	int32_t pidfd;        /* -1 in a watched member: no descriptor was left, asked on every tick */
	int32_t statm;        /* kept open from its second audit on; below 0: it is not */
	uint8_t quiet;        /* audits that found nothing new, in a row */
	uint64_t start_ticks; /* 0: unknown */
	uint64_t since_ns;    /* doubted, or not attached any more, since */
	uint32_t generation;  /* of the slot, when we looked */
	uint32_t chain;       /* the next member in the bucket of its pid: place + 1 */
	uint32_t queue;       /* the next of those dying: slot + 1 */
	uid_t user;           /* effective, when it was entered; 0: root, or not asked (daemon/unattached.c) */
	uint8_t life;         /* enum member_life */
	bool embryo;          /* dying: an embryo when it was given up */
	bool guessed;         /* hearsay: who is in the slot was told by its parent, or guessed by us */
	bool alleged;         /* dying, and never watched: only the ledger said there was somebody */
	bool unattached;      /* the process has no shim; the broker acts for the slot */

	/* daemon/audit.c */
	bool counted;      /* `apart` holds */
	bool looked_at;    /* not counted, and `apart` is the quick count at the last look */
	bool has_left;     /* it does not map the ledger any more, when last looked at */
	uint32_t unseen;   /* pages charged for it by the broker */
	uint32_t drift;    /* pages that should be, and the account cannot pay */
	uint32_t found;    /* what the last count found of it; more than both: it is looked at again */
	int64_t apart;     /* the kernel's quick count less its own charge, when counted */
	uint64_t count_ns; /* not counted again before */

	/* daemon/credit.c */
	uint32_t lent;     /* pages charged for it by the broker: let in on credit, and its own by now */
	uint32_t room;     /* pages that are kept for others while it is there */
	bool frozen;       /* by us */
	bool called;       /* told to end at once, so that another is not refused */
	uint64_t credit_ns; /* not looked at again before; 0: never yet */
	uint64_t asked_ns; /* told that it must go; 0: not */
	uint64_t faults, seen_faults; /* its and its parent's, at first and last */
};

struct account {
	char name[ACCOUNT_NAME_BYTES]; /* empty: this place is free */
	struct ledger *ledger;
	int fd;
	dev_t device;
	uint64_t inode; /* with its device, one file */
	struct book *book;
	struct policy policy;
	struct admission admission;
	struct warning warning;
	bool warned; /* it has come up to its warn, and was told */
	uint64_t command_next_ns[ALERT_LEVEL_N]; /* its command is not run before */
	uint32_t granted; /* what header.purse must say */
	uint32_t counted; /* its used, when last seen sound: what observe mode counts for */
	uint32_t turned_away;
	bool retired;   /* no longer configured; kept while it has members */
	bool unsettled; /* its grant is not where its policy wants it yet */
	bool unchecked; /* emptied since its books were last looked through, or taken over */

	uint64_t births;  /* the doorbell, as last answered */
	uint32_t members; /* watched */
	uint32_t polled;  /* of those, without a pidfd */
	uint32_t doubts;  /* slots to be looked at again */
	uint32_t dying;   /* queue: slot + 1 */
	uint32_t orphans; /* bits in `orphan` */
	uint64_t orphan[HOLDER_WORDS]; /* slots without a process we know and without an owner */
	int64_t orphan_place; /* where the search for their processes goes on; 0: at the beginning */
	uint64_t parent[HOLDER_WORDS]; /* slots that owned an embryo when last looked at */

	uint32_t unseen_slot; /* the slot that is ours + 1; 0: none */
	uint32_t unseen, drift; /* sums of the members' */

	int64_t attention_ns;   /* how long /proc may still be read on its behalf (daemon/births.h) */
	uint64_t attended_ns;   /* when that was last added to */
	uint64_t maps_next_ns;  /* whether its members still map the ledger is not asked before */

	bool damaged;
	uint64_t damage_next_ns; /* not looked at before */
	int32_t damage_pid; /* the process last seen to map it; 0: none */
	struct member *member; /* LEDGER_SLOTS of them; the broker's, and this place's for ever */
};

/* A new account with an empty ledger, granted its guarantee (everything in observe mode).
 * 0 or -errno. `book` is its place in the books. */
int account_create(struct account *a, struct book *book, const char *name, const struct policy *policy);

/* Takes over the ledger `fd` (ours from now on) that `book` tells of. 0, with `damaged` set
 * when it is not as the books say; -EBADMSG when it cannot be a ledger; or -errno. */
int account_adopt(struct account *a, struct book *book, int fd);

/* Unmaps and closes; the place is free again. */
void account_forget(struct account *a);

/* Is everything in the header that only the broker writes as the broker wrote it? */
bool account_is_sound(const struct account *a);

/* Is a ledger without members as it must be: no slot taken, nothing charged but SysV
 * segments that still exist? NULL, or what is wrong with it. */
const char *account_unclean(const struct account *a);

/* Empties the tables of a clean ledger that nobody is in of what was left in them. */
void account_sweep(struct account *a);

/* The broker's copy of the policy, the books' and the header's. The grant follows later
 * (daemon/funds.h). */
void account_set_policy(struct account *a, const struct policy *policy);

/* Grants `pages` more. False: the ledger was not as it must be. */
bool account_grant(struct account *a, uint32_t pages);

/* Takes back up to `pages` of what it does not use. Returns how many. */
uint32_t account_reclaim(struct account *a, uint32_t pages);

/* Starts the ledger anew: empty, granted the guarantee. Nobody may have it mapped. */
void account_reformat(struct account *a);

/* Its line in the pool's table. */
struct pool_account account_in_pool(struct account *a);
