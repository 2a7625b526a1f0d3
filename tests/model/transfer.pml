/* SPDX-License-Identifier: MIT */
/* reserve/purse.c and reserve/transfer.c, step by step. Whoever includes this is an actor
 * and has these variables of its own:
 *
 *   a, me      its account; its slot (or the one the broker acts for), in the row of all
 *   at         where it is in a transfer: one of the names below, 0 outside
 *   did        what the last step came to
 *   seen       a purse as read, to be compared with
 *   got        pages moved
 *   side, has  for transfer_settle; for FINE
 *   mortal     may it die? Then control goes to its label `died`. */

#ifndef CRASH
#define CRASH(n) if :: mortal -> goto died :: true fi
#endif
#define STEP CRASH(NOWHERE)

#define LOOK 0
#define FUND_DEBIT 1
#define FUND_CREDIT 2
#define RETURN_STATE 3
#define RETURN_DEBIT 4
#define ACCOUNT_RELEASE 5
#define EMPTY_DEBIT 6
#define OBJECT_DEBIT 7
#define OBJECT_CREDIT 8
#define DEBIT_CONFIRMED 9
#define CREDIT_SIGNED 10
#define CREDIT_CONFIRMED 11
#define SETTLE_REPAIR 12
#define SETTLE_CLOSE 13

/* --- purse.c --- */

#define PENDING 0
#define DONE 1
#define REFUSED 2

#define CONFIRMED(by) slot[AT(a, SIGN_SLOT1(by) - 1)].confirmed
#define FITS(p, dg, du) (USED(p) + (du) >= 0 && USED(p) + (du) <= GRANTED(p) + (dg))

/* did: is it DONE, or must it be confirmed first? */
inline is_confirmed(by)
{
	if
	:: SIGN_SLOT1(by) > 0 && SIGN_SLOT1(by) <= SLOTS -> did = (CONFIRMED(by) >= SIGN_STEP(by))
	:: else -> did = DONE
	fi
#ifdef OVERWRITES_UNCONFIRMED
	did = DONE
#endif
}

inline signature_confirm(by)
{
	if
	:: CONFIRMED(by) < SIGN_STEP(by) -> CONFIRMED(by) = SIGN_STEP(by)
	:: else
	fi
}

/* purse_transfer: one of its steps each time, until did is DONE or REFUSED. */
#ifndef FINE
inline purse_transfer(p, dg, du, by)
{
	if
	:: FITS(purse[p], dg, du) ->
		is_confirmed(BY(purse[p]));
		if
		:: did == DONE -> purse_put(p, PURSE(GRANTED(purse[p]) + (dg), USED(purse[p]) + (du), by))
		:: else -> signature_confirm(BY(purse[p]))
		fi
	:: else -> did = REFUSED
	fi
}
#else
inline purse_transfer(p, dg, du, by)
{
	if
	:: !has ->
		seen = purse[p];
		if
		:: FITS(seen, dg, du) -> has = 1; did = PENDING
		:: else -> seen = 0; did = REFUSED
		fi
	:: else ->
		is_confirmed(BY(seen));
		if
		:: did != DONE -> signature_confirm(BY(seen))
		:: purse[p] == seen && did == DONE ->
			purse_put(p, PURSE(GRANTED(seen) + (dg), USED(seen) + (du), by));
			has = 0; seen = 0
		:: purse[p] != seen && did == DONE -> has = 0; seen = 0; did = PENDING
		fi
	fi
}
#endif

/* purse_swap on what was seen: likewise, REFUSED when the purse has changed since. */
inline purse_swap(p, v)
{
	is_confirmed(BY(seen));
	if
	:: did != DONE -> signature_confirm(BY(seen))
	:: did == DONE && purse[p] == seen -> purse_put(p, v); seen = 0
	:: did == DONE && purse[p] != seen -> did = REFUSED; seen = 0
	fi
}

/* --- transfer.c --- */

inline intent_open(what, whom, n)
{
	slot[me].step = slot[me].last + 1;
	slot[me].last = slot[me].last + 2;
	CRASH(INTENT_NUMBERED);
	slot[me].pages = n;
	slot[me].target = whom;
	CRASH(INTENT_WRITTEN);
	slot[me].op = what
}

/* The other fields mean nothing then. They are cleared to have fewer states. */
inline intent_close()
{
	slot[me].op = INTENT_NONE;
	slot[me].step = 0;
	slot[me].pages = 0;
	slot[me].target = 0
}

