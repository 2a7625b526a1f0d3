/* SPDX-License-Identifier: MIT */
/* Shared objects: charged once, to the account, while any member holds them.
 *
 * Who holds one is a bit per slot, set and cleared by its own process (or by a parent
 * for its embryo, before the fork), so a death is settled by clearing bits and no
 * count can go wrong. Two who drop the last two bits at once both find the object
 * unheld; the state word says which of them is leaving it, and he alone empties it: for
 * anybody else it could be somebody's next object by then. */
#include <errno.h>
#include <string.h>

#include "reserve/crash.h"
#include "reserve/gather.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "reserve/transfer.h"

static bool object_move(struct ledger *l, uint32_t o, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&l->object[o].state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

int object_claim(struct ledger *l, uint32_t maker)
{
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		uint64_t word = object_word(l, o);
		if (OBJECT_KIND(word) != OBJECT_FREE)
			continue;
		top_raise(&l->header.object_top, o + 1);
		CRASH_POINT(OBJECT_TOP_RAISED);
		if (!object_move(l, o, word, OBJECT_WORD(OBJECT_GEN(word), maker + 1, OBJECT_CLAIMED)))
			continue;
		CRASH_POINT(OBJECT_CLAIMED_UNHELD);
		object_hold(l, o, maker);
		return (int)o;
	}
	return -ENOSPC;
}

static void object_name(struct ledger *l, uint32_t o, uint64_t key_a, uint64_t key_b)
{
	l->object[o].key_a = key_a;
	l->object[o].key_b = key_b;
	CRASH_POINT(OBJECT_KEYED);
}

void object_publish(struct ledger *l, uint32_t o, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	uint64_t word = object_word(l, o);
	object_name(l, o, key_a, key_b);
	__atomic_store_n(&l->object[o].state, OBJECT_WORD(OBJECT_GEN(word), OBJECT_MAKER(word) + 1, kind),
			 __ATOMIC_RELEASE);
	CRASH_POINT(OBJECT_PUBLISHED);
}

/* Whoever is leaving the object has to look at the bits again. */
static void object_stay(struct ledger *l, uint32_t o)
{
	uint64_t word = object_word(l, o);
	while ((word & OBJECT_LEAVING) != 0 && !object_move(l, o, word, word & ~OBJECT_LEAVING))
		word = object_word(l, o);
}

static bool object_is(const struct ledger *l, uint32_t o, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	uint64_t word = object_word(l, o);
	return OBJECT_KIND(word) == kind && (word & OBJECT_OFFERED) == 0 && l->object[o].key_a == key_a &&
	       l->object[o].key_b == key_b;
}

int object_find_hold(struct ledger *l, uint32_t s, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++) {
		if (!object_is(l, o, kind, key_a, key_b))
			continue;
		bool held = object_is_held_by(l, o, s);
		object_hold(l, o, s);
		/* Seen again after the bit is set: pairs with object_release, which looks at the bits
		 * again after it has said that it is leaving. Either it sees ours, or we find it
		 * claimed. */
		object_stay(l, o);
		if (object_is(l, o, kind, key_a, key_b))
			return (int)o;
		/* Whoever saw our bit in between left the object to us. */
		if (!held)
			object_let_go(l, s, s, o);
	}
	return -ENOENT;
}

/* --- one object for one file --- */

/* An offer below ours is given way to so often: its maker may be dead. */
#define OFFER_PATIENCE 64
/* Only a ledger somebody scribbles on makes this many changes meanwhile. */
#define OFFER_TRIES 4096

/* Does object `i` leave room for `o`, which is offered? One that is published does not, even if it
 * is being left: whoever looks for it next may have it stay. Another offer is refused: it is only
 * claimed then, and its maker finds out. Of two that are made at the same moment the lower refuses
 * and the higher gives way. */
static bool offer_passes(struct ledger *l, uint32_t o, uint32_t i, enum object_kind kind, bool patient)
{
	const struct object *mine = &l->object[o], *other = &l->object[i];
	/* Sequentially consistent, with the store in object_offer: of two that offer, the later
	 * finds the other's offer, or what became of it. */
	uint64_t word = __atomic_load_n(&other->state, __ATOMIC_SEQ_CST);
	if (i == o || OBJECT_KIND(word) != kind || other->key_a != mine->key_a || other->key_b != mine->key_b)
		return true;
	if ((word & OBJECT_OFFERED) == 0 || (patient && i < o))
		return false;
	return object_move(l, i, word, OBJECT_WORD(OBJECT_GEN(word), OBJECT_MAKER(word) + 1, OBJECT_CLAIMED)); /* model: REFUSE */
}

/* Publishes what is claimed if there is no other of its kind and keys. False: there is, or another
 * was offered and refused ours; then it is claimed as before. */
