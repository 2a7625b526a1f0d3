/* SPDX-License-Identifier: MIT */
/* Processes of an account that have no shim: they descend from a member, or run in the
 * account's control group, and could not be preloaded. Nothing can be refused to them, but
 * they are counted and shown. */
#pragma once

#include "daemon/account.h"
#include "daemon/proc.h"

struct broker;

/* A program may take this long from execve to joining before it is held for one that will
 * not; it may still join later. */
#define UNATTACHED_GRACE_NS (200 * 1000000ull)

/* /proc is looked through this often, less often where execve is heard of (what is left to be
 * found are copies that never called it), or where it would take more than one part in
 * UNATTACHED_PARTS of the broker's time; and in steps. */
#define UNATTACHED_NS (500 * 1000000ull)
#define UNATTACHED_HEARING_NS (2000 * 1000000ull)
#define UNATTACHED_CALM_NS (5000 * 1000000ull) /* and where nobody has come or gone for a while; */
#define UNATTACHED_CALMER_NS (15000 * 1000000ull) /* but who is moved into a control group is not heard of */
#define UNATTACHED_PARTS 100u
#define UNATTACHED_STEP_NS (500 * 1000ull)

#define UNATTACHED_NEWCOMERS 128u

/* Who was nobody's, or in its parent's memory, is asked for again in one of so many rounds. */
#define UNATTACHED_ROUNDS 8u
#define UNATTACHED_STRANGERS 4096u

struct unattached {
	bool walking;
	bool hears; /* something was heard from the connector */
	struct proc_walk walk;
	uint64_t next_ns, spent_ns; /* of the walk */
	uint32_t round;
	int32_t stranger[UNATTACHED_STRANGERS]; /* pids that were nobody's when last looked at, by their remainder */
	struct newcomer {
		int32_t pid; /* 0: free */
		uint32_t round; /* last seen in */
		uint64_t start_ticks;
		uint64_t since_ns;
	} newcomer[UNATTACHED_NEWCOMERS];
};

/* Goes on looking for them. For the tick. */
void unattached_tick(struct broker *b);

/* When it wants to, of its own accord; NEVER: what there may be to find is found while there are
 * members, or not at all. */
uint64_t unattached_next_ns(const struct broker *b);

/* Hears who called execve (daemon/connector.h), and looks at those that belong to an account. */
void unattached_hear(struct broker *b, int connector);

/* Slot `s`, watched and UNATTACHED, was the last broker's. False: that one was killed before it had seen
 * that its process is attached after all, and so it is. */
bool unattached_resume(struct broker *b, struct account *a, uint32_t s);

/* Has the attached member `s` called execve and become a program without a shim? True: yes,
 * or so it seems, and there is nothing to audit; if it stays so, it is made unattached. */
bool unattached_turn(struct broker *b, struct account *a, uint32_t s);
