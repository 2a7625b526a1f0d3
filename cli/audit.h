/* SPDX-License-Identifier: MIT */
/* One member's charge beside the kernel's own count of it. */
#pragma once

#include "cli/account.h"

enum verdict {
	VERDICT_OK,         /* charge >= the kernel's count */
	VERDICT_UNDER,      /* charge below it: invariant 2 is broken (docs/solvent.7) */
	VERDICT_UNSETTLED,  /* below it each time, but the charge moved while we counted */
	VERDICT_EMBRYO,     /* a fork under way: nothing to count yet */
	VERDICT_GONE,       /* it ended while we looked */
	VERDICT_FOREIGN,    /* of another pid namespace: cannot be looked up from here */
	VERDICT_UNREADABLE, /* its smaps are not ours to read */
	VERDICT_N
};

struct finding {
	enum verdict verdict;
	struct member member;  /* as last read; used: the larger of before and after the count */
	uint64_t kernel;       /* pages in `ac` mappings; with OK, UNDER and UNSETTLED */
	uint64_t statm;        /* private writable pages by statm; likewise */
};

/* How the charge and the count are obtained; the real ones read a ledger and /proc. */
struct audit_source {
	bool (*member)(void *context, struct member *ret); /* false: no longer that member */
	void (*wait)(void *context); /* gives the broker's own audit time to find it, too */
	int (*kernel)(void *context, int32_t pid, uint64_t *ret_pages);
	int (*statm)(void *context, int32_t pid, uint64_t *ret_pages);
	void *context;
};

/* Compares. A member is counted up to AUDIT_TRIES times, with a pause after each of the
 * later ones, before it is called under; and is called so only if the charge held still
 * during one of the counts. */
#define AUDIT_TRIES 16
#define AUDIT_TRIES_AT_ONCE 4

/* All that covers the kernel's count: the charge, and what is not charged for a reason that
 * has a name (docs/solvent.7). Pages. */
uint64_t audit_covered(const struct member *m);
struct finding audit_compare(const struct audit_source *source, const struct member *member);

/* The member of slot `m->slot` of that ledger, against /proc. */
struct finding audit_member(const struct ledger *l, const struct member *m);

const char *verdict_name(enum verdict verdict);
