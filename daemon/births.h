/* SPDX-License-Identifier: MIT */
/* Children are found, not told: nobody could tell of a child that is killed a moment
 * after it was born. Whoever forks rings header.births, and the broker looks. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Has the doorbell moved, or is there something to be looked at again? */
bool births_are_due(const struct account *a);

/* One look at every slot: processes not known yet are watched, or their slots doomed when
 * they are gone or cannot be who they say. What is not clear is looked at again after
 * BIRTHS_DOUBT_NS. A slot that no honest member writes damages the account.
 *
 * `inherited`: right after a restart, when a start time in a slot that fits its pid is
 * proof enough: a process that called execve no longer maps the ledger. */
void births_look(struct broker *b, struct account *a, bool inherited);

#define BIRTHS_DOUBT_NS (20 * NS_PER_MS)
/* A live slot whose process has not said who it is (another pid namespace, OPCODE_ADOPT). */
#define BIRTHS_PATIENCE_NS (1000 * NS_PER_MS)

/* The pid a slot tells, of which `word` is the state; 0 when it tells none, or one of
 * another pid namespace (its own, or its parent's, who wrote it). */
int32_t births_pid(const struct account *a, uint32_t s, uint64_t word);

/* Watches `pid`, of user `uid`, in slot `s` from now on, and writes down who it is. */
void births_enter(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, uid_t uid,
		  int pidfd);
