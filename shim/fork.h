/* SPDX-License-Identifier: MIT */
/* fork, charged before it happens, as the other doors to it use it (shim/syscall.c). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "reserve/embryo.h"

/* One fork on its way: from birth_begin to birth_end, on the stack of its thread. */
struct birth {
	bool counted; /* begun in our books; else everything passes through */
	bool covered; /* `embryo` pays for the child */
	struct embryo embryo;
	struct birth *outer;
	uint64_t signals;
};

/* Takes the child's charge. False: refused, recorded, errno is set (ENOMEM; EAGAIN when the
 * ledger has no free slot), and nothing has happened. True: fork now, by whatever means,
 * then call birth_end. Signals are blocked in between. */
bool birth_begin(struct birth *b);

/* On both sides of the fork, with its result: the parent tells the ledger the child's pid,
 * or takes the charge back when there is none; the child becomes a member, if no
 * pthread_atfork handler of ours has done that yet. errno stays. */
void birth_end(struct birth *b, pid_t pid);

/* Registers our handler for children that libc makes by itself. Called before jemalloc
 * registers its own, because children run them in this order and jemalloc's may map memory. */
void fork_register(void);
