/* SPDX-License-Identifier: MIT */
/* This process as a member: whether it is one, of which ledger, in which slot; and the
 * lock for acting in the slot's name. State is per address space: a fork gets a copy
 * and must find its own slot, a vfork child shares its parent's and is right to. */
#pragma once

#include "reserve/embryo.h"
#include "reserve/gather.h"
#include "reserve/ledger.h"
#include "shim/lock.h"

enum self_state {
	SELF_EARLY,  /* before our constructor: charges are counted, nothing is refused */
	SELF_MEMBER, /* accounted */
	SELF_OPEN,   /* no account and the policy lets it run: everything passes, uncounted */
	SELF_STATE_N
};

#define FORKS 16 /* under way at once; a child beyond that pays when it wakes */

/* All that is written to at every fork, in the parent or in the child, is in here: the page it lies in
 * is copied each time. */
struct self {
	enum self_state state;
	uint32_t slot;
	uint32_t generation;
	struct ledger *ledger;
	uint64_t inode; /* of its file */
	/* 1 in the address space that set it, 0 in a copy of it made by any kind of fork
	 * (MADV_WIPEONFORK, man 2 madvise); getpid() cannot tell a vfork child from one. */
	volatile uint32_t *token;
	/* inflight:16 | pages:48. Pages charged to this address space, and how many
	 * threads are between looking for a pending fork and counting what they charged
	 * (shim/charge.c). A fork copies it with everything else, so the child knows
	 * exactly what it inherited. */
	uint64_t mine;
	int32_t pid;        /* as this process sees itself */
	int32_t broker_pid; /* as the broker sees it; differs in another pid namespace */
	bool may_be_open;   /* the policy where there is no broker (ENV_NO_BROKER) */
	struct lock slot_lock, break_lock; /* shim/self.c, shim/remap.c */
	/* Of shim/charge.c. Forks under way, begun:32 | covered:32, in one word so that "is there an embryo
	 * for each" is one load; generation:32 | slot + 1:32 of each embryo that is being forked into, 0: no
	 * entry; charges that a handler jumped out of, which never end; how often in a row what had been
	 * returned was fetched again, and whether something was. */
	uint64_t forks, fork_embryo[FORKS];
	uint32_t abandoned, regrets;
	bool trimmed;
	bool forks_alone; /* shim/atfork.c */
	char account[ACCOUNT_NAME_BYTES];
	char socket[108];
} __attribute__((aligned(512))); /* in one page, as far as 512 bytes reach */

_Static_assert(sizeof(struct self) == 512, "all of it in one page");
extern struct self self;

#define SELF_MINE_PAGES(word) ((word) & ((1ull << 48) - 1))
#define SELF_MINE_INFLIGHT(word) ((uint32_t)((word) >> 48))
#define SELF_INFLIGHT_ONE (1ull << 48)

/* Acting for the slot: one thread at a time, with every signal blocked, because a
 * handler that allocates would otherwise wait for its own thread. A holder that died (a
 * vfork child) is replaced and what it left open is settled. False after 2 s of waiting for
 * a holder that is alive, and when our slot was given up: the caller refuses. */
struct self_lock {
	uint64_t signals;
};
bool self_lock(struct self_lock *ret);
void self_unlock(const struct self_lock *lock);

/* The same for a thread that has blocked every signal already. */
bool self_lock_blocked(void);
void self_unlock_blocked(void);

/* The means of gathering in this slot's name. Only between self_lock and self_unlock. */
struct gather self_gather(void);

/* Is this address space a copy that has no slot of its own yet? */
static inline bool self_is_copy(void)
{
	return self.token != NULL && *self.token == 0;
}

/* Has our slot been given up while we are still here? Then we are a child of vfork whose parent
 * was killed: what this address space had is settled, and the slot may be somebody else's. */
static inline bool self_is_buried(void)
{
	return self.state == SELF_MEMBER && SLOT_GEN(slot_read(self.ledger, self.slot)) != self.generation;
}

/* Asks the broker for a slot in `account`, and maps its ledger: self.ledger and who we are in it. Our
 * doors must let that mapping pass, so we are no member meanwhile. 0; -errno or enum status
 * (shim/broker.h:broker_join), and nothing has changed. */
struct reply_join;
int self_enter(const char *account, bool wait, struct reply_join *ret);

/* Gives a copy a slot of its own: the embryo its parent conceived for it (`e`, may be
 * NULL when it was made by a fork we did not see coming). Called by the atfork child
 * handler and, as a backstop, by the first charge of a copy. */
void self_become_child(const struct embryo *e);

/* The same in the child of a fork that we did see coming: it is a copy unless it has charged sooner,
 * and every signal is blocked (shim/fork.c). */
void self_born(const struct embryo *e);

/* Joins the account named by the environment. Called by the constructor, once, with no
 * other thread running. Ends the process (exit 125, one sentence) when it may not run
 * unaccounted. */
void self_join(void);
