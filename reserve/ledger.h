/* SPDX-License-Identifier: MIT */
/* One account's ledger as an object: made by the broker, mapped by members, and the
 * tables in it: slots and shared objects. Transfers are in reserve/transfer.h. */
#pragma once

#include "include/ledger.h"
#include "reserve/purse.h"

/* --- the memory itself --- */

/* A new sealed memfd with an empty ledger named `name`: close-on-exec, sealed against
 * shrinking, growing and further seals. Returns the descriptor (the caller closes it)
 * or -errno. */
int ledger_create(const char *name);

/* Maps a ledger and checks it: size, seals, magic, version, geometry. 0 and `ret` (the
 * caller unmaps with ledger_unmap), -EPROTO when the format is another version's,
 * -EBADMSG when it is not a ledger at all, or -errno from the kernel. */
int ledger_map(int fd, bool writable, struct ledger **ret);
void ledger_unmap(struct ledger *l);

/* Is everything that only the broker writes, and that never changes, still as it was
 * made? False: somebody scribbled on it. */
bool ledger_is_sound(const struct ledger *l, const char *name);

/* Makes an empty ledger of mapped memory: everything zero but the header. The broker,
 * before anyone joined and after a damaged account's last member has gone. Step numbers
 * are lost, so nobody may have a transfer open. */
void ledger_format(struct ledger *l, const char *name);

/* Empties what nobody uses of whatever was left in it: every free slot and object is as it
 * was made but for its generation and its step numbers, which go on above any that counts as
 * done. Where looking may stop, counters and refusals stay: what a dead parent gave an embryo is
 * still to be found above. The purses that are left are signed `by` the caller. May be cut short
 * anywhere. The broker, when all slots are free and nobody can act. */
void ledger_sweep(struct ledger *l, uint64_t by);

/* --- slots --- */

/* Where a look at all slots, or all objects, may stop. Acquire: pairs with the raise in
 * top_raise; whoever sees a claim sees a top above it. Never beyond the tables, whatever
 * stands there. */
static inline uint32_t ledger_slots(const struct ledger *l)
{
	return (uint32_t)min_u64(__atomic_load_n(&l->header.slot_top, __ATOMIC_ACQUIRE), LEDGER_SLOTS);
}

static inline uint32_t ledger_objects(const struct ledger *l)
{
	return (uint32_t)min_u64(__atomic_load_n(&l->header.object_top, __ATOMIC_ACQUIRE), LEDGER_OBJECTS);
}

/* Raises a top to at least `n`. */
void top_raise(uint32_t *top, uint32_t n);

/* Claims a free slot in the state given: SLOT_LIVE for a process that joins, or
 * SLOT_EMBRYO owned by slot `owner`. The number of the slot, or -EAGAIN when all are
 * taken. Any number of claimers at once. */
int slot_claim(struct ledger *l, enum slot_state state, uint32_t owner);
/* The same of slot `s`. False: it is not free. */
bool slot_claim_this(struct ledger *l, uint32_t s, enum slot_state state, uint32_t owner);

/* An embryo comes to life as `pid`. False when it is no longer an embryo of that
 * generation: the broker buried it, or somebody else adopted it. */
bool slot_adopt(struct ledger *l, uint32_t s, uint32_t generation, int32_t pid);

/* A slot between LIVE and UNATTACHED: who acts for it changes, its charge stays. One that becomes
 * UNATTACHED is SLOT_TURNED until slot_turn_end. False: it was not in the state `from`. The broker. */
bool slot_turn(struct ledger *l, uint32_t s, enum slot_state from, enum slot_state to);
void slot_turn_end(struct ledger *l, uint32_t s);
/* Writes down who is in the slot of that generation, if nobody has: a parent, for its child. */
void slot_name(struct ledger *l, uint32_t s, uint32_t generation, int32_t pid);

/* Empties the slot for the next one. The purse must be empty and no intent open. */
void slot_free(struct ledger *l, uint32_t s);

