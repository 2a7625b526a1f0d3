/* SPDX-License-Identifier: MIT */
/* Shared memory as this process holds it: which of its address ranges belong to which
 * object of the ledger. The object is charged once, to the account; this table decides
 * when this process no longer holds it. All functions are async-signal-safe and leave
 * errno alone; when this process is not a member they do nothing and refuse nothing. */
#pragma once

#include "include/ledger.h"

/* An object that is being made: charged, but not yet known to anyone. */
struct shared_claim {
	bool active;
	uint32_t object;
};

/* Charges `pages` to a new object. REASON_NONE and `ret`, or why not (nothing changed).
 * Then exactly one of shared_publish and shared_cancel. */
enum refusal_reason shared_claim(uint64_t pages, struct shared_claim *ret);
void shared_publish(const struct shared_claim *c, enum object_kind kind, uint64_t key_a, uint64_t key_b);
void shared_cancel(const struct shared_claim *c);

/* Holds the object of that kind and keys if the account has one, else charges a new one;
 * an object smaller than `pages` grows to it. `ret_object` is the number, or
 * LEDGER_OBJECTS when nothing is to be tracked. */
enum refusal_reason shared_hold(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				uint32_t *ret_object);
/* Does this process hold that object already? */
bool shared_is_held(enum object_kind kind, uint64_t key_a, uint64_t key_b);
/* Undoes a shared_hold whose mapping failed. */
void shared_unhold(uint32_t object);

/* The range belongs to the object (held or claimed by us) from now on. When the table is
 * full the object stays held until this process ends. */
void shared_mapped(void *addr, size_t bytes, uint32_t object);

/* Whatever of the range was shared is gone; objects with no range left are let go. */
void shared_unmapped(void *addr, size_t bytes);

/* The range stands at another address now. `keep_old` leaves the old entry too. */
void shared_moved(void *from, size_t from_bytes, void *to, size_t to_bytes, bool keep_old);

/* The object a range starts at `addr` with, and its length: for shmdt. False: none. */
bool shared_find(const void *addr, uint32_t *ret_object, size_t *ret_bytes);

/* A SysV segment of the account: hold it for an attachment; mark it removed. */
uint32_t shared_segment_hold(uint64_t shmid);
void shared_segment_removed(uint64_t shmid);

/* In a child: holds in its own name what its parent held. */
void shared_child(void);
