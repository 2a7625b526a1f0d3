/* SPDX-License-Identifier: MIT */
/* A broker whose loop is turned by hand, for those who share a process with it. */
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

#include "daemon/broker.h"
#include "daemon/listen.h"
#include "daemon/proc.h"
#include "daemon/settle.h"

static struct broker b;
static struct listener door;

/* How much faster its clock goes than ours. */
static uint64_t turn_hurry = 1;

/* One turn of its loop. */
__attribute__((unused)) static void turn(void)
{
	struct epoll_event e[64];
	b.now_ns = clock_ns(CLOCK_MONOTONIC) * turn_hurry;
	peers_accept(&b, door.fd);
	int n = epoll_wait(b.peers.epoll, e, 64, 0);
	for (int i = 0; i < n; i++)
		peer_ready(&b, e[i].data.u32);
	registry_hear(&b);
	settle_deaths(&b);
	broker_tick(&b);
}