#define FIRST SIGN(S, slot[me].step)
#define SECOND SIGN(S, slot[me].step + 1)

/* The step account_release, of which the C code makes a function. */
inline account_release(n)
{
	CRASH(RELEASE_DEBITED);
	purse_transfer(ACCOUNT(a), 0, -(n), SECOND);
	if
	:: did == DONE -> CRASH(RELEASE_CREDITED); intent_close(); at = LOOK; got = 0
	:: did == REFUSED -> assert(false)
	:: else
	fi
}

/* transfer.c: transfer_fund. did: DONE or REFUSED */
inline transfer_fund(t, n)
{
	do
	:: atomic { at == LOOK -> STEP;
		if
		:: HEADROOM(purse[ACCOUNT(a)]) < n -> did = REFUSED; break
		:: else -> intent_open(INTENT_FUND, t, n)
		fi;
#ifdef CREDITS_FIRST
		at = FUND_CREDIT }
#else
		at = FUND_DEBIT }
#endif
	:: atomic { at == FUND_DEBIT -> CRASH(INTENT_OPENED);
		purse_transfer(ACCOUNT(a), 0, n, FIRST);
		if
		:: did == REFUSED -> CRASH(INTENT_OPENED); intent_close(); at = LOOK; break
#ifdef CREDITS_FIRST
		:: did == DONE -> CRASH(FUND_DEBITED); intent_close(); at = LOOK; break
#else
		:: did == DONE ->
			at = FUND_CREDIT;
#ifdef CLEARS_EARLY
			CRASH(FUND_DEBITED);
			slot[me].op = INTENT_NONE
#endif
#endif
		:: else
		fi }
	:: atomic { at == FUND_CREDIT -> CRASH(FUND_DEBITED);
		purse_transfer(SLOT(a, t), n, 0, SECOND);
		if
#ifdef CREDITS_FIRST
		:: did == DONE -> at = FUND_DEBIT
#else
		:: did == DONE -> CRASH(FUND_CREDITED); intent_close(); at = LOOK; break
#endif
		:: else
		fi }
	od
}

/* transfer.c: transfer_return. got: how many */
inline transfer_return(t, most)
{
	do
	:: atomic { at == LOOK -> STEP;
		did = PENDING;
		seen = purse[SLOT(a, t)];
		got = (HEADROOM(seen) < most -> HEADROOM(seen) : most);
		if
		:: got == 0 -> seen = 0; break
		:: else -> at = RETURN_STATE
		fi }
	:: atomic { at == RETURN_STATE -> STEP;
		if
#ifndef SWEEPS_EMBRYOS
		:: SLOT_STATE(slot[AT(a, t)].state) == EMBRYO -> seen = 0; got = 0; at = LOOK; break
#endif
		:: else -> intent_open(INTENT_RETURN, t, got); at = RETURN_DEBIT
		fi }
	:: atomic { at == RETURN_DEBIT -> CRASH(INTENT_OPENED);
		purse_swap(SLOT(a, t), PURSE(GRANTED(seen) - got, USED(seen), FIRST));
		if
		:: did == DONE -> at = ACCOUNT_RELEASE
		:: did == REFUSED -> CRASH(PURSE_SWAPPED); intent_close(); got = 0; at = LOOK
		:: else
		fi }
	:: atomic { at == ACCOUNT_RELEASE ->
		account_release(got);
		if :: at == LOOK -> break :: else fi }
	od
}

/* n pages, as long as it has `had`; or they are the account's again */
inline transfer_to_object(o, had, n)
{
	do
	:: atomic { at == LOOK -> STEP; intent_open(INTENT_OBJECT, o, n); at = OBJECT_DEBIT }
	:: atomic { at == OBJECT_DEBIT -> CRASH(INTENT_OPENED);
		slot[me].held = slot[me].held - n; /* its object's from now on */
		purse_transfer(SLOT(a, S), -(n), -(n), FIRST);
		if
		:: did == DONE -> at = OBJECT_CREDIT
		:: did == REFUSED -> assert(false)
		:: else -> slot[me].held = slot[me].held + n
		fi }
	:: atomic { at == OBJECT_CREDIT -> CRASH(OBJECT_DEBITED);
#ifndef ADDS_BLINDLY
		if
		:: USED(purse[OBJECT(a, o)]) != (had) -> at = LOOK; break
		:: else
		fi;
#endif
		purse_transfer(OBJECT(a, o), n, n, SECOND);
		if
		:: did == DONE -> at = LOOK; break
		:: else
		fi }
	od;
	CRASH(OBJECT_CREDITED);
	transfer_settle()
}

