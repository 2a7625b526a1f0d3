/* SPDX-License-Identifier: MIT */
/* The state directory: a lock, so that one broker uses it, and a note of where the
 * ledgers are kept, so that the next one finds them. */
#pragma once

#include "daemon/books.h"

struct state {
	int dir; /* -1: there is no state directory */
	int lock;
	const char *path; /* for people */
};

/* Descriptors of a broker before us: books and ledgers, and who kept them. */
struct kept {
	int books; /* -1: none */
	uint32_t ledgers;
	int ledger[BOOKS_ACCOUNTS];
	int keeper; /* pidfd of the old keeper, or -1 */
};

/* Opens, or makes with `mode` if it is missing, and locks. 0 and `ret`; -errno after a
 * sentence in the log. */
int state_open(const char *path, mode_t mode, struct state *ret);

/* Writes down that the process `keeper` holds these descriptors under these numbers. */
int state_note(const struct state *s, int32_t keeper, int books, const int *ledger, uint32_t ledgers);

/* What the note says, opened: descriptors that are the caller's now. Empty when there is no
 * note, or its keeper is gone; that is said in the log. */
void state_read(const struct state *s, struct kept *ret);

/* There is nothing to be found any more. */
void state_forget(const struct state *s);