/* The state word, read once, acquire: pairs with the claim, adopt and free above. */
static inline uint64_t slot_read(const struct ledger *l, uint32_t s)
{
	return __atomic_load_n(&l->slot[s].state, __ATOMIC_ACQUIRE);
}

/* --- objects --- */

/* The state word, read once, acquire: pairs with the release in object_publish; keys are seen with
 * the kind. */
static inline uint64_t object_word(const struct ledger *l, uint32_t object)
{
	return __atomic_load_n(&l->object[object].state, __ATOMIC_ACQUIRE);
}

/* How many pages are charged in it. */
static inline uint32_t object_has(const struct ledger *l, uint32_t object)
{
	return PURSE_USED(purse_read(&l->object[object].purse));
}

/* A free object, claimed for `maker`, of no kind yet and held by it. Its number, or
 * -ENOSPC. If the maker dies before object_publish, object_drop_all frees it. */
int object_claim(struct ledger *l, uint32_t maker);

/* Makes a claimed object known under its keys (0, 0 for anonymous memory). */
void object_publish(struct ledger *l, uint32_t object, enum object_kind kind, uint64_t key_a, uint64_t key_b);

/* The published object of that kind and keys, held by `s` from now on; or -ENOENT. */
int object_find_hold(struct ledger *l, uint32_t s, enum object_kind kind, uint64_t key_a, uint64_t key_b);

/* The same, and where there is none a new one, published and without pages: at no moment are there
 * two of the same kind and keys, whoever else obtains one. Or -ENOSPC. */
int object_obtain(struct ledger *l, uint32_t s, enum object_kind kind, uint64_t key_a, uint64_t key_b);

/* Slot `s` holds the object from now on, or no longer. Idempotent. */
void object_hold(struct ledger *l, uint32_t object, uint32_t s);
void object_drop(struct ledger *l, uint32_t object, uint32_t s);
bool object_is_held_by(const struct ledger *l, uint32_t object, uint32_t s);
bool object_is_held(const struct ledger *l, uint32_t object);

/* It has at least `pages` from now on, of which `ret_added` were added. Others may grow it at the
 * same moment, and be killed: what both would add is added once. REASON_NONE, or why not (nothing
 * changed). The caller holds it. */
struct gather;
enum refusal_reason object_grow(const struct gather *g, uint32_t object, uint64_t pages, uint64_t *ret_added);

/* SysV: IPC_RMID was done; the segment lives only while it is attached. `word` is its state when
 * that was found out. False: it has changed since, and nothing is marked: by now it may be
 * another's. */
bool object_mark_removed(struct ledger *l, uint32_t object, uint64_t word);

/* Slot `to` holds it, too: a parent, who holds it, for its embryo. */
void object_hand_on(struct ledger *l, uint32_t object, uint32_t to);
/* Copies what slot `from` holds to `to`: a parent to its embryo. */
void object_inherit(struct ledger *l, uint32_t from, uint32_t to);

/* A child: slot `s` holds the object from now on if it is still the one of that generation. False:
 * it is gone, and not held, whatever is in its place. */
bool object_take_over(struct ledger *l, uint32_t object, uint32_t s, uint32_t generation);

/* Uncharges and frees the object if nothing holds it any more: no holder, and for a
 * SysV segment removed. `s` is the actor. True when this call freed it. */
bool object_release(struct ledger *l, uint32_t s, uint32_t object);

/* `holder` holds the object no longer, and it is released if nobody else does: the two as
 * one, for whoever settles a death of the actor `s` in between (object_settle). */
void object_let_go(struct ledger *l, uint32_t s, uint32_t holder, uint32_t object);
void object_settle(struct ledger *l, uint32_t s);

/* Drops everything slot `holder` holds, releasing what nobody else does; a claimed
 * object that `holder` never published goes too. `s` is the actor. */
void object_drop_all(struct ledger *l, uint32_t s, uint32_t holder);

/* --- the whole --- */

/* What the account is charged for at this moment: the members' used, embryos' grants
 * and objects, without idle slack. One pass over the slots; exact when nobody moves. */
uint64_t ledger_used(const struct ledger *l);
