/* SPDX-License-Identifier: MIT */
/* The answers. One function for each opcode of include/protocol.h. */
#pragma once

#include "daemon/peer.h"

#define REQUEST_BYTES 256 /* the largest request is smaller */

struct reply {
	union {
		struct message head;
		struct reply_join join;
		struct reply_extend extend;
		struct reply_pool pool;
		struct reply_account account;
		struct reply_rank rank;
	};
	size_t bytes;
	int fd;        /* to go with it, or -1; ours to close when `fd_is_temporary` */
	bool fd_is_temporary;
	bool hang_up;  /* nothing more is to be expected from this peer */
	bool new_member; /* the reply lets a member in; should it not arrive, the member leaves again */
	uint32_t place, slot; /* which one: the account's index, and its slot */
};

/* Answers `bytes` of a packet from `peer`. */
void request_answer(struct broker *b, const struct peer *peer, const void *packet, size_t bytes,
		    struct reply *ret);

/* The reply could not be delivered. */
void request_undo(struct broker *b, const struct reply *reply);
