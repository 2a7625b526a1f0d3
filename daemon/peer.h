/* SPDX-License-Identifier: MIT */
/* Those who are connected: one request, one reply, never waited for. A peer is nobody
 * until the kernel says who it is; and a socket outlives who connected it, in other hands. */
#pragma once

#include <sys/types.h>

#include "include/protocol.h"

#define PEERS 256u
#define PEER_SILENCE_NS (2000 * 1000000ull) /* then it is closed */
#define PEER_ACCEPTS 64                     /* at one turn of the loop */

struct broker;

struct peer {
	int fd; /* -1: this place is free */
	int32_t pid; /* when it connected; the number may be another's by now (peer_pidfd) */
	uid_t uid;
	uint64_t start_ticks; /* of its process, where the kernel gives no pidfd of it; else 0 */
	uint64_t since_ns; /* silent since */
};

struct peers {
	int epoll;       /* who listens for us; not ours to close */
	uint32_t source; /* added to a peer's index in epoll's data */
	uint32_t n;
	bool has_pidfds; /* the kernel has given one of a peer: SO_PEERPIDFD, since Linux 6.5 */
	struct peer peer[PEERS];
};

void peers_init(struct peers *p, int epoll, uint32_t source);

/* Accepts who is waiting. One who has spoken already is answered before the next is
 * looked at, so a crowd of the silent costs it nothing. -EMFILE when there is no
 * descriptor left, or 0. */
int peers_accept(struct broker *b, int listener);

/* Peer `i` has said something, or hung up. */
void peer_ready(struct broker *b, uint32_t i);

/* A pidfd of the process that connected, the caller's. -ESRCH: it has ended, or is not to be seen
 * from our pid namespace; or -errno, when it cannot be asked for. */
int peer_pidfd(const struct peer *peer);

/* Is `pid` still its number? 0, or -errno as above. */
int peer_check(const struct peer *peer);

/* Closes who has been silent too long. */
void peers_expire(struct broker *b);

/* When that will be, or UINT64_MAX. */
uint64_t peers_next_ns(const struct peers *p);

/* Hangs up on everybody. */
void peers_close(struct peers *p);
