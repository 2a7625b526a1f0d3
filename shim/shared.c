/* SPDX-License-Identifier: MIT */
/* The table is small (a database has a handful of shared mappings), an array, and only
 * touched under the slot lock with signals blocked. A fork may copy it while another
 * thread is in here; an entry is written before it is counted, so the copy is whole.
 *
 * An entry that is taken (removal.h) still holds its object, but is no longer found by its
 * addresses: the moment the kernel frees them another thread may enter some of its own. */
#include "shim/shared.h"

#include <string.h>

#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "shim/charge.h"
#include "shim/inject.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"

struct range {
	uintptr_t start, end; /* both 0: of a mapping that is being made */
	uint32_t generation;
	uint32_t page;	/* of the object, at the start; for SysV segments */
	uint32_t taken; /* by whom; 0: it stands */
	uint16_t object;
	bool is_private;
};

#define TAKEN_MAKING UINT32_MAX

#define RANGES 3072 /* in 96 KiB */
static struct range *range; /* RANGES of them, mapped at the first use */
static uint32_t ranges, private_ranges;

/* Objects with a range that the table had no room for, or of which nobody can tell whether a child
 * has one: held until this process ends. */
static uint64_t kept[LEDGER_OBJECTS / 64];

/* A copy that nobody conceived must not act in the slot of whom it was copied from. */
static void copy_settle(void)
{
	if (self.state == SELF_MEMBER && self_is_copy())
		self_become_child(NULL);
}

static bool member_lock(struct self_lock *lock)
{
	return self.state == SELF_MEMBER && self_lock(lock);
}

static bool enter(struct self_lock *lock)
{
	copy_settle();
	return member_lock(lock);
}

/* The same, to map something: a parent that conceives meanwhile would hold it for its child or not,
 * and nobody could tell. */
static bool enter_window(struct self_lock *lock)
{
	copy_settle();
	charge_window_enter();
	if (member_lock(lock))
		return true;
	charge_window_leave();
	return false;
}

static void leave_window(struct self_lock *lock)
{
	self_unlock(lock);
	charge_window_leave();
}

/* Why it could not enter, for whoever must be charged: we are nobody's member, or the lock was not to
 * be had. */
static enum refusal_reason entry_denied(void)
{
	return self.state == SELF_MEMBER && !self_is_buried() ? REASON_BROKER : REASON_NONE;
}

static uint32_t object_generation(uint32_t o)
{
	return OBJECT_GEN(object_word(self.ledger, o));
}

/* --- the table --- */

static bool table_ready(void)
{
	if (range)
		return true;
	size_t bytes = RANGES * sizeof *range;
	struct gather g = self_gather();
	if (gather_take(&g, pages_of(bytes)) != REASON_NONE)
		return false;
	long r = marks_map(bytes);
	if (raw_failed(r)) {
		purse_give(&self.ledger->slot[self.slot].purse, (uint32_t)pages_of(bytes));
		return false;
	}
	/* Where a stack was that libc unmapped unseen it is charged already. */
	uint64_t charged = pagemap_count(&marks, PAGEMAP_CHARGED, (uintptr_t)r, pages_of(bytes));
	purse_give(&self.ledger->slot[self.slot].purse, (uint32_t)charged);
	charge_note(pages_of(bytes) - charged, CATEGORY_SOLVENT);
	range = (struct range *)r;
	return true;
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
	/* One that is claimed has none; if it has, somebody scribbles. */
	if (reason == REASON_NONE && pages != 0 && !transfer_to_object(self.ledger, self.slot, o, 0, (uint32_t)pages))
		return REASON_OBJECTS;
	return reason;
}

