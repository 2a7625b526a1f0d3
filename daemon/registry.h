/* SPDX-License-Identifier: MIT */
/* Who is watched: which process is in which slot, found by pid, and its death heard from
 * its pidfd. A process is in at most one slot of an account. */
#pragma once

#include "daemon/account.h"

#define REGISTRY_BUCKETS 4096u
#define REGISTRY_FDS_SPARE 400 /* descriptors that members may not use: peers, ledgers, /proc */

struct broker;

struct registry {
	int epoll;          /* of the pidfds alone, so that deaths can be heard in the middle of a request */
	uint32_t members;   /* watched, in all accounts */
	uint32_t pidfds, pidfds_most; /* and what else is kept open for members */
	uint32_t bucket[REGISTRY_BUCKETS]; /* place + 1 of the first member */
};

int registry_init(struct registry *r);

/* How many descriptors members may have: all there are but REGISTRY_FDS_SPARE and those of `others`. */
void registry_share(struct registry *r, uint32_t others);

/* The watched member of account `a` with that pid, or NULL. */
struct member *registry_find(struct broker *b, const struct account *a, int32_t pid);

/* The next account after `after` (NULL: the first) where that pid is a watched member. */
struct account *registry_next(struct broker *b, int32_t pid, const struct account *after);

static inline uint32_t member_slot(const struct account *a, const struct member *m)
{
	return (uint32_t)(m - a->member);
}

/* Is there a descriptor left for one more member? */
bool registry_has_room(const struct registry *r);

/* Is the slot somebody's in our books, alive, waiting to be reaped, or our own? Its ledger may say it
 * is free, if somebody wrote that. */
static inline bool member_is_known(const struct account *a, uint32_t s)
{
	return a->member[s].life >= MEMBER_WATCHED;
}

/* A slot that is free, also in our books, claimed in that state. -EAGAIN: there is none;
 * -EBADMSG: the one that was found is a member's, and somebody wrote that it is free. */
int registry_claim(struct broker *b, struct account *a, enum slot_state state);

/* Watches `pid` in slot `s`, not known yet, of which the ledger's state word was `word`.
 * `pidfd` becomes the registry's; -1 when there is none: the member is then asked on every
 * tick. */
void member_watch(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, int pidfd,
		  uint64_t start_ticks);

/* Its process is gone, or the slot is to be treated as if: it is watched no more, and
 * reaped when the account is settled next. Works for slots nobody watched, too. */
void member_doom(struct broker *b, struct account *a, uint32_t s, uint64_t word);

/* The same for one of whom nothing but its ledger tells: the account pays for the reaping. */
void member_doom_alleged(struct broker *b, struct account *a, uint32_t s, uint64_t word);

/* Not watched any more, and nothing to reap. */
void member_unwatch(struct broker *b, struct account *a, uint32_t s);

/* Hears the deaths there are by now, without waiting: every member whose pidfd is
 * readable is doomed. Settling is the caller's next step. */
void registry_hear(struct broker *b);

/* Asks those without a pidfd. */
void registry_poll(struct broker *b, struct account *a);

/* A process is gone when its pidfd is readable: no thread of it runs and its memory is
 * free, whether or not its parent has waited for it (man 2 pidfd_open). */
bool pidfd_is_gone(int pidfd);
