/* SPDX-License-Identifier: MIT */
/* Keeps the roll: who runs on this machine, what each is, and what its end would return. What
 * is needed when memory is short is opened and read once while there is plenty: a pidfd and
 * /proc/PID/statm of everybody, so that then a pread each is all it takes (and statm of a
 * process that is no more says so: it cannot be another's). */
#pragma once

#include "daemon/killer/candidate.h"
#include "daemon/proc.h"

struct broker;

struct handle {
	int pidfd, statm; /* -1: none */
	uint32_t chain;	  /* the next in the bucket of its pid: place + 1 */
	uint32_t round;	  /* last seen in */
	uint64_t came_ns;  /* when it was entered */
	uint64_t known_ns; /* what it is was looked at last */
	/* statm says what is private to its address space: copies of a fork that nobody has written to
	 * are counted in each, and what is shared with nobody is not, nor what is swapped out. */
	uint32_t private_then, shared_then; /* when its pages were counted, in pages */
	int32_t correction; /* what its end returns, less what statm said then */
};

/* Whose pages are counted one by one, when they have changed by a 16th since: 4 ms a GiB. A larger
 * process is believed. */
#define CENSUS_COUNTED_LEAST (16u << (20 - PAGE_SHIFT))
#define CENSUS_COUNTED_MOST (1u << (30 - PAGE_SHIFT))

#define CENSUS_BUCKETS 4096u

struct census {
	uint32_t fds, fds_most;
	uint32_t known;	   /* candidates */
	uint32_t unwatched; /* without descriptors: there were none left */
	uint32_t round;
	uint32_t next;	   /* who is looked at again next */
	bool unified;
	uint64_t boot_ticks_ns;
	struct file_identity file[RULES]; /* what each rule's exe is now */
	struct file_identity mounts, init_mounts; /* our mount namespace, and that of pid 1 */
	uint32_t bucket[CENSUS_BUCKETS];
	struct handle handle[ROLL];
};

/* Everybody that runs now. `fds_most`: descriptors it may hold. */
void census_begin(struct census *c, struct roll *roll, uint32_t fds_most);

/* Goes through /proc: enters who is new, takes out who has gone. Costs 1 us for each process that
 * is known and some 60 us for one that is not. */
void census_walk(struct broker *b);

/* Looks at what `n` of them are, again; those come first that were not looked at for longest. */
void census_review(struct broker *b, uint32_t n);

/* It has called execve: it is another program now, and perhaps another user's. */
void census_hear(struct broker *b, int32_t pid);

/* Looks again at everybody who has been moved to another control group, or only at those who came
 * since `since_ns`: whoever starts a program moves it just before. 10 us each. */
void census_locate(struct broker *b, uint64_t since_ns);

/* What everybody holds now: one pread each. Who is gone is taken out. */
void census_measure(struct broker *b);

/* Is the process gone? Takes it out if so. */
bool census_is_gone(struct broker *b, uint32_t candidate);

/* The place of a pid in the roll; ROLL: it is not there. */
uint32_t census_find(const struct census *c, const struct roll *roll, int32_t pid);

/* Rules or accounts have changed: who is matched by what is worked out anew. */
void census_judge(struct broker *b);

void census_end(struct census *c, struct roll *roll);
