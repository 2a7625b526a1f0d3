/* SPDX-License-Identifier: MIT */
/* The broker's own record of what it granted and to whom, which no member ever maps.
 *
 * A ledger is written by its members too, so after a crash it cannot be asked how much
 * its account had been granted: it could claim the whole pool; nor who was in it: it could
 * name anybody. The books are a memfd of
 * the broker's alone and travel with the ledgers from one broker to the next (keeper, or
 * the service manager's descriptor store). */
#pragma once

#include "daemon/config.h"

#define BOOKS_MAGIC 0x314b4f4f424c5053ull
#define BOOKS_VERSION 3u
#define BOOKS_ACCOUNTS 96u /* those of a configuration, and some that have left it but have members */

/* One account. `granted` is what its ledger says, except while it is being changed: then
 * it is this or `next`. The broker writes `next` first, then the ledger, then `granted`. */
struct book {
	char name[ACCOUNT_NAME_BYTES]; /* empty: free */
	uint64_t inode;                /* of its ledger's memfd */
	uint64_t step;                 /* the broker's last signature in that ledger */
	uint32_t granted;
	uint32_t next;
	struct policy policy;
	uint32_t noted; /* slots from this one on were never watched */
	uint32_t reserved;
};

#define BOOKS_FROZEN 256u

/* A process that is stopped until there is memory again. */
struct book_frozen {
	int32_t pid; /* 0: none */
	uint32_t reserved;
	uint64_t start_ticks;
};

struct books_head {
	uint64_t magic;
	uint32_t version;
	uint32_t accounts; /* BOOKS_ACCOUNTS */
};

struct books {
	struct books_head head;
	struct book book[BOOKS_ACCOUNTS];
	struct book_frozen frozen[BOOKS_FROZEN];
	/* Who is watched in each slot, in one word; 0: nobody. Its pages are there once they are used. */
	uint64_t watched[BOOKS_ACCOUNTS][LEDGER_SLOTS];
};

/* New, empty books. 0, `ret_fd` and `ret`, both the caller's for ever; or -errno. */
int books_create(int *ret_fd, struct books **ret);

/* The books of a broker before us. 0 and `ret`; -EBADMSG when they are none, or of
 * another version; or -errno. The descriptor stays the caller's. */
int books_map(int fd, struct books **ret);

/* The entry whose ledger has that inode, or NULL. */
struct book *books_find(struct books *b, uint64_t inode);

/* Notes who is watched in slot `s` of entry `i`; pid 0: nobody is. */
void books_note(struct books *b, uint32_t i, uint32_t s, int32_t pid, uint64_t start_ticks);

/* Is that very process noted there? */
bool books_know(const struct books *b, uint32_t i, uint32_t s, int32_t pid, uint64_t start_ticks);
