/* SPDX-License-Identifier: MIT */
/* The table is small (a database has a handful of shared mappings), an array, and only
 * touched under the slot lock with signals blocked. A fork may copy it while another
 * thread is in here; an entry is written before it is counted, so the copy is whole. */
#include "shim/shared.h"

#include <sys/mman.h>

#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "shim/charge.h"
#include "shim/inject.h"
#include "shim/raw.h"
#include "shim/self.h"

struct range {
	uintptr_t start, end;
	uint32_t object, generation;
};

#define RANGES 4096
static struct range *range; /* RANGES of them, mapped at the first use */
static uint32_t ranges;

static bool enter(struct self_lock *lock)
{
	return self.state == SELF_MEMBER && self_lock(lock);
}

static uint32_t object_generation(uint32_t o)
{
	return OBJECT_GEN(__atomic_load_n(&self.ledger->object[o].state, __ATOMIC_ACQUIRE));
}

/* --- making and holding --- */

static void claim_undo(uint32_t o)
{
	object_let_go(self.ledger, self.slot, self.slot, o);
}

/* Pages through our own purse into the object: the debit side of INTENT_OBJECT. */
static enum refusal_reason object_charge(uint32_t o, uint64_t pages)
{
	struct gather g = self_gather();
	if (inject_refuses())
		return REASON_LIMIT;
	enum refusal_reason reason = gather_take(&g, pages);
	if (reason == REASON_NONE && pages != 0)
		transfer_to_object(self.ledger, self.slot, o, (uint32_t)pages);
	return reason;
}

static enum refusal_reason claim_locked(uint64_t pages, uint32_t *ret_object)
{
	int o = object_claim(self.ledger, self.slot);
	if (o < 0)
		return REASON_OBJECTS;
	enum refusal_reason reason = object_charge((uint32_t)o, pages);
	if (reason != REASON_NONE) {
		claim_undo((uint32_t)o);
		return reason;
	}
	*ret_object = (uint32_t)o;
	return REASON_NONE;
}

enum refusal_reason shared_claim(uint64_t pages, struct shared_claim *ret)
{
	struct self_lock lock;
	ret->active = false;
	if (!enter(&lock))
		return REASON_NONE;
	enum refusal_reason reason = claim_locked(pages, &ret->object);
	ret->active = reason == REASON_NONE;
	self_unlock(&lock);
	return reason;
}

void shared_publish(const struct shared_claim *c, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	if (c->active)
		object_publish(self.ledger, c->object, kind, key_a, key_b);
}

void shared_cancel(const struct shared_claim *c)
{
	struct self_lock lock;
	if (!c->active || !enter(&lock))
		return;
	claim_undo(c->object);
	self_unlock(&lock);
}

static enum refusal_reason hold_locked(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				       uint32_t *ret_object)
{
	int o = object_find_hold(self.ledger, self.slot, kind, key_a, key_b);
	if (o < 0) {
		enum refusal_reason reason = claim_locked(pages, ret_object);
		if (reason == REASON_NONE)
			object_publish(self.ledger, *ret_object, kind, key_a, key_b);
		return reason;
	}
	*ret_object = (uint32_t)o;
	uint64_t has = PURSE_USED(purse_read(&self.ledger->object[o].purse));
	return has < pages ? object_charge((uint32_t)o, pages - has) : REASON_NONE;
}

static bool is_mapped(uint32_t o)
{
	for (uint32_t i = 0; i < ranges; i++)
		if (range[i].object == o)
			return true;
	return false;
}

static void let_go(uint32_t o)
{
	if (is_mapped(o))
		return;
	object_let_go(self.ledger, self.slot, self.slot, o);
}

enum refusal_reason shared_hold(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				uint32_t *ret_object)
{
	struct self_lock lock;
	*ret_object = LEDGER_OBJECTS;
	if (!enter(&lock))
		return REASON_NONE;
	uint32_t o = LEDGER_OBJECTS;
	enum refusal_reason reason = hold_locked(kind, key_a, key_b, pages, &o);
	if (reason != REASON_NONE && o < LEDGER_OBJECTS)
		let_go(o);
	else
		*ret_object = o;
	self_unlock(&lock);
	return reason;
}

bool shared_is_held(enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	for (uint32_t i = 0; i < __atomic_load_n(&ranges, __ATOMIC_ACQUIRE); i++) {
		const struct object *o = &self.ledger->object[range[i].object];
		if (OBJECT_KIND(__atomic_load_n(&o->state, __ATOMIC_ACQUIRE)) == kind && o->key_a == key_a &&
		    o->key_b == key_b)
			return true;
	}
	return false;
}

void shared_unhold(uint32_t object)
{
	struct self_lock lock;
	if (object >= LEDGER_OBJECTS || !enter(&lock))
		return;
	let_go(object);
	self_unlock(&lock);
}

/* --- the ranges --- */

