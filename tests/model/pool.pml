/* SPDX-License-Identifier: MIT */
/* reserve/gather.c against daemon/funds.c. Members look for pages in the order before a
 * refusal and are killed anywhere; the broker reaps them, moves grant from one account to
 * another on request, and is killed BROKER_DEATHS times anywhere in that.
 *
 * Processes 0 and 1 are in account 0; with ACCOUNTS 2, process 2 is in account 1, which is
 * guaranteed a page of the pool. */
#define SLOTS 2
#define OBJECTS 0

#if ACCOUNTS == 2
#define POOL 4
#define GRANTS (GRANTED(purse[ACCOUNT(0)]) + GRANTED(purse[ACCOUNT(1)]))
#define MORE_IS_SOUND(a) (GRANTS <= POOL && GRANTED(purse[ACCOUNT(1)]) >= GUARANTEE)
#define GUARANTEE 1
#define PROCESSES 3
#else
#define POOL 4
#define MORE_IS_SOUND(a) (GRANTED(purse[ACCOUNT(0)]) <= POOL)
#define PROCESSES 2
#endif
#define LIMIT(a) 3
#if ACCOUNTS == 2
#define ROOM(a) (POOL - granted[0] - granted[1])
#else
#define ROOM(a) (POOL - granted[0])
#endif
#ifndef ASK_TRIES
#define ASK_TRIES 1
#endif

/* nobody else has moved a page of the account since the process began to look for some */
bit alone[2];
#define MOVED if :: a == 0 -> alone[1 - S] = 0 :: else fi

#include "ledger.pml"
#include "transfer.pml"

#define NOTHING 0
#define YES 10
#define NO 11
#define SILENCE 12
byte ask[PROCESSES]; /* pages, or the answer */

/* daemon/books.h */
byte granted[ACCOUNTS], next[ACCOUNTS], step[ACCOUNTS];

#define GRANT_SWAP 14
#define GRANT_BOOK 15

#define NUMBER (a * SLOTS + S) /* of a member's process */

#define OTHER (1 - S)
#define OTHER_AT (a * SLOTS + 1 - S)