static bool object_offer(struct ledger *l, uint32_t o, enum object_kind kind, bool patient)
{
	uint64_t claimed = object_word(l, o);
	uint64_t published = OBJECT_WORD(OBJECT_GEN(claimed), OBJECT_MAKER(claimed) + 1, kind);
	bool alone = true;
	__atomic_store_n(&l->object[o].state, published | OBJECT_OFFERED, __ATOMIC_SEQ_CST); /* model: OFFER */
	CRASH_POINT(OFFER_MADE);
	/* Sequentially consistent, too: an offer is above no top that we could see. */
	uint32_t top = __atomic_load_n(&l->header.object_top, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < top && i < LEDGER_OBJECTS && alone; i++)
		alone = offer_passes(l, o, i, kind, patient);
	/* Refused, it is claimed already. */
	bool moved = object_move(l, o, published | OBJECT_OFFERED, alone ? published : claimed); /* model: CONFIRM */
	CRASH_POINT(OBJECT_PUBLISHED);
	return alone && moved;
}

int object_obtain(struct ledger *l, uint32_t s, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	int o = -ENOENT, mine = -ENOENT;
	for (uint32_t tries = 0; tries < OFFER_TRIES; tries++) {
		o = object_find_hold(l, s, kind, key_a, key_b);
		if (o >= 0)
			break;
		mine = mine >= 0 ? mine : object_claim(l, s);
		if (mine < 0)
			return mine;
		object_name(l, (uint32_t)mine, key_a, key_b);
		if (object_offer(l, (uint32_t)mine, kind, tries < OFFER_PATIENCE))
			return mine;
	}
	if (mine >= 0)
		object_let_go(l, s, s, (uint32_t)mine);
	return o;
}

void object_hold(struct ledger *l, uint32_t o, uint32_t s)
{
	/* Release: the charge that pays for it is in the object before the bit shows. */
	__atomic_fetch_or(&l->object[o].holders[s / 64], 1ull << s % 64, __ATOMIC_ACQ_REL);
	CRASH_POINT(OBJECT_HELD);
}

void object_drop(struct ledger *l, uint32_t o, uint32_t s)
{
	__atomic_fetch_and(&l->object[o].holders[s / 64], ~(1ull << s % 64), __ATOMIC_ACQ_REL);
	CRASH_POINT(OBJECT_DROPPED);
}

bool object_is_held_by(const struct ledger *l, uint32_t o, uint32_t s)
{
	return __atomic_load_n(&l->object[o].holders[s / 64], __ATOMIC_ACQUIRE) >> s % 64 & 1;
}

bool object_is_held(const struct ledger *l, uint32_t o)
{
	for (uint32_t w = 0; w < HOLDER_WORDS; w++)
		if (__atomic_load_n(&l->object[o].holders[w], __ATOMIC_ACQUIRE) != 0)
			return true;
	return false;
}

bool object_mark_removed(struct ledger *l, uint32_t o, uint64_t word)
{
	bool marked = object_move(l, o, word, word | OBJECT_REMOVED);
	CRASH_POINT(OBJECT_MARKED);
	return marked;
}

/* --- parents and children --- */

/* A look at the bits takes a while. Handed on and dropped meanwhile, it would be seen in neither
 * place. */
void object_hand_on(struct ledger *l, uint32_t o, uint32_t to)
{
	object_hold(l, o, to);
	object_stay(l, o);
}

void object_inherit(struct ledger *l, uint32_t from, uint32_t to)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		if (OBJECT_KIND(object_word(l, o)) != OBJECT_FREE && object_is_held_by(l, o, from))
			object_hand_on(l, o, to);
}

bool object_take_over(struct ledger *l, uint32_t o, uint32_t s, uint32_t generation)
{
	object_hand_on(l, o, s);
	/* Seen again after the bit is set, as in object_find_hold. */
	uint64_t word = object_word(l, o);
	bool is_there = OBJECT_GEN(word) == generation && OBJECT_KIND(word) > OBJECT_CLAIMED;
	if (!is_there)
		object_let_go(l, s, s, o);
	return is_there;
}

/* --- its size --- */

/* Only a ledger somebody scribbles on makes this many changes meanwhile. */
#define GROW_TRIES 4096

/* Finding what is missing may take a while, the broker may be asked: others may bring some of it
 * meanwhile, or all. Then what was found is not what is missing. */
enum refusal_reason object_grow(const struct gather *g, uint32_t o, uint64_t pages, uint64_t *ret_added)
{
	struct ledger *l = g->ledger;
	*ret_added = 0;
	for (uint32_t tries = 0; tries < GROW_TRIES && pages <= PAGES_MAX; tries++) {
		uint32_t has = object_has(l, o), missing = has < pages ? (uint32_t)pages - has : 0;
		if (missing == 0)
			return REASON_NONE;
		enum refusal_reason reason = gather_take(g, missing);
		if (reason == REASON_NONE && transfer_to_object(l, g->slot, o, has, missing)) {
			*ret_added = missing;
			return REASON_NONE;
		}
		if (reason != REASON_NONE && object_has(l, o) == has)
			return reason; /* nobody had any of it in his hand, to bring it here */
	}
	return REASON_LIMIT;
}