static bool table_ready(void)
{
	if (range)
		return true;
	size_t bytes = RANGES * sizeof *range;
	struct gather g = self_gather();
	if (gather_take(&g, pages_of(bytes)) != REASON_NONE)
		return false;
	long r = raw_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(r)) {
		purse_give(&self.ledger->slot[self.slot].purse, (uint32_t)pages_of(bytes));
		return false;
	}
	charge_note(pages_of(bytes), CATEGORY_SOLVENT);
	range = (struct range *)r;
	return true;
}

static void range_add(uintptr_t start, uintptr_t end, uint32_t object, uint32_t generation)
{
	if (!table_ready() || ranges == RANGES)
		return; /* the object stays held by our bit until we end */
	range[ranges] = (struct range){ start, end, object, generation };
	/* Release: a fork between the two lines copies a whole entry or none. */
	__atomic_store_n(&ranges, ranges + 1, __ATOMIC_RELEASE);
}

static void range_remove(uint32_t i)
{
	range[i] = range[ranges - 1];
	__atomic_store_n(&ranges, ranges - 1, __ATOMIC_RELEASE);
}

/* Cuts [start, end) out of entry i; true when the entry is gone and i holds another. */
static bool range_cut(uint32_t i, uintptr_t start, uintptr_t end)
{
	struct range r = range[i];
	if (end <= r.start || start >= r.end)
		return false;
	if (start <= r.start && end >= r.end) {
		range_remove(i);
		return true;
	}
	if (start > r.start && end < r.end)
		range_add(end, r.end, r.object, r.generation);
	if (start > r.start)
		range[i].end = start;
	else
		range[i].start = end;
	return false;
}

static void cut_locked(uintptr_t start, uintptr_t end)
{
	for (uint32_t i = 0; i < ranges;) {
		uint32_t o = range[i].object;
		if (range_cut(i, start, end))
			let_go(o);
		else
			i++;
	}
}

void shared_mapped(void *addr, size_t bytes, uint32_t object)
{
	struct self_lock lock;
	if (object >= LEDGER_OBJECTS || !enter(&lock))
		return;
	range_add((uintptr_t)addr, (uintptr_t)addr + bytes, object, object_generation(object));
	self_unlock(&lock);
}

void shared_unmapped(void *addr, size_t bytes)
{
	struct self_lock lock;
	if (__atomic_load_n(&ranges, __ATOMIC_ACQUIRE) == 0 || !enter(&lock))
		return;
	cut_locked((uintptr_t)addr, (uintptr_t)addr + bytes);
	self_unlock(&lock);
}

void shared_moved(void *from, size_t from_bytes, void *to, size_t to_bytes, bool keep_old)
{
	struct self_lock lock;
	uint32_t object;
	size_t length;
	if (!shared_find(from, &object, &length) || !enter(&lock))
		return;
	/* The new entry first, so that the object is never without one. */
	range_add((uintptr_t)to, (uintptr_t)to + to_bytes, object, object_generation(object));
	if (!keep_old && from != to)
		cut_locked((uintptr_t)from, (uintptr_t)from + from_bytes);
	self_unlock(&lock);
}

bool shared_find(const void *addr, uint32_t *ret_object, size_t *ret_bytes)
{
	struct self_lock lock;
	bool found = false;
	if (!enter(&lock))
		return false;
	for (uint32_t i = 0; i < ranges && !found; i++) {
		if ((uintptr_t)addr < range[i].start || (uintptr_t)addr >= range[i].end)
			continue;
		*ret_object = range[i].object;
		*ret_bytes = range[i].end - (uintptr_t)addr;
		found = true;
	}
	self_unlock(&lock);
	return found;
}

/* --- SysV --- */

static int segment_object(uint64_t shmid)
{
	struct object *o = self.ledger->object;
	for (uint32_t i = 0; i < ledger_objects(self.ledger); i++)
		if (OBJECT_KIND(__atomic_load_n(&o[i].state, __ATOMIC_ACQUIRE)) == OBJECT_SYSV && o[i].key_a == shmid)
			return (int)i;
	return -1;
}

uint32_t shared_segment_hold(uint64_t shmid)
{
	struct self_lock lock;
	if (!enter(&lock))
		return LEDGER_OBJECTS;
	int o = segment_object(shmid);
	if (o >= 0)
		o = object_find_hold(self.ledger, self.slot, OBJECT_SYSV, shmid, self.ledger->object[o].key_b);
	self_unlock(&lock);
	return o >= 0 ? (uint32_t)o : LEDGER_OBJECTS;
}

void shared_segment_removed(uint64_t shmid)
{
	struct self_lock lock;
	if (!enter(&lock))
		return;
	int o = segment_object(shmid);
	if (o >= 0) {
		object_mark_removed(self.ledger, (uint32_t)o);
		object_release(self.ledger, self.slot, (uint32_t)o);
	}
	self_unlock(&lock);
}

void shared_child(void)
{
	for (uint32_t i = 0; i < ranges; i++)
		if (object_generation(range[i].object) == range[i].generation)
			object_hold(self.ledger, range[i].object, self.slot);
}