proctype member(byte me)
{
	byte a, t, got, did, at, pages, missing, tries, asked, hr;
	bit has, mortal, more, swept;
	int seen;

	mortal = 1;
	a = me / SLOTS;
	pages = (me == 1 -> TAKES1 : 2);
	/* gather.c: gather_take */
	if :: a == 0 -> alone[S] = 1 :: else fi;
take:
	atomic { STEP;
		hr = HEADROOM(purse[SLOT(a, S)]);
		if
		:: hr >= pages -> /* purse_take */
			hr = 0;
			slot[me].held = slot[me].held + pages;
			purse_put(SLOT(a, S), purse[SLOT(a, S)] + PURSE(0, pages, 0));
			goto took
		:: hr < pages && tries == TRIES -> hr = 0; goto look
		:: hr < pages && tries < TRIES -> hr = 0; tries++
		fi };
	atomic { STEP;
		hr = HEADROOM(purse[SLOT(a, S)]);
		if
		:: hr >= pages -> hr = 0; goto take /* it came back meanwhile */
		:: else -> missing = pages - hr + BATCH; hr = 0; more = (BATCH > 0)
		fi };
fund:
	transfer_fund(S, missing);
	if
	:: atomic { did == DONE -> more = 0; swept = 0; missing = 0; goto take }
	:: atomic { did != DONE && more -> more = 0; missing = missing - BATCH; goto fund }
	:: atomic { did != DONE && !more && (swept || !SWEEPS) -> swept = 0; missing = 0; goto look }
	:: atomic { did != DONE && !more && !swept && SWEEPS -> swept = 1 }
	fi;
	/* gather.c: sweep */
	do
	:: atomic { t < SLOTS -> STEP;
		hr = HEADROOM(purse[ACCOUNT(a)]);
		if
		:: hr >= missing -> hr = 0; break
		:: else -> hr = missing - hr
		fi };
		atomic { STEP;
			if
			:: t != S && SLOT_STATE(slot[AT(a, t)].state) != EMBRYO
			:: else -> hr = 0
			fi };
		if
		:: hr > 0 -> transfer_return(t, hr); atomic { hr = 0 }
		:: else
		fi;
		t++
	:: t == SLOTS -> break
	od;
	atomic { t = 0; goto fund };
look:
	atomic { STEP;
		hr = HEADROOM(purse[SLOT(a, S)]);
		if
		:: hr < pages && asked == ASK_TRIES -> hr = 0; goto refused
		:: hr >= pages && asked == ASK_TRIES -> hr = 0; goto take
		:: hr >= pages && asked < ASK_TRIES -> hr = 0; tries = 0; asked++; goto take /* it came back meanwhile */
		:: hr < pages && asked < ASK_TRIES -> ask[me] = pages - hr; hr = 0; tries = 0; asked++
		fi };
	atomic {
		if
		:: ask[me] == YES -> ask[me] = NOTHING; goto take
		:: ask[me] == NO || ask[me] == SILENCE -> ask[me] = NOTHING
		fi };
	do /* gather.c: is_full; ledger.c: ledger_used */
	:: atomic { t < SLOTS -> STEP; hr = hr + (SLOT_STATE(slot[AT(a, t)].state) == LIVE -> USED(purse[SLOT(a, t)]) : 0); t++ }
	:: atomic { t == SLOTS -> t = 0; break }
	od;
	atomic { STEP;
		/* then once more, and no more than that */
		asked = (hr + pages > GRANTED(purse[ACCOUNT(a)]) -> ASK_TRIES : asked);
		hr = 0;
		goto take };
refused:
	atomic {
		/* a refusal changes nothing ... */
		assert(slot[me].held == USED(purse[SLOT(a, S)]));
		/* ... and means that the account is full, to the page */
		assert(!SWEEPS || a != 0 || !alone[S] || slot[OTHER_AT].op != INTENT_NONE || slot[OTHER_AT].gone ||
			GRANTED(purse[ACCOUNT(a)]) - USED(purse[SLOT(a, 0)]) - USED(purse[SLOT(a, 1)]) < pages)
	};
	goto died;
took:
	if
	:: ACCOUNTS == 2 && a == 0 -> goto died
	:: else
	fi;
	atomic { tries = 0; asked = 0; if :: a == 0 -> alone[S] = 0 :: else fi; STEP;
		/* purse_give */
		slot[me].held = 0;
		purse_put(SLOT(a, S), purse[SLOT(a, S)] - PURSE(0, pages, 0));
		};
	/* gather_trim */
	atomic { STEP; hr = HEADROOM(purse[SLOT(a, S)]) };
	if
	:: hr > BATCH -> transfer_return(S, hr - BATCH)
	:: else
	fi;
died:
	atomic { t = 0; got = 0; did = 0; at = 0; has = 0; seen = 0; pages = 0; missing = 0; tries = 0; asked = 0; hr = 0; more = 0; swept = 0;
		ask[me] = NOTHING; if :: a == 0 -> alone[S] = 0 :: else fi; mortal = 0;
		slot[me].held = 0; slot[me].gone = 1 }
}

#define DEAD(i) (SLOT_STATE(slot[i].state) == LIVE && slot[i].gone)
#define ASKS(i) (ask[i] > NOTHING && ask[i] < YES)
#define IN_USE(i) (SLOT_STATE(slot[i].state) != FREE)

