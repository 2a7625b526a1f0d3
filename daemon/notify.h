/* SPDX-License-Identifier: MIT */
/* The service manager: what sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3) and the
 * descriptor store say over a socket, said by hand. libsystemd would add 3.4 MB of locked
 * memory for it. Without a service manager every call does nothing. */
#pragma once

#include "daemon/state.h"

struct notify {
	int fd;               /* -1: nobody to tell */
	bool stores;          /* the unit has a descriptor store */
	uint64_t watchdog_ns; /* a sign of life is due this often; 0: none is wanted */
};

/* Reads the environment. Call once, before anything is forked. */
void notify_open(struct notify *n);

/* Sends lines such as "READY=1\nSTATUS=..."; lost if nobody reads. */
void notify_say(const struct notify *n, const char *lines);

/* Puts the books and the ledger with that inode into the store, or takes a ledger out. */
void notify_store_books(const struct notify *n, int fd);
void notify_store_ledger(const struct notify *n, int fd, uint64_t inode);
void notify_unstore_ledger(const struct notify *n, uint64_t inode);

/* What was passed at exec: a listening socket (`ret_listener`, or -1), and what a broker
 * before us had put into the store (`ret_kept`). They are the caller's. */
void notify_inherited(int *ret_listener, struct kept *ret_kept);
