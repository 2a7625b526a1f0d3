/* SPDX-License-Identifier: MIT */
/* Who woke us, and for what: epoll over the listening socket, the peers, the members'
 * pidfds, signals, and a configuration being read; and when. */
#pragma once

#include "daemon/broker.h"
#include "daemon/helper.h"
#include "daemon/keeper.h"
#include "daemon/listen.h"
#include "daemon/notify.h"
#include "daemon/reload.h"

#define LONELY_NS (5 * NS_PER_S)   /* a private broker nobody ever joins ends after this */
#define LINGER_NS (300 * NS_PER_MS) /* and this long after its last member went */

struct loop {
	struct broker *broker;
	struct listener listener;
	struct state state; /* dir -1: none */
	struct keeper keeper;
	struct notify notify;
	struct helper helper;
	struct reload reload;
	const char *config_file;
	bool until_empty;

	int epoll, signals;
	bool ending;
	bool deaf; /* out of descriptors: the listener is not listened to for a tick */
	uint64_t deaf_ns; /* since */
	uint64_t alive_ns;    /* last sign of life to the service manager */
	uint64_t occupied_ns; /* when there last was a member, or the start */
	uint64_t keep_ns;     /* a keeper is not started again before */
	int connector;        /* daemon/connector.h; -1: none */
	bool unkept;          /* there is none, and that was said */
};

/* Makes epoll, timer and signalfd, and registers what `l` holds; signals are blocked from
 * here on. 0 or -errno. */
int loop_init(struct loop *l);

/* Holds the ledgers where the next broker finds them: service manager or keeper. */
void loop_keep(struct loop *l);

/* Runs until it is told to end, or nobody is left in a private broker. */
void loop_run(struct loop *l);

/* Ends what must not outlive us; members live on. */
void loop_close(struct loop *l);
