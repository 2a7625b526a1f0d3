/* SPDX-License-Identifier: MIT */
/* The ledger of include/ledger.h, small: for spin, which tries every order of steps.
 *
 * A configuration (transfers.pml, pool.pml, fork.pml, share.pml) says how many ACCOUNTS,
 * SLOTS and OBJECTS there are and includes what it needs of transfer.pml and object.pml.
 * tests/model/check.sh runs them all, and the mistakes that spin has to find: names of the
 * preprocessor, each where it is made.
 *
 * A purse is one integer, granted:8 | used:8 | signature:16, so that one statement that
 * compares and assigns it is the 16-byte compare-and-swap. A signature is slot + 1:8 |
 * step:8 and means what it means in the ledger.
 *
 * One step of the model is one access of the C code to memory that others write, and SIGKILL
 * may come before each: CRASH, with the name from reserve/crash.h where there is one, STEP
 * elsewhere. Three things are put together, because no order of steps can tell:
 *
 *   - Stores to an intent, which nobody reads while its writer lives, go with the step beside
 *     them; but death comes between any two of them.
 *   - A compare-and-swap that is tried until it succeeds is one step: the attempts that fail
 *     change nothing.
 *   - Reading a purse, confirming its signature and swapping it is two steps, "confirm what
 *     stands there" and "swap if what stands there is confirmed": if the signature was
 *     replaced in between, it had been confirmed by whoever did that, and the swap fails.
 *     -DFINE takes the three apart; one configuration is run both ways.
 *
 * Memory is sequentially consistent here: what the C code's atomics order is not checked.
 * Nobody scribbles on the ledger. Counts of people and pages are a handful, and nobody looks
 * for a page more often than the configuration says. Not here: observe mode, fork at a
 * percentage, SysV segments, pid namespaces, members without a shim, a reload. */

#define PURSE(granted, used, by) ((granted) << 24 | (used) << 16 | (by))
#define GRANTED(p)       ((p) >> 24)
#define USED(p)          ((p) >> 16 & 255)
#define BY(p)            ((p) & 65535)
#define HEADROOM(p)      (GRANTED(p) - USED(p))

#define SIGN(s, n)       (((s) + 1) << 8 | (n))
#define SIGN_SLOT1(by)   ((by) >> 8)
#define SIGN_STEP(by)    ((by) & 255)
#define BROKER_SLOT      SLOTS

/* All purses lie in one row: each account's own, its slots', its objects'. */
#define ACCOUNT(a)       ((a) * (1 + SLOTS + OBJECTS))
#define SLOT(a, s)       (ACCOUNT(a) + 1 + (s))
#define OBJECT(a, o)     (ACCOUNT(a) + 1 + SLOTS + (o))
#define PURSES           (ACCOUNTS * (1 + SLOTS + OBJECTS))

/* So do all slots. */
#define AT(a, s)         ((a) * SLOTS + (s))
#define S                (me % SLOTS) /* of the slot an actor acts for */

#define FREE 0
#define EMBRYO 1
#define LIVE 2

#define INTENT_NONE 0
#define INTENT_FUND 1
#define INTENT_RETURN 2
#define INTENT_OBJECT 3
#define INTENT_DESTROY 4

/* state word: generation:4 | owner + 1:2 | state:2 */
#define SLOT_WORD(gen, owner1, st) ((gen) << 4 | (owner1) << 2 | (st))
#define SLOT_STATE(w)    ((w) & 3)
#define SLOT_OWNER1(w)   ((w) >> 2 & 3)
#define SLOT_GEN(w)      ((w) >> 4)

int purse[PURSES];

typedef slot_t {
	byte op, step, pages, target; /* the intent */
	byte last;                    /* `step` in the ledger: the last number given out */
	byte confirmed;
	byte state;
#if OBJECTS
	byte letting_go;
#endif
#ifdef FORKS
	byte number; /* pid */
	byte embryos;
	byte due;    /* not in the ledger: what the child of this embryo will hold */
#endif
	/* not in the ledger: */
	byte held;   /* what its process believes to have charged */
	bit gone;    /* the kernel's word: its process is no more */
};
slot_t slot[ACCOUNTS * SLOTS];

/* The invariants. A purse is only ever assigned here, and they are looked at each time. */
#define PAID(a, s)       (slot[AT(a, s)].held <= USED(purse[SLOT(a, s)]))
#if SLOTS == 2
#define SLOTS_SUM(a)     (GRANTED(purse[SLOT(a, 0)]) + GRANTED(purse[SLOT(a, 1)]))
#define SLOTS_PAID(a)    (PAID(a, 0) && PAID(a, 1))
#else
#define SLOTS_SUM(a)     (GRANTED(purse[SLOT(a, 0)]) + GRANTED(purse[SLOT(a, 1)]) + GRANTED(purse[SLOT(a, 2)]))
#define SLOTS_PAID(a)    (PAID(a, 0) && PAID(a, 1) && PAID(a, 2))
#endif
#if OBJECTS
#define OBJECTS_SUM(a)   GRANTED(purse[OBJECT(a, 0)])
#else
#define OBJECTS_SUM(a)   0
#endif
#ifndef MORE_IS_SOUND /* what a configuration adds */
#define MORE_IS_SOUND(a) true
#endif

inline sound(a)
{
	/* solvent: what is in flight is missing from the children, never from the sum */
	assert(SLOTS_SUM(a) + OBJECTS_SUM(a) <= USED(purse[ACCOUNT(a)]));
	/* never under */
	assert(SLOTS_PAID(a));
	assert(MORE_IS_SOUND(a))
}

#ifndef MOVED /* what a configuration wants to know of it */
#define MOVED
#endif

inline purse_put(p, v)
{
	purse[p] = v;
	MOVED;
	assert(USED(purse[p]) <= GRANTED(purse[p]));
	sound(a)
}
