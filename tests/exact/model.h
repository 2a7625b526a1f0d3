/* SPDX-License-Identifier: MIT */
/* What the price list (docs/solvent.7) says that one actor's mappings cost: kept by the test,
 * from the calls it made and their results alone. It knows nothing of how the shim does it. */
#pragma once

#include "include/ledger.h"

enum page_is {
	IS_MAPPED = 1 << 0,
	IS_CHARGED = 1 << 1,  /* privately */
	IS_EXEMPT = 1 << 2,   /* costs nothing privately, whatever becomes of it */
	IS_HOLDING = 1 << 3,  /* keeps its object charged */
	IS_READABLE = 1 << 4,
	IS_WRITABLE = 1 << 5,
	IS_FIXED = 1 << 6,    /* the kernel lets nobody make it writable (VM_MAYWRITE) */
	IS_NO_COPY = 1 << 7,  /* not for children */
	IS_GUARD = 1 << 8,    /* MADV_GUARD_INSTALL: not to be touched */
	IS_LEFT = 1 << 9,     /* charged to a child, whose kernel did not copy it */
};

#define NO_THING UINT32_MAX

/* Adjacent pages of one kind. `page` is the number of its first page in the thing behind. */
struct run {
	uintptr_t start, end;
	uint32_t is;
	uint32_t thing;
	uint64_t page;
};

/* What can stand behind mappings. */
enum thing_kind { THING_NONE, THING_ANON, THING_DISK, THING_TMPFS, THING_SYSV };

struct thing {
	enum thing_kind kind;
	uint64_t pages;	 /* reserved, as long as anything holds it */
	uint64_t most;	 /* that ever was */
	bool written;	 /* of a file: write(2) may have made pages beyond that */
	int fd;		 /* of a file, or -1 */
	int shmid;
	bool removed;	 /* SysV */
	bool foreign;	 /* our parent's: it may not be resized or removed */
	uint64_t dev, ino;
};

#define RUNS 512
#define RUNS_WANTED 48 /* the kernel's list takes longer to read than anything else */
#define THINGS 64
#define THINGS_WANTED 12 /* files and segments */

struct model {
	uint32_t n;
	struct run run[RUNS];
	struct thing thing[THINGS];
};

void model_start(struct model *m);

/* Nothing is known of [start, end) any more. */
void model_forget(struct model *m, uintptr_t start, uintptr_t end);

/* [run.start, run.end) is this and nothing else. */
void model_put(struct model *m, struct run run);

/* Adds and takes away properties of what is mapped in the range. */
void model_change(struct model *m, uintptr_t start, uintptr_t end, uint32_t add, uint32_t remove);

/* Made writable: charges what is mapped there and neither charged nor exempt. */
void model_pay(struct model *m, uintptr_t start, uintptr_t end);

/* The run that holds `addr`, or NULL. */
struct run *model_at(struct model *m, uintptr_t addr);

/* How far from `start`, at most to `end`, everything is mapped, and if `writable` may also
 * be made so. */
uintptr_t model_prefix(struct model *m, uintptr_t start, uintptr_t end, bool writable);

/* mremap: what is mapped in [from, from + bytes) stands at `to` now, instead of what was
 * there; or, kept, in both places. */
void model_move(struct model *m, uintptr_t from, uintptr_t to, size_t bytes, bool keep);

/* A call failed that may have unmapped something all the same: forgets what is not there. */
void model_look(struct model *m, uintptr_t start, uintptr_t end);

/* fork: what the child's model is. And what the kernel did not copy of another actor's, whose
 * addresses any mapping of the child may come to stand at, is the child's `m`. */
void model_become_child(struct model *m);
void model_take_left(struct model *m, struct model *other);

bool thing_is_held(const struct model *m, uint32_t thing);
bool thing_is_mapped(const struct model *m, uint32_t thing);
/* An unused thing, or NO_THING. */
uint32_t thing_new(struct model *m);
/* Forgets what nothing refers to any more. */
void things_settle(struct model *m);

/* Of a file, by its descriptor: its length, what it has or will cost in memory, in pages; and
 * whether it has fewer pages than it is long. */
uint64_t thing_size(int fd);
uint64_t thing_cost(int fd);
bool thing_has_holes(int fd);
