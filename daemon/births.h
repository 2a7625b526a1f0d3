/* SPDX-License-Identifier: MIT */
/* Children are found, not told: nobody could tell of a child that is killed a moment
 * after it was born. Whoever forks rings header.births, and the broker looks. */
#pragma once

#include "daemon/account.h"

struct broker;
struct proc_stat;

/* Has the doorbell moved since the last look? */
bool births_have_rung(const struct account *a);

/* Has it, or is there something to be looked at again? */
bool births_are_due(const struct account *a);

/* One look at every slot: processes not known yet are watched, or their slots doomed when
 * they are gone or cannot be who they say. What is not clear is looked at again after
 * BIRTHS_DOUBT_NS. A slot that no honest member writes damages the account.
 *
 * `inherited`: right after a restart, when it is proof enough that the last broker watched the
 * process in this slot: one that called execve no longer maps the ledger. */
void births_look(struct broker *b, struct account *a, bool inherited);

/* Reading /proc is dear, and so is reaping; a member may invent slots and ring the bell
 * without end. So each account has a budget of the broker's CPU time for what turns out to be
 * nothing: a tenth, ATTENTION_MOST_NS at once. What its own slots cost beyond it waits, and
 * nobody else does. */
bool attention_is_left(const struct broker *b, struct account *a);
void attention_pay(struct account *a, uint64_t ns);

#define ATTENTION_MOST_NS (50 * NS_PER_MS)
#define ATTENTION_PARTS 10
#define ATTENTION_GONE_NS 2000 /* asking for a process that does not exist: too short to be measured */

#define BIRTHS_DOUBT_NS (20 * NS_PER_MS)
/* A slot whose process has not said who it is (another pid namespace, OPCODE_ADOPT). */
#define BIRTHS_PATIENCE_NS (1000 * NS_PER_MS)

/* Does a watched slot, of which `word` is the state, turn out to be another process's than
 * the one that was guessed? A child says who it is when it adopts its slot. */
bool guess_is_wrong(const struct account *a, uint32_t s, uint64_t word);

/* The pid a slot tells, of which `word` is the state; 0 when it tells none, or one that is of
 * another pid namespace (its own, or its parent's, who wrote it) and was not looked up yet. */
int32_t births_pid(const struct account *a, uint32_t s, uint64_t word);

/* Watches `pid`, of user `uid`, in slot `s` from now on, and writes down who it is. */
void births_enter(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, uid_t uid,
		  int pidfd);

/* The same when its /proc/PID/stat has been read, which is dear, and is known to be its own. */
void births_enter_as(struct broker *b, struct account *a, uint32_t s, uint64_t word, int32_t pid, uid_t uid,
		     int pidfd, const struct proc_stat *st);
