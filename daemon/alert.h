/* SPDX-License-Identifier: MIT */
/* An account is told that memory is getting short: its own, by the budget, or everybody's. What
 * Solaris and AIX call SIGDANGER. Members' heaps give back what they keep, when they are next used.
 * And three ways to the program itself, each as far as somebody wants it: a word in the
 * ledger that a program waits for (solvent_on_alert), a signal to whoever handles it, a command. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Tells all members of the account. Not at a crossing before whoever must go has gone: it looks
 * into /proc for who handles the signal. */
void alert_send(struct broker *b, struct account *a, enum alert_level level);

/* What the members' heaps keep is wanted; again and again, as long as that is so. */
void alert_heaps(struct account *a);

/* Tells it when it has come up to its `warn`; and again only when it was a sixteenth below. */
void alert_budget(struct broker *b, struct account *a);
#define ALERT_PARTS 16u

/* A member may come up to it as often as it likes: its account's command is not run more often. */
#define ALERT_COMMAND_NS (10000 * 1000000ull)

/* Tells the accounts that have members in watch `w`. */
void alert_watch(struct broker *b, uint32_t w, enum alert_level level);

#define ALERT_WORD "command" /* the helper's task: "ACCOUNT\nLEVEL\nUSED\nLIMIT\nCOMMAND" */

/* What the helper's child does: runs the command by the shell. */
void alert_task(const char *text, int fd);
