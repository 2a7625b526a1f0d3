/* SPDX-License-Identifier: MIT */
/* Shared objects: charged once, to the account, while any member holds them.
 *
 * Who holds one is a bit per slot, set and cleared by its own process (or by a parent
 * for its embryo, before the fork), so a death is settled by clearing bits and no
 * count can go wrong. Two who drop the last two bits at once both find the object
 * unheld; one of them claims it, and empties and frees what is its own then. */
#include <errno.h>
#include <string.h>

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/transfer.h"

static uint64_t object_read(const struct ledger *l, uint32_t o)
{
	/* Acquire: pairs with the release in object_publish; keys are seen with the kind. */
	return __atomic_load_n(&l->object[o].state, __ATOMIC_ACQUIRE);
}

static bool object_move(struct ledger *l, uint32_t o, uint64_t from, uint64_t to)
{
	return __atomic_compare_exchange_n(&l->object[o].state, &from, to, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_RELAXED);
}

int object_claim(struct ledger *l, uint32_t maker)
{
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		uint64_t word = object_read(l, o);
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

void object_publish(struct ledger *l, uint32_t o, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	uint64_t word = object_read(l, o);
	l->object[o].key_a = key_a;
	l->object[o].key_b = key_b;
	CRASH_POINT(OBJECT_KEYED);
	__atomic_store_n(&l->object[o].state, OBJECT_WORD(OBJECT_GEN(word), OBJECT_MAKER(word) + 1, kind),
			 __ATOMIC_RELEASE);
	CRASH_POINT(OBJECT_PUBLISHED);
}

static bool object_is(const struct ledger *l, uint32_t o, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	uint64_t word = object_read(l, o);
	return OBJECT_KIND(word) == kind && (word & OBJECT_LEAVING) == 0 && l->object[o].key_a == key_a && l->object[o].key_b == key_b;
}

int object_find_hold(struct ledger *l, uint32_t s, enum object_kind kind, uint64_t key_a, uint64_t key_b)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++) {
		if (!object_is(l, o, kind, key_a, key_b))
			continue;
		bool held = object_is_held_by(l, o, s);
		object_hold(l, o, s);
		/* Seen again after the bit is set: pairs with object_release, which looks
		 * at the bits again after it has claimed the object. One of us sees the other. */
		if (object_is(l, o, kind, key_a, key_b))
			return (int)o;
		/* Whoever saw our bit in between left the object to us. */
		if (!held)
			object_let_go(l, s, s, o);
	}
	return -ENOENT;
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

void object_mark_removed(struct ledger *l, uint32_t o)
{
	__atomic_fetch_or(&l->object[o].state, OBJECT_REMOVED, __ATOMIC_ACQ_REL);
	CRASH_POINT(OBJECT_MARKED);
}

void object_inherit(struct ledger *l, uint32_t from, uint32_t to)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		if (OBJECT_KIND(object_read(l, o)) != OBJECT_FREE && object_is_held_by(l, o, from))
			object_hold(l, o, to);
}

/* The object is CLAIMED in the name of the actor `s`: its alone to empty. */
static bool object_free(struct ledger *l, uint32_t s, uint32_t o, uint64_t word)
{
	transfer_from_object(l, s, o);
	CRASH_POINT(OBJECT_EMPTIED);
	bool freed = object_move(l, o, word, OBJECT_WORD(OBJECT_GEN(word) + 1, 0, OBJECT_FREE));
	CRASH_POINT(OBJECT_FREED);
	return freed;
}

/* The next state of an object on its way out; `word` itself when it stays. Leaving first,
 * then a second look at the bits: pairs with object_find_hold, which sets its bit and then
 * looks again. Anyone who finds it unheld and leaving may finish it, so it does not matter
 * who of us lives to; but one alone, who claims it: one who is slow would empty it when it
 * is somebody's again. */
static uint64_t state_outwards(const struct ledger *l, uint32_t s, uint32_t o, uint64_t word)
{
	if (OBJECT_KIND(word) == OBJECT_SYSV && (word & OBJECT_REMOVED) == 0)
		return word;
	if (object_is_held(l, o))
		return word & ~OBJECT_LEAVING;
	return word & OBJECT_LEAVING ? OBJECT_WORD(OBJECT_GEN(word), s + 1, OBJECT_CLAIMED) : word | OBJECT_LEAVING;
}

/* Only a ledger somebody scribbles on makes this many changes meanwhile. */
#define RELEASE_TRIES 256

bool object_release(struct ledger *l, uint32_t s, uint32_t o)
{
	for (int tries = 0; tries < RELEASE_TRIES; tries++) {
		uint64_t word = object_read(l, o), next;
		if (OBJECT_KIND(word) == OBJECT_CLAIMED) {
			if (OBJECT_MAKER(word) != s) /* being made, or emptied, by another */
				return false;
			if (object_free(l, s, o, word))
				return true;
			continue;
		}
		if (OBJECT_KIND(word) == OBJECT_FREE || (next = state_outwards(l, s, o, word)) == word)
			return false;
		object_move(l, o, word, next);
		CRASH_POINT(OBJECT_OUTWARDS);
	}
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
		uint64_t word = object_read(l, o);
		/* A free one too: `holder` may have died between the two looks of
		 * object_find_hold, when the object went after the first. */
		if (object_is_held_by(l, o, holder) ||
		    (OBJECT_KIND(word) == OBJECT_CLAIMED && OBJECT_MAKER(word) == holder))
			object_let_go(l, s, holder, o);
	}
}
