/* SPDX-License-Identifier: MIT */
/* Who may be a member, and becoming one. */
#pragma once

#include "daemon/request.h"

struct account;

/* Lets the peer into the account of that name (empty: the only one, or "default"): fills
 * `r` and returns STATUS_OK, or why not. A process that calls again after execve gets its
 * old slot; one that had a slot in another account leaves that. */
enum status join(struct broker *b, const struct peer *peer, const char *name, struct reply *r);

/* Counts and logs a no. */
void join_turned_away(struct broker *b, const struct peer *peer, const char *name, enum status status);

/* A child says that the slot its parent conceived for it is its own, because its pid means
 * nothing to the parent. */
enum status adopt(struct broker *b, struct account *a, const struct peer *peer, uint32_t s, uint32_t generation,
		  struct reply *r);
