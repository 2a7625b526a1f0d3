/* SPDX-License-Identifier: MIT */
/* Who goes first. Not a score: an order, each key of which is looked at only where all before it
 * are equal.
 *
 *   1  the rule's order, first to last
 *   2  forks let in on credit before all others
 *   3  what its account (or it, if it is in none) holds beyond its guarantee: more first
 *   4  what its end returns: more first
 *   5  work lost: less CPU time first, in whole seconds; then who was started later
 *   6  the higher pid: no two are equal
 *
 * 3 and 4 count in grains of a 256th of the memory that is watched: who holds a little more
 * is not worse for it. The order is that of OpenVZ's oomguarpages (excess over the guarantee) and
 * of the five goals that Linux's killer once had: lose little work, recover much, kill nobody
 * innocent, kill one, kill whom the user expects (mm/oom_kill.c before 2.6.36).
 *
 * What its end returns: private and swapped pages. What it shares is returned when the last one
 * goes: it counts, once, for a family or an account that goes whole. */
#pragma once

#include "daemon/killer/candidate.h"

enum standing_reason {
	STANDING_RANKED,
	STANDING_IMMUNE, STANDING_BEYOND, STANDING_KERNEL, STANDING_INIT, STANDING_BROKER, /* exempt */
	STANDING_ELSEWHERE, /* not in the memory control group that is short */
	STANDING_NO_RULE,
	STANDING_NEVER,	 /* a rule says so */
	STANDING_LITTLE, /* its end returns less than RANK_FLOOR of the memory that is watched */
	STANDING_DONE,	 /* what its rule does was done to it */
	STANDING_DYING,	 /* it is a victim already */
	STANDING_STUCK,	 /* and it did not end */
	STANDING_REASON_N
};

#define RANK_GRAIN 256u
#define RANK_FLOOR 1024u

/* One unit: a process, or all that its rule takes with it. */
struct standing {
	uint32_t candidate; /* the eldest: a supervisor comes before whom it would start again */
	uint32_t count;	    /* processes */
	uint8_t reason;	    /* enum standing_reason */
	uint8_t rule;	    /* RULES: none */
	uint8_t order, borrower;
	uint32_t over, returns; /* pages */
	uint32_t shared;	/* the most that one of them shares with its family */
	uint32_t cpu_s;
	uint64_t start_ticks;
	uint64_t key; /* of what goes together */
	int32_t pid;
	uint32_t grain;
};

/* Below 0: one goes before the other; never 0 for two pids. */
int standing_compare(const struct standing *one, const struct standing *other);

/* Where everybody stands in watch `w`, whose memory is `whole` pages: one standing for each
 * unit in `ret` (room for ROLL), in no order. How many. */
uint32_t rank(const struct roll *roll, uint32_t w, uint32_t whole, struct standing *ret);

/* Sorts them; those that are not ranked come after, by pid. */
void rank_sort(struct standing *s, uint32_t n);

/* The first of them that is ranked; NULL: nobody is left. */
const struct standing *rank_first(const struct standing *s, uint32_t n);

/* Does the candidate go with that standing? As of the last rank(). */
bool standing_takes(const struct roll *roll, const struct standing *s, uint32_t candidate);

/* The rule that decides about a candidate now; NULL: none matches. */
const struct rule *rank_rule(const struct roll *roll, uint32_t candidate);

/* Why it stands before `next` (NULL: nobody stands after it), or why it is not ranked: half a
 * sentence. */
const char *standing_explain(const struct standing *s, const struct standing *next);
