/* SPDX-License-Identifier: MIT */
/* A member's place in the ledger. Its state, pid and flags are one 16-byte word, and one
 * compare-and-swap moves a slot from one life to the next: who is in it changes in the same
 * step, and the generation in the state keeps whoever is late from acting on, or writing a
 * pid into, a slot that has changed hands. (Wide and narrow ones on one line are ordered as
 * in reserve/purse.c.) */
#include <errno.h>
#include <string.h>

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"

_Static_assert(offsetof(struct slot, state) % 16 == 0 && offsetof(struct slot, pid) == offsetof(struct slot, state) + 8 &&
	       offsetof(struct slot, flags) == offsetof(struct slot, pid) + 4, "one word");

/* Who is in a slot: its state, and beside it pid and flags. */
struct occupant {
	uint64_t state;
	uint32_t pid, flags;
};

static unsigned __int128 occupant_word(struct occupant o)
{
	return (unsigned __int128)((uint64_t)o.flags << 32 | o.pid) << 64 | o.state;
}

/* The state read first (acquire): what is read after it is not older. A torn set is
 * harmless, the exchange compares all three. */
static struct occupant occupant_read(const struct ledger *l, uint32_t s)
{
	struct occupant o = { .state = slot_read(l, s) };
	o.pid = (uint32_t)__atomic_load_n(&l->slot[s].pid, __ATOMIC_RELAXED);
	o.flags = __atomic_load_n(&l->slot[s].flags, __ATOMIC_RELAXED);
	return o;
}

/* A full barrier: what the mover wrote into the slot is seen by whoever reads the new state
 * (release), and it sees what the one wrote who freed it (acquire). */
static bool slot_move(struct ledger *l, uint32_t s, struct occupant from, struct occupant to)
{
	return __sync_bool_compare_and_swap((unsigned __int128 *)&l->slot[s].state, occupant_word(from),
					    occupant_word(to));
}

static void slot_clear(struct slot *me)
{
	/* `step` and `confirmed` live on: signatures must never repeat. */
	me->peak = 0;
	me->start_ticks = 0;
	me->uid = 0;
	me->joined_ns = 0;
	me->refusals = 0;
	me->embryos = 0;
	me->unseen = 0;
	me->drift = 0;
	me->soft = 0;
	me->credit = 0;
	memset(me->comm, 0, sizeof me->comm);
	memset(me->category, 0, sizeof me->category);
}

void top_raise(uint32_t *top, uint32_t n)
{
	uint32_t seen = __atomic_load_n(top, __ATOMIC_RELAXED);
	/* Release: see ledger_slots. */
	while (seen < n && !__atomic_compare_exchange_n(top, &seen, n, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
}

bool slot_claim_this(struct ledger *l, uint32_t s, enum slot_state state, uint32_t owner)
{
	struct occupant nobody = occupant_read(l, s), next = { 0 };
	if (SLOT_STATE(nobody.state) != SLOT_FREE)
		return false;
	next.state = SLOT_WORD(SLOT_GEN(nobody.state), state == SLOT_EMBRYO ? owner + 1 : 0, state);
	top_raise(&l->header.slot_top, s + 1);
	CRASH_POINT(SLOT_TOP_RAISED);
	return slot_move(l, s, nobody, next);
}

int slot_claim(struct ledger *l, enum slot_state state, uint32_t owner)
{
	/* The hint is where the lowest free slot may be, so that the top stays low. Relaxed:
	 * a wrong one costs a longer look. */
	uint32_t start = __atomic_load_n(&l->header.slot_hint, __ATOMIC_RELAXED);
	for (uint32_t i = 0; i < LEDGER_SLOTS; i++) {
		uint32_t s = (start + i) % LEDGER_SLOTS;
		if (!slot_claim_this(l, s, state, owner))
			continue;
		CRASH_POINT(SLOT_CLAIMED);
		__atomic_store_n(&l->header.slot_hint, s + 1, __ATOMIC_RELAXED);
		return (int)s;
	}
	return -EAGAIN;
}

/* Only a ledger somebody scribbles on makes this many changes meanwhile. */
#define MOVE_TRIES 256

bool slot_adopt(struct ledger *l, uint32_t s, uint32_t generation, int32_t pid)
{
	for (int tries = 0; tries < MOVE_TRIES; tries++) {
		struct occupant embryo = occupant_read(l, s), child = embryo;
		if (SLOT_STATE(embryo.state) != SLOT_EMBRYO || SLOT_GEN(embryo.state) != generation)
			return false;
		child.state = SLOT_WORD(generation, 0, SLOT_LIVE);
		child.pid = (uint32_t)pid;
		if (slot_move(l, s, embryo, child)) {
			CRASH_POINT(SLOT_ADOPTED);
			return true;
		}
	}
	return false;
}

void slot_name(struct ledger *l, uint32_t s, uint32_t generation, int32_t pid)
{
	for (int tries = 0; tries < MOVE_TRIES; tries++) {
		struct occupant unnamed = occupant_read(l, s), named = unnamed;
		named.pid = (uint32_t)pid;
		if (SLOT_STATE(unnamed.state) == SLOT_FREE || SLOT_GEN(unnamed.state) != generation ||
		    unnamed.pid != 0 || slot_move(l, s, unnamed, named))
			return;
	}
}

bool slot_turn(struct ledger *l, uint32_t s, enum slot_state from, enum slot_state to)
{
	for (int tries = 0; tries < MOVE_TRIES; tries++) {
		struct occupant before = occupant_read(l, s), after = before;
		if (SLOT_STATE(before.state) != from)
			return false;
		after.state = SLOT_WORD(SLOT_GEN(before.state), 0, to);
		after.flags = (before.flags & ~SLOT_TURNED) | (to == SLOT_UNATTACHED ? SLOT_TURNED : 0);
		if (slot_move(l, s, before, after))
			return true;
	}
	return false;
}

void slot_turn_end(struct ledger *l, uint32_t s)
{
	/* Release: what was settled is so before nobody looks at it again. */
	__atomic_fetch_and(&l->slot[s].flags, ~SLOT_TURNED, __ATOMIC_RELEASE);
}

void slot_free(struct ledger *l, uint32_t s)
{
	slot_clear(&l->slot[s]);
	CRASH_POINT(SLOT_CLEARED);
	for (int tries = 0; tries < MOVE_TRIES; tries++) {
		struct occupant last = occupant_read(l, s), nobody = { 0 };
		nobody.state = SLOT_WORD(SLOT_GEN(last.state) + 1, 0, SLOT_FREE);
		if (slot_move(l, s, last, nobody))
			break;
	}
	CRASH_POINT(SLOT_FREED);
	if (s < __atomic_load_n(&l->header.slot_hint, __ATOMIC_RELAXED))
		__atomic_store_n(&l->header.slot_hint, s, __ATOMIC_RELAXED);
}
