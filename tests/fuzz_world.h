/* SPDX-License-Identifier: MIT */
/* A kernel for a broker under attack. Processes, pidfds, credentials and time are the
 * fuzzer's: what daemon/proc.c and a few calls of libc would say is said here (the linker
 * puts these functions in their place, WORLD in the Makefile), so that an input is the same
 * every time and no process outside is ever looked at, whatever a ledger says. Asking costs
 * time of this world, which is how work is bounded without a clock. */
#pragma once

#include <sys/types.h>

#include "include/base.h"

#define WORLD_PROCESSES 10u
#define WORLD_SEGMENTS 4u /* SysV: ids 1 .. WORLD_SEGMENTS */

struct world_process {
	int32_t pid, parent;
	uid_t uid;
	uint64_t start_ticks;
	uint64_t memory; /* pages, as the kernel counts */
	uint64_t maps; /* inode of the ledger it maps; 0: none */
	int end;       /* what its pidfds are copies of: readable when it is gone */
	bool alive;
	bool foreign;  /* of a pid namespace below */
	bool secret;   /* its maps may not be read */
	bool large;    /* its maps are very long */
};

struct world {
	struct world_process process[WORLD_PROCESSES];
	bool segment[WORLD_SEGMENTS];
	uint64_t base_ns, spent_ns; /* the time: their sum; spent by the broker's questions */
	uint64_t events;            /* births, deaths and connections: what a turn may spend time on */
	bool no_pidfds;             /* EMFILE */
	bool no_peer_pidfd;         /* a kernel without SO_PEERPIDFD */
	bool in_turn;               /* the broker's; what is done meanwhile is spent, too */
	int32_t heard[4];           /* who called execve, as the connector will tell; 0: no more */
	void (*between)(void);      /* called whenever something is asked, and at every crash point; or NULL */
};

extern struct world world;

/* Everybody dead, no time passed. */
void world_begin(void);
void world_end(void);

struct world_process *world_find(int32_t pid);

/* Process `i` begins, with a pid of its own that the one before it in this place had too,
 * as a child of `parent` (a pid); or ends. */
void world_birth(uint32_t i, int32_t parent, uid_t uid);
void world_death(uint32_t i);

/* Process `i` connects. Its end of the connection; the broker's is what accept4(2) gives
 * next. -1 when too many wait. */
int world_connect(uint32_t i);

uint64_t world_now(void);