/* --- letting it go --- */

/* The object is CLAIMED in the name of the actor `s`: its alone to empty. */
static bool object_free(struct ledger *l, uint32_t s, uint32_t o, uint64_t word)
{
	transfer_from_object(l, s, o); /* model: RELEASE_EMPTY */
	CRASH_POINT(OBJECT_EMPTIED);
	bool freed = object_move(l, o, word, OBJECT_WORD(OBJECT_GEN(word) + 1, 0, OBJECT_FREE)); /* model: RELEASE_FREE */
	CRASH_POINT(OBJECT_FREED);
	return freed;
}

/* What the state is to be when `s` has looked at the bits. Leaving first, then a second
 * look, then claimed, and nobody else's business any more. The second look pairs with
 * object_find_hold, which sets its bit and then looks again: one of the two sees the other.
 * Between it and the claim nobody can have found the object, or the state would have
 * changed, because no other slot writes this one's number there. */
static uint64_t release_next(uint64_t word, uint32_t s, bool held)
{
	if (held)
		return word & ~OBJECT_LEAVING;
	if (word & OBJECT_LEAVING)
		return OBJECT_WORD(OBJECT_GEN(word), s + 1, OBJECT_CLAIMED);
	return OBJECT_WORD(OBJECT_GEN(word), s + 1, OBJECT_KIND(word)) | (word & (OBJECT_REMOVED | OBJECT_OFFERED)) |
	       OBJECT_LEAVING;
}

/* Only a ledger somebody scribbles on makes this many changes meanwhile. */
#define RELEASE_TRIES 256

bool object_release(struct ledger *l, uint32_t s, uint32_t o)
{
	for (uint32_t tries = 0; tries < RELEASE_TRIES && purse_is_tried_again(tries, l); tries++) {
		uint64_t word = object_word(l, o); /* model: RELEASE_LOOK */
		enum object_kind kind = OBJECT_KIND(word);
		bool leaving = (word & OBJECT_LEAVING) != 0;
		if (kind == OBJECT_FREE || (kind == OBJECT_SYSV && (word & OBJECT_REMOVED) == 0))
			return false;
		/* Whoever is leaving it looks at the bits after this, or has seen one and looks
		 * again. One that was claimed and never found is its maker's alone. */
		if ((kind == OBJECT_CLAIMED || leaving) && OBJECT_MAKER(word) != s)
			return false;
		/* Being made, by another thread of ours: who makes it holds it, who frees it does not. */
		if (kind == OBJECT_CLAIMED && object_is_held_by(l, o, s))
			return false;
		bool held = kind != OBJECT_CLAIMED && object_is_held(l, o); /* model: RELEASE_HELD */
		if (held && !leaving)
			return false;
		if (kind == OBJECT_CLAIMED && object_free(l, s, o, word))
			return true;
		if (kind != OBJECT_CLAIMED)
			object_move(l, o, word, release_next(word, s, held)); /* model: RELEASE_MOVE */
		CRASH_POINT(OBJECT_OUTWARDS);
	}
	purse_give_up(l);
	return false;
}

void object_let_go(struct ledger *l, uint32_t s, uint32_t holder, uint32_t o)
{
	uint32_t *note = &l->slot[s].letting_go;
	/* Noted first: whoever settles our death between the two ends what we began. */
	__atomic_store_n(note, o + 1, __ATOMIC_RELEASE);
	CRASH_POINT(LETTING_NOTED);
	object_drop(l, o, holder);
	object_release(l, s, o);
	CRASH_POINT(LETTING_DONE);
	__atomic_store_n(note, 0, __ATOMIC_RELEASE);
	CRASH_POINT(LETTING_FORGOTTEN);
}

void object_settle(struct ledger *l, uint32_t s)
{
	uint32_t o = __atomic_load_n(&l->slot[s].letting_go, __ATOMIC_ACQUIRE) - 1;
	if (o < LEDGER_OBJECTS)
		object_release(l, s, o);
	CRASH_POINT(LETTING_SETTLED);
	__atomic_store_n(&l->slot[s].letting_go, 0, __ATOMIC_RELEASE);
}

void object_drop_all(struct ledger *l, uint32_t s, uint32_t holder)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++) {
		uint64_t word = object_word(l, o);
		bool leaving = OBJECT_KIND(word) == OBJECT_CLAIMED || (word & OBJECT_LEAVING) != 0;
		/* Its bit may be set in one that is free: it died before it had looked again. */
		if (object_is_held_by(l, o, holder) || (leaving && OBJECT_MAKER(word) == holder))
			object_let_go(l, s, holder, o);
	}
}
