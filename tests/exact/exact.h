/* SPDX-License-Identifier: MIT */
/* The exact test: random calls to everything that costs memory or gives it back, and after
 * each of them the charge of this process, the kernel's count of it, and a model of the price
 * list, which must agree to the page. tests/exact/drive.c starts it, many times. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tests/exact/dice.h"
#include "tests/exact/model.h"
#include "tests/exact/tally.h"

#define WINDOW_PAGES 1024
#define BLOCKS 48
#define STACKS 192
#define WORKERS 6
#define LIBRARIES 4
#define STACK_ALLOWANCE_PAGES 128 /* docs/solvent.7: 512 KiB for the main stack */

struct stack {
	uintptr_t start, end; /* with its guard */
};

struct worker;

/* Who makes calls: a thread with addresses and objects of its own. */
struct actor {
	unsigned number;
	bool alone; /* nobody else makes calls meanwhile */
	uint64_t step;
	unsigned depth; /* forks above this one */
	struct model model;
	uintptr_t window; /* WINDOW_PAGES of addresses for fixed mappings, across two GiB */
	void *block[BLOCKS];
	struct worker *worker[WORKERS];
	void *library[LIBRARIES];
	uint32_t stacks; /* of threads that this actor ever made */
	struct stack stack[STACKS];
	uintptr_t break_start; /* what is above it is in the model; 0: it is not */
};
extern struct actor actors[ACTORS];

struct options {
	uint64_t seed;
	uint64_t steps;	  /* for each actor */
	unsigned threads; /* actors besides the first */
	bool verbose;	  /* says every call */
	int tally;	  /* where to write what was done and seen; -1: nowhere */
	const char *only; /* a file of '0' and '1', one a step: which are done; NULL: all */
};
extern struct options options;

/* What is being checked, for the sentence that says what failed. */
extern const char *exact_when;

/* Says a call before it is made, and what came of it. */
__attribute__((format(printf, 2, 3))) void say(struct actor *a, const char *format, ...);
void say_result(struct actor *a, long result);
/* The same for what libc does in many steps, which may touch errno. */
void say_error(struct actor *a, int error);

/* Ends this process: status 1, and why. */
__attribute__((format(printf, 1, 2))) _Noreturn void fail(const char *format, ...);

/* Plays steps [from, to) of the actor's sequence, checking after each if it is alone. */
void play(struct actor *a, uint64_t from, uint64_t to);

/* --- what there is to do --- */

struct act {
	const char *name;
	unsigned weight;
	void (*run)(struct actor *a, struct dice *d);
	bool lonely; /* not beside other actors */
};

/* Each ends with an act without a name. */
extern const struct act acts_map[], acts_remap[], acts_break[], acts_shared[], acts_heap[], acts_thread[],
	acts_process[], acts_library[];

/* Writes the tally, if anybody wants it; in a child it begins anew. */
void tally_write(void);
void tally_start(void);

/* The calling thread's own stack, of that size, is one of the actor's. */
void thread_remember(struct actor *a, size_t stack, size_t guard);
/* In a child: what threads and brothers there were stayed behind. */
void threads_become_child(struct actor *a);
/* Ends everything that would outlive this process. */
void shared_clean(struct actor *a);

/* Was it Solvent that refused, since `before` (books_refusals)? Then it must have been right: there
 * was no room for `bytes`. False too where that cannot be told from a refusal of another's. */
bool was_refused(struct actor *a, uint64_t before, uint64_t bytes);
