/* SPDX-License-Identifier: MIT */
/* Forks let in on credit (fork = N%): a child pays a part of what it inherits, because most of it
 * is shared with its parent and stays so. The broker follows what is shared no more - pages that
 * either has written to since - and charges it to the account for the child. When the account
 * cannot pay, the child goes, by the rule that matches it; its parent never. */
#pragma once

#include "daemon/account.h"

struct broker;

/* Looking may take this part of the broker's time. */
#define CREDIT_PARTS 20u

/* Borrowers are looked at this often, where that does not take more. */
#define CREDIT_NS (5 * 1000000ull)

/* Room that is kept for everybody else: a part of the account's limit, or half of what there was
 * when the child came, if that is less. A borrower that would take it goes before its parent is
 * refused. */
#define CREDIT_ROOM_PARTS 16u

/* A larger process is not looked through (daemon/audit.h says the same): what it and its parent
 * faulted in is believed to be shared no more. */
#define CREDIT_LARGE_PAGES ((uint64_t)1 << 18)

/* Member `s` is about to be refused for the limit of its account. If others live there on credit, one
 * that may go goes; true: it does, and there will be room in a moment. Not for a borrower itself. */
bool credit_call(struct broker *b, struct account *a, uint32_t s);

/* The account gives no credit any more, or its books are not to be trusted: nobody looks after who
 * was stopped for it, who therefore goes on. */
void credit_leave(struct broker *b, struct account *a);

/* Looks for borrowers in every account whose forks are on credit, and at each. For the tick. */
void credit_tick(struct broker *b);

/* Looks at them again, if there are any and it is time. For every turn of the loop; and when that
 * will be, or NEVER. */
void credit_turn(struct broker *b);
uint64_t credit_next_ns(const struct broker *b);