static enum refusal_reason claim_locked(uint64_t pages, uint32_t *ret_object)
{
	int o = table_ready() ? object_claim(self.ledger, self.slot) : -1;
	if (o < 0)
		return range ? REASON_OBJECTS : REASON_TABLE;
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
		return entry_denied();
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

static enum refusal_reason grow_locked(uint32_t o, uint64_t pages, uint64_t *ret_added)
{
	struct gather g = self_gather();
	*ret_added = 0;
	if (object_has(self.ledger, o) < pages && inject_refuses())
		return REASON_LIMIT;
	return object_grow(&g, o, pages, ret_added);
}

static int obtain_locked(enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	if (kind != OBJECT_ANON)
		return object_obtain(self.ledger, self.slot, kind, key_a, key_b);
	int o = object_claim(self.ledger, self.slot);
	if (o >= 0)
		object_publish(self.ledger, (uint32_t)o, kind, key_a, key_b);
	return o;
}

static enum refusal_reason hold_locked(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				       uint32_t *ret_object, uint64_t *ret_added)
{
	if (!table_ready())
		return REASON_TABLE;
	int o = obtain_locked(kind, key_a, key_b);
	if (o < 0)
		return REASON_OBJECTS;
	*ret_object = (uint32_t)o;
	return grow_locked((uint32_t)o, pages, ret_added);
}

static bool is_mapped(uint32_t o)
{
	if (kept[o / 64] >> o % 64 & 1)
		return true;
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

static void range_add(struct range r);
static void range_remove(uint32_t i);

/* From now on until its addresses are known, so that no other thread lets it go meanwhile; nor, where
 * the mapping is copied as soon as it is there, and unmapped here, is it gone when the child looks. */
static void making_add(uint32_t o)
{
	charge_embryos_hold(o);
	range_add((struct range){ .object = (uint16_t)o, .generation = object_generation(o), .taken = TAKEN_MAKING });
}

static void making_remove(uint32_t o)
{
	for (uint32_t i = 0; i < ranges; i++)
		if (range[i].object == o && range[i].taken == TAKEN_MAKING) {
			range_remove(i);
			return;
		}
}

enum refusal_reason shared_hold(enum object_kind kind, uint64_t key_a, uint64_t key_b, uint64_t pages,
				struct shared_holding *ret)
{
	struct self_lock lock;
	*ret = (struct shared_holding){ .object = LEDGER_OBJECTS };
	if (!enter_window(&lock))
		return entry_denied();
	uint32_t o = LEDGER_OBJECTS;
	enum refusal_reason reason = hold_locked(kind, key_a, key_b, pages, &o, &ret->added);
	if (reason == REASON_NONE)
		making_add(o);
	else if (o < LEDGER_OBJECTS)
		let_go(o);
	if (reason == REASON_NONE)
		ret->object = o;
	leave_window(&lock);
	return reason;
}

void shared_unhold(const struct shared_holding *h)
{
	struct self_lock lock;
	if (h->object >= LEDGER_OBJECTS || !enter(&lock))
		return;
	making_remove(h->object);
	let_go(h->object);
	self_unlock(&lock);
}

/* --- the ranges --- */

static void range_add(struct range r)
{
	if (!table_ready() || ranges == RANGES) {
		kept[r.object / 64] |= 1ull << r.object % 64;
		return;
	}
	range[ranges] = r;
	private_ranges += r.is_private;
	/* Release: a fork between the two lines copies a whole entry or none. */
	__atomic_store_n(&ranges, ranges + 1, __ATOMIC_RELEASE);
}

static void range_remove(uint32_t i)
{
	private_ranges -= range[i].is_private;
	range[i] = range[ranges - 1];
	__atomic_store_n(&ranges, ranges - 1, __ATOMIC_RELEASE);
}

/* None of the entries with that mark reaches over `addr` afterwards. */
static void cut_at(uintptr_t addr, uint32_t taken)
{
	for (uint32_t i = 0, n = ranges; i < n; i++) {
		struct range tail = range[i];
		if (tail.taken != taken || tail.start >= addr || tail.end <= addr)
			continue;
		tail.page += (uint32_t)((addr - tail.start) >> PAGE_SHIFT);
		tail.start = range[i].end = addr;
		range_add(tail);
	}
}

static bool is_within(const struct range *r, uintptr_t start, uintptr_t end)
{
	return r->start >= start && r->end <= end;
}

void shared_mapped(const struct shared_range *r)
{
	struct self_lock lock;
	if (r->object >= LEDGER_OBJECTS || !enter(&lock))
		return;
	range_add((struct range){ .start = r->addr, .end = r->addr + bytes_of(r->pages),
				  .object = (uint16_t)r->object, .generation = object_generation(r->object),
				  .page = r->page, .is_private = r->is_private });
	making_remove(r->object);
	self_unlock(&lock);
}

bool shared_is_anything_private(void)
{
	/* Relaxed: whoever owns a private range knows of it. */
	return __atomic_load_n(&private_ranges, __ATOMIC_RELAXED) != 0;
}

/* --- taking, for the length of a system call --- */

static uint32_t taker_new(void)
{
	static uint32_t last;
	last = last + 1 < TAKEN_MAKING ? last + 1 : 1;
	return last;
}

static uint32_t take_locked(uintptr_t start, uintptr_t end)
{
	uint32_t taker = 0;
	cut_at(start, 0);
	cut_at(end, 0);
	for (uint32_t i = 0; i < ranges; i++)
		if (range[i].taken == 0 && is_within(&range[i], start, end))
			range[i].taken = taker = taker ? taker : taker_new();
	return taker;
}

uint32_t shared_take(uintptr_t addr, uint64_t pages)
{
	struct self_lock lock;
	/* The kernel refuses every call about half a page; to cut there would leave a piece that is
	 * less than one. */
	if (addr % PAGE_BYTES != 0 || __atomic_load_n(&ranges, __ATOMIC_ACQUIRE) == 0 || !enter(&lock))
		return 0;
	uint32_t taker = take_locked(addr, addr + bytes_of(pages));
	self_unlock(&lock);
	return taker;
}

/* The first piece that lies where it would lie in a segment attached at `addr`
 * (ipc/shm.c:ksys_shmdt), or RANGES. */
static uint32_t attached_first(uintptr_t addr)
{
	uint32_t first = RANGES;
	for (uint32_t i = 0; i < ranges; i++) {
		const struct range *r = &range[i];
		bool fits = OBJECT_KIND(__atomic_load_n(&self.ledger->object[r->object].state, __ATOMIC_ACQUIRE)) ==
				    OBJECT_SYSV &&
			    r->taken == 0 && r->start - addr == bytes_of(r->page);
		if (fits && (first == RANGES || r->start < range[first].start))
			first = i;
	}
	return first;
}

uint32_t shared_take_attached(uintptr_t addr, uint64_t *ret_pages)
{
	struct self_lock lock;
	uint32_t taker = 0;
	*ret_pages = 0;
	if (__atomic_load_n(&ranges, __ATOMIC_ACQUIRE) == 0 || !enter(&lock))
		return 0;
	uint32_t first = attached_first(addr);
	uint32_t object = first < RANGES ? range[first].object : LEDGER_OBJECTS;
	for (uint32_t i = 0; first < RANGES && i < ranges; i++)
		if (range[i].object == object && range[i].taken == 0 && range[i].start - addr == bytes_of(range[i].page))
			range[i].taken = taker = taker ? taker : taker_new();
	if (first < RANGES)
		*ret_pages = object_has(self.ledger, object);
	self_unlock(&lock);
	return taker;
}

bool shared_taken(uint32_t taken, uintptr_t from, struct pagemap_run *ret)
{
	struct self_lock lock;
	if (taken == 0 || !enter(&lock))
		return false;
	const struct range *first = NULL;
	for (uint32_t i = 0; i < ranges; i++)
		if (range[i].taken == taken && range[i].start >= from && range[i].end > range[i].start &&
		    (!first || range[i].start < first->start))
			first = &range[i];
	if (first)
		*ret = (struct pagemap_run){ first->start, (first->end - first->start) >> PAGE_SHIFT };
	self_unlock(&lock);
	return first != NULL;
}

static void put_locked(uint32_t taken, uintptr_t start, uintptr_t end, uintptr_t to, bool keep)
{
	cut_at(start, taken);
	cut_at(end, taken);
	for (uint32_t i = 0, n = ranges; i < n; i++) {
		struct range there = range[i];
		if (there.taken != taken || !is_within(&there, start, end))
			continue;
		there.start += to - start;
		there.end += to - start;
		there.taken = 0;
		if (keep)
			range_add(there);
		else
			range[i] = there;
		range[i].taken = 0;
	}
}

void shared_put(uint32_t taken, uintptr_t addr, uint64_t pages, uintptr_t to, bool keep)
{
	struct self_lock lock;
	if (taken == 0 || pages == 0 || !enter(&lock))
		return;
	put_locked(taken, addr, addr + bytes_of(pages), to, keep);
	self_unlock(&lock);
}

void shared_forget(uint32_t taken)
{
	struct self_lock lock;
	if (taken == 0 || !enter(&lock))
		return;
	for (uint32_t i = 0; i < ranges;) {
		uint32_t o = range[i].object;
		if (range[i].taken != taken) {
			i++;
			continue;
		}
		range_remove(i);
		let_go(o);
	}
	self_unlock(&lock);
}

void shared_grown(uintptr_t end, uintptr_t new_end)
{
	struct self_lock lock;
	if (__atomic_load_n(&ranges, __ATOMIC_ACQUIRE) == 0 || !enter(&lock))
		return;
	for (uint32_t i = 0; i < ranges; i++)
		if (range[i].taken == 0 && range[i].end == end)
			range[i].end = new_end;
	self_unlock(&lock);
}

static void duplicate_locked(uintptr_t from, uintptr_t to, uint64_t pages)
{
	for (uint32_t i = 0, n = ranges; i < n; i++) {
		struct range there = range[i];
		if (there.taken != 0 || from < there.start || from >= there.end)
			continue;
		there.page += (uint32_t)((from - there.start) >> PAGE_SHIFT);
		there.start = to;
		there.end = to + bytes_of(pages);
		range_add(there);
		return;
	}
}

void shared_duplicated(uintptr_t from, uintptr_t to, uint64_t pages)
{
	struct self_lock lock;
	if (__atomic_load_n(&ranges, __ATOMIC_ACQUIRE) == 0 || !enter(&lock))
		return;
	duplicate_locked(from, to, pages);
	self_unlock(&lock);
}

/* --- files --- */

static enum refusal_reason fit_locked(uint32_t o, uint64_t pages, uint64_t *added)
{
	uint64_t more;
	*added -= transfer_shrink_object(self.ledger, self.slot, o, (uint32_t)min_u64(*added, PAGES_MAX),
					 (uint32_t)min_u64(pages, PAGES_MAX));
	enum refusal_reason reason = grow_locked(o, pages, &more);
	*added += more;
	return reason;
}

enum refusal_reason shared_file_fit(uint64_t dev, uint64_t ino, uint64_t pages, uint64_t *added)
{
	struct self_lock lock;
	enum refusal_reason reason = REASON_NONE;
	if (!enter(&lock))
		return entry_denied();
	int o = object_find_hold(self.ledger, self.slot, OBJECT_FILE, dev, ino);
	if (o >= 0) {
		reason = fit_locked((uint32_t)o, pages, added);
		let_go((uint32_t)o);
	}
	self_unlock(&lock);
	return reason;
}

/* --- SysV --- */

/* `ret_word`: its state, when it was found. */
static int segment_object(uint64_t shmid, uint64_t *ret_word)
{
	struct object *o = self.ledger->object;
	for (uint32_t i = 0; i < ledger_objects(self.ledger); i++) {
		/* Acquire: pairs with the release in object_publish. */
		*ret_word = __atomic_load_n(&o[i].state, __ATOMIC_ACQUIRE);
		if (OBJECT_KIND(*ret_word) == OBJECT_SYSV && o[i].key_a == shmid)
			return (int)i;
	}
	return -1;
}

struct shared_holding shared_segment_hold(uint64_t shmid)
{
	struct shared_holding h = { .object = LEDGER_OBJECTS };
	struct self_lock lock;
	if (!enter_window(&lock))
		return h;
	uint64_t word;
	int o = segment_object(shmid, &word);
	if (o >= 0)
		o = object_find_hold(self.ledger, self.slot, OBJECT_SYSV, shmid, self.ledger->object[o].key_b);
	if (o >= 0) {
		making_add((uint32_t)o);
		h.object = (uint32_t)o;
	}
	leave_window(&lock);
	return h;
}

void shared_segment_removed(uint64_t shmid)
{
	struct self_lock lock;
	if (!enter(&lock))
		return;
	uint64_t word;
	int o;
	/* Not marked: somebody holds it no longer, or the broker has ended it already. */
	do
		o = segment_object(shmid, &word);
	while (o >= 0 && !object_mark_removed(self.ledger, (uint32_t)o, word));
	if (o >= 0)
		object_release(self.ledger, self.slot, (uint32_t)o);
	self_unlock(&lock);
}

/* What a thread of the parent had taken may stand here, and what one was making may be there: we hold
 * on. Whose object the parent has let go since, all of it, is nobody's: its number may be another's. */
static void ranges_inherit(void)
{
	for (uint32_t i = 0; i < ranges;) {
		struct range *r = &range[i];
		bool is_paid = object_take_over(self.ledger, r->object, self.slot, r->generation);
		if (is_paid && r->end == 0)
			kept[r->object / 64] |= 1ull << r->object % 64;
		if (!is_paid || r->end == 0) {
			range_remove(i);
			continue;
		}
		r->taken = 0;
		i++;
	}
}

/* Between the embryo's inheritance and the copy a thread of the parent, or a handler of
 * pthread_atfork, may have let go of something. */
void shared_child(void)
{
	ranges_inherit();
	for (uint32_t o = 0; o < ledger_objects(self.ledger); o++)
		if (object_is_held_by(self.ledger, o, self.slot))
			let_go(o);
}

/* --- another ledger --- */

/* What stands for an object of the ledger before in this one: the same file or segment, if the account
 * knows it; what is anonymous nobody can tell from another's. LEDGER_OBJECTS: it could not be charged. */
static uint32_t object_anew(const struct object *before)
{
	uint64_t added, pages = PURSE_USED(purse_read(&before->purse));
	enum object_kind kind = OBJECT_KIND(before->state);
	bool named = kind == OBJECT_FILE || kind == OBJECT_SYSV;
	uint32_t o;
	enum refusal_reason reason = hold_locked(named ? kind : OBJECT_ANON, named ? before->key_a : 0,
						 named ? before->key_b : 0, pages, &o, &added);
	return reason == REASON_NONE ? o : LEDGER_OBJECTS;
}

/* Objects of the ledger before, and what stands for them. */
struct anew {
	const struct ledger *before;
	bool failed;
	uint16_t object[LEDGER_OBJECTS]; /* + 1 */
};

static uint16_t anew_find(struct anew *n, uint32_t o)
{
	uint32_t found = n->object[o] ? n->object[o] - 1u : object_anew(&n->before->object[o]);
	n->failed |= found == LEDGER_OBJECTS;
	n->object[o] = (uint16_t)(found + 1);
	return (uint16_t)found;
}

static void ranges_anew(struct anew *n)
{
	for (uint32_t i = 0; i < ranges && !n->failed;) {
		struct range *r = &range[i];
		if (r->end == 0 || OBJECT_GEN(n->before->object[r->object].state) != r->generation) {
			range_remove(i);
			continue;
		}
		r->object = anew_find(n, r->object);
		r->generation = n->failed ? 0 : object_generation(r->object);
		i++;
	}
}

static void kept_anew(struct anew *n)
{
	uint64_t were[ARRAY_N(kept)];
	memcpy(were, kept, sizeof kept);
	memset(kept, 0, sizeof kept);
	for (uint32_t o = 0; o < LEDGER_OBJECTS && !n->failed; o++) {
		uint16_t found = were[o / 64] >> o % 64 & 1 ? anew_find(n, o) : LEDGER_OBJECTS;
		if (found < LEDGER_OBJECTS)
			kept[found / 64] |= 1ull << found % 64;
	}
}

bool shared_child_anew(const struct ledger *before)
{
	struct anew n = { .before = before };
	struct self_lock lock;
	if (!enter(&lock))
		return false;
	ranges_anew(&n);
	kept_anew(&n);
	self_unlock(&lock);
	return !n.failed;
}