proctype broker()
{
	byte a, me, got, did, at, side, mortal, who, pages, other;
	byte used[ACCOUNTS];
	bit has, again;
	int seen;

	mortal = BROKER_DEATHS;
turn:
	do
	:: atomic { DEAD(0) -> me = 0; goto reap }
	:: atomic { DEAD(1) -> me = 1; goto reap }
	:: atomic { ASKS(0) && !DEAD(1) -> who = 0; goto extend }
	:: atomic { ASKS(1) && !DEAD(0) -> who = 1; goto extend }
#if ACCOUNTS == 2
	:: atomic { DEAD(2) -> me = 2; goto reap }
	:: atomic { ASKS(2) -> who = 2; goto extend }
	:: atomic { !IN_USE(0) && !IN_USE(1) && !IN_USE(2) -> goto end }
#else
	:: atomic { !IN_USE(0) && !IN_USE(1) -> goto end }
#endif
	od;
reap:
	a = me / SLOTS;
	transfer_settle();
	purse_empty(INTENT_RETURN, SLOT(a, S), S);
	atomic { slot_free(me); a = 0; me = 0; goto turn };

extend: /* funds.c: funds_extend */
	atomic { a = who / SLOTS; STEP;
		pages = ask[who];
		if
		:: pages == 0 || pages >= YES -> goto answered /* it is dead */
		:: HEADROOM(purse[ACCOUNT(a)]) >= pages -> ask[who] = YES; goto answered
		:: else -> pages = pages - HEADROOM(purse[ACCOUNT(a)])
		fi };
decide: /* funds.c: decide; table_read, pool_extend */
	atomic {
		if
		:: pages > LIMIT(a) - granted[a] -> got = NO
		:: pages <= LIMIT(a) - granted[a] && pages > ROOM(a) -> got = 1
		:: else -> got = 0
		fi;
		if
		:: got == NO -> if :: ASKS(who) -> ask[who] = NO :: else fi; got = 0; goto answered
		:: got == 1 && again -> if :: ASKS(who) -> ask[who] = NO :: else fi; got = 0; goto answered
		:: got == 1 && !again -> got = 0; again = 1; other = pages - ROOM(a)
		:: got == 0 ->
			/* a batch, or what is needed */
			other = granted[a] + pages; goto grant
		fi };
#if ACCOUNTS == 2
	/* reclaim: account_reclaim of the other, its reading of used first */
	atomic { STEP;
		a = 1 - a;
		got = HEADROOM(purse[ACCOUNT(a)]);
		if
		:: GRANTED(purse[ACCOUNT(a)]) - (a == 1 -> GUARANTEE : 0) < got -> got = GRANTED(purse[ACCOUNT(a)]) - (a == 1 -> GUARANTEE : 0)
		:: else
		fi;
		if
		:: got < other -> got = 0; a = 1 - a; other = 0; if :: ASKS(who) -> ask[who] = NO :: else fi; goto answered
		:: else -> got = 0; other = granted[a] - other
		fi };
#endif
grant: /* account.c: grant_move to `other` */
	atomic { STEP;
#ifndef BOOKS_LATER
		next[a] = other
#endif
	};
	do
	:: atomic { at == LOOK -> STEP;
		seen = purse[ACCOUNT(a)];
		assert(GRANTED(seen) == granted[a]);
		if
#ifndef RECLAIMS_USED
		:: USED(seen) > other -> seen = 0; break
#endif
		:: else -> step[a]++; at = GRANT_SWAP
		fi }
	:: atomic { at == GRANT_SWAP -> STEP;
		purse_swap(ACCOUNT(a), PURSE(other, USED(seen), SIGN(BROKER_SLOT, step[a])));
		if
		:: did == DONE -> at = GRANT_BOOK
		:: did == REFUSED -> at = LOOK
		:: else
		fi }
	:: atomic { at == GRANT_BOOK -> STEP;
		at = LOOK;
		granted[a] = other; next[a] = other; break }
	od;
	atomic { other = 0;
		if
		:: a == who / SLOTS -> if :: ASKS(who) -> ask[who] = (granted[a] > 0 -> YES : NO) :: else fi; goto answered
		:: else -> a = 1 - a; goto decide
		fi };
answered:
	atomic { a = 0; pages = 0; again = 0; other = 0; who = 0; goto turn };

died:
	atomic { mortal--; a = 0; me = 0; got = 0; did = 0; at = 0; side = 0; has = 0; seen = 0; who = 0; pages = 0; other = 0; again = 0;
		if :: ASKS(0) -> ask[0] = SILENCE :: else fi;
		if :: ASKS(1) -> ask[1] = SILENCE :: else fi;
#if ACCOUNTS == 2
		if :: ASKS(2) -> ask[2] = SILENCE :: else fi;
#endif
	};
	/* account.c: account_adopt */
	do
	:: atomic { a < ACCOUNTS ->
		assert(GRANTED(purse[ACCOUNT(a)]) == granted[a] || GRANTED(purse[ACCOUNT(a)]) == next[a]);
		granted[a] = GRANTED(purse[ACCOUNT(a)]);
		next[a] = granted[a];
		a++ }
	:: atomic { a == ACCOUNTS -> a = 0; goto turn }
	od;
end:
	assert(USED(purse[0]) == 0 && SLOTS_SUM(0) == 0);
#if ACCOUNTS == 2
	assert(USED(purse[ACCOUNT(1)]) == 0 && SLOTS_SUM(1) == 0)
#endif
}

init {
	byte i;
	atomic {
		for (i : 0 .. ACCOUNTS - 1) {
			purse[ACCOUNT(i)] = PURSE(2, 0, 0);
			granted[i] = 2;
			next[i] = 2
		}
		for (i : 0 .. PROCESSES - 1) { slot[i].state = SLOT_WORD(0, 0, LIVE); run member(i) }
		run broker();
		i = 0
	}
}