/* transfer.c: purse_empty, for transfer_from_object and transfer_reap */
inline purse_empty(what, p, whom)
{
	do
	:: atomic { at == LOOK -> STEP;
		seen = purse[p];
		got = GRANTED(seen);
		if
		:: got == 0 -> seen = 0; break
#ifdef EMPTIES_WITHOUT_INTENT
		:: else -> slot[me].step = slot[me].last + 1; slot[me].last = slot[me].last + 2; at = EMPTY_DEBIT
#else
		:: else -> intent_open(what, whom, got); at = EMPTY_DEBIT
#endif
		fi }
	:: atomic { at == EMPTY_DEBIT -> CRASH(INTENT_OPENED);
		purse_swap(p, PURSE(0, 0, FIRST));
		if
		:: did == DONE -> at = ACCOUNT_RELEASE
		:: did == REFUSED -> CRASH(PURSE_SWAPPED); intent_close(); got = 0; at = LOOK
		:: else
		fi }
	:: atomic { at == ACCOUNT_RELEASE ->
		account_release(got);
		if :: at == LOOK -> break :: else fi }
	od
}

#define NO_PURSE 255

inline debit_side()
{
	if
	:: slot[me].op == INTENT_FUND -> side = ACCOUNT(a)
	:: slot[me].op == INTENT_RETURN -> side = SLOT(a, slot[me].target)
	:: slot[me].op == INTENT_OBJECT -> side = SLOT(a, S)
	:: slot[me].op == INTENT_DESTROY -> side = OBJECT(a, slot[me].target)
	fi
}

inline credit_side()
{
	if
	:: slot[me].op == INTENT_FUND -> side = SLOT(a, slot[me].target)
	:: slot[me].op == INTENT_OBJECT && slot[me].target >= OBJECTS -> side = NO_PURSE
	:: slot[me].op == INTENT_OBJECT && slot[me].target < OBJECTS -> side = OBJECT(a, slot[me].target)
	:: else -> side = ACCOUNT(a)
	fi
}

inline transfer_settle()
{
	do
	:: atomic { at == LOOK -> STEP;
		if
		:: slot[me].op == INTENT_NONE -> slot[me].step = 0; slot[me].pages = 0; slot[me].target = 0; break
		:: else -> debit_side(); at = (BY(purse[side]) == FIRST -> CREDIT_SIGNED : DEBIT_CONFIRMED); side = 0
		fi }
	:: atomic { at == DEBIT_CONFIRMED -> STEP;
		at = (slot[me].confirmed >= slot[me].step -> CREDIT_SIGNED : SETTLE_CLOSE) }
	:: atomic { at == CREDIT_SIGNED -> STEP;
		credit_side();
		if
		:: side == NO_PURSE -> at = SETTLE_CLOSE
		:: else -> at = (BY(purse[side]) == SECOND -> SETTLE_CLOSE : CREDIT_CONFIRMED)
		fi;
		side = 0 }
	:: atomic { at == CREDIT_CONFIRMED -> STEP;
		at = (slot[me].confirmed >= slot[me].step + 1 -> SETTLE_CLOSE : SETTLE_REPAIR);
		if
		:: at == SETTLE_REPAIR && (slot[me].op == INTENT_FUND || slot[me].op == INTENT_OBJECT) ->
#ifndef REPAIRS_AS_IT_WAS
#ifndef REPAIRS_UNCONFIRMED
			STEP;
			signature_confirm(FIRST);
#endif
#ifdef REPAIR_NAMES_SELF
			STEP;
			slot[me].target = S;
#endif
			CRASH(REPAIR_CONFIRMED);
			slot[me].op = INTENT_RETURN
#endif
		:: else
		fi }
	:: atomic { at == SETTLE_REPAIR ->
		account_release(slot[me].pages);
		if :: at == LOOK -> break :: else fi }
	:: atomic { at == SETTLE_CLOSE -> CRASH(PURSE_SWAPPED); intent_close(); at = LOOK; break }
	od
}

/* --- slot.c, reap.c --- */

inline slot_free(s)
{
	STEP;
#ifdef STEPS_BEGIN_ANEW
	slot[s].last = 0;
	slot[s].confirmed = 0;
#endif
#ifdef FORKS
	slot[s].embryos = 0;
	CRASH(SLOT_CLEARED);
	slot[s].number = 0;
#endif
	slot[s].state = SLOT_WORD(SLOT_GEN(slot[s].state) + 1, 0, FREE)
}
