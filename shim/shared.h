/* SPDX-License-Identifier: MIT */
/* Shared memory as this process holds it: which of its address ranges belong to which
 * object of the ledger. The object is charged once, to the account; this table decides
 * when this process no longer holds it. All functions are async-signal-safe and leave
 * errno alone; when this process is not a member they do nothing and refuse nothing. */
#pragma once

#include "include/ledger.h"
#include "reserve/pagemap.h"

/* A segment that is being made: charged, but not yet known to anyone. */
struct shared_claim {
	bool active;
	uint32_t object;
};

/* Charges `pages` to a new object. REASON_NONE and `ret`, or why not (nothing changed).
 * Then exactly one of shared_publish and shared_cancel. */
enum refusal_reason shared_claim(uint64_t pages, struct shared_claim *ret);
void shared_publish(const struct shared_claim *c, enum object_kind kind, uint64_t key_a, uint64_t key_b);
void shared_cancel(const struct shared_claim *c);

/* An object that is held for a mapping that is being made. */
struct shared_holding {
	uint32_t object; /* LEDGER_OBJECTS: nothing is to be tracked */
	uint64_t added;	 /* pages it grew by */
};

/* Holds the object of that kind and keys if the account has one (of OBJECT_ANON it never has), else
 * charges a new one; an object smaller than `pages` grows to it. REASON_NONE, or why not (nothing changed). Then
 * exactly one of shared_mapped and shared_unhold. */
enum refusal_reason shared_hold(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				struct shared_holding *ret);
/* The mapping failed. What the object grew by it keeps, if others hold it: the file is as large. */
void shared_unhold(const struct shared_holding *h);

/* --- files that change their size (OBJECT_FILE) --- */

/* If the account has an object for that file, it has `pages` from now on: it grows to them, which
 * adds to `added`; or gives back what it has beyond them, though no more than `added`, from which
 * that is taken. REASON_NONE, or why not (it has not grown). */
enum refusal_reason shared_file_fit(uint64_t dev, uint64_t ino, uint64_t pages, uint64_t *added);

/* --- which addresses belong to what --- */

/* A range that belongs to the object (held or claimed by us) from now on. When the table is
 * full the object stays held until this process ends. `is_private`: it is a private mapping
 * of the file, with no EXEMPT marks of its own. `page`: of the segment, at its start. */
struct shared_range {
	uintptr_t addr;
	uint64_t pages;
	uint32_t object;
	uint32_t page;
	bool is_private;
};
void shared_mapped(const struct shared_range *r);

/* Are there ranges that the page map does not know of? */
bool shared_is_anything_private(void);

/* Takes what stands in the range out of the table, for the length of a system call; the
 * objects stay held. Whom it was taken by; 0: there was nothing. */
uint32_t shared_take(uintptr_t addr, uint64_t pages);
/* The same for a segment attached at `addr`, as shmdt would find it: every piece of it that
 * lies where it would lie. `ret_pages`: how long it was when it was attached, 0 for nothing. */
uint32_t shared_take_attached(uintptr_t addr, uint64_t *ret_pages);
/* The first piece at or after `from` of what was taken. False: there is none. */
bool shared_taken(uint32_t taken, uintptr_t from, struct pagemap_run *ret);
/* The pages from `addr` on, of what was taken, stand at `to` now; or, kept, in both places. */
void shared_put(uint32_t taken, uintptr_t addr, uint64_t pages, uintptr_t to, bool keep);
/* The rest of it is gone; objects with no range left are let go. */
void shared_forget(uint32_t taken);

/* The range that ends at `end` grew to `new_end`. */
void shared_grown(uintptr_t end, uintptr_t new_end);
/* What is shared at `from` can be seen in [to, to + pages), too. */
void shared_duplicated(uintptr_t from, uintptr_t to, uint64_t pages);

/* A SysV segment of the account: hold it for an attachment, as above; mark it removed. */
struct shared_holding shared_segment_hold(uint64_t shmid);
void shared_segment_removed(uint64_t shmid);

/* In a child: holds in its own name what its parent held. */
void shared_child(void);
/* The same, before that, in one that came into another ledger than `before`, its parent's: the objects are
 * charged there. False: they could not be. */
bool shared_child_anew(const struct ledger *before);
