/* SPDX-License-Identifier: MIT */
/* One object for one file: MEMBERS of one account obtain the same object at the same time, HOLDS
 * times each, and let it go; DEATHS of them are killed, anywhere, and reaped. There are no pages
 * here. That an offer below is given way to, and for how long, is left open: each looks as it
 * likes. */
#define SLOTS MEMBERS
#define OBJECTS MEMBERS

#define S me
#define LOOK 0
#define INTENT_DESTROY 0
#define OBJECT(a, o) 0
#define CRASH(n) if :: mortal && deaths > 0 -> goto died :: true fi
#define STEP CRASH(NOWHERE)

typedef slot_t {
	byte letting_go;
	bit gone, reaped;
};
slot_t slot[SLOTS];
byte deaths = DEATHS;

/* There is nothing to be emptied. */
inline purse_empty(what, p, whom)
{
	skip
}

#include "object.pml"

/* What the next one who looks may find, or have stay. */
#define IS_ONE(o) (OBJECT_KIND(object[o].state) == OBJECT_FILE && !(object[o].state & OBJECT_OFFERED))
#if MEMBERS == 2
#define ONES (IS_ONE(0) + IS_ONE(1))
#else
#define ONES (IS_ONE(0) + IS_ONE(1) + IS_ONE(2))
#endif

#define NONE OBJECTS

#define REFUSE 24
#define OFFER 25
#define CONFIRM 26

proctype member(byte me; byte holds)
{
	byte at, i, o, mine, j;
	bit mortal, alone;
	short word, wish, offered;

	mine = NONE;
	mortal = 1;
find: /* object.c: object_find_hold */
	o = 0;
	do
	:: o == OBJECTS -> break
	:: o < OBJECTS ->
		atomic { STEP; if :: CAN_BE_FOUND(object[o].state) :: else -> o++; goto found_none fi };
		atomic { STEP; object[o].holder[S] = 1 };
		object_stay(o);
		atomic { STEP; if :: CAN_BE_FOUND(object[o].state) -> goto use :: else fi };
		object_let_go(o, S);
		o++;
found_none:
		skip
	od;
	if
	:: mine < NONE -> goto offer
	:: else
	fi;
	atomic { STEP; /* object.c: object_claim */
		if
		:: OBJECT_KIND(object[0].state) == OBJECT_FREE -> mine = 0
		:: OBJECT_KIND(object[1].state) == OBJECT_FREE -> mine = 1
#if OBJECTS > 2
		:: OBJECT_KIND(object[2].state) == OBJECT_FREE -> mine = 2
#endif
		:: else -> goto find
		fi;
		object[mine].state = OBJECT_WORD(OBJECT_GEN(object[mine].state), S + 1, OBJECT_CLAIMED) };
	atomic { STEP; object[mine].holder[S] = 1 };
offer: /* object.c: object_offer */
	atomic { STEP;
		offered = OBJECT_WORD(OBJECT_GEN(object[mine].state), S + 1, OBJECT_FILE) | OBJECT_OFFERED;
		object[mine].state = offered;
		j = 0;
		alone = 1;
		at = REFUSE };
	do
	:: atomic { at == REFUSE && (j == OBJECTS || !alone) -> j = 0; at = CONFIRM }
	:: atomic { at == REFUSE && j < OBJECTS && alone -> STEP; /* object.c: offer_passes */
		word = object[j].state;
#ifdef OFFERS_UNSEEN
		word = 0;
#endif
		if
		:: j == mine || OBJECT_KIND(word) != OBJECT_FILE -> j++; word = 0
#ifdef LOWEST_WINS
		:: j > mine && OBJECT_KIND(word) == OBJECT_FILE -> j++; word = 0
#endif
#ifdef PASSES_THE_LEAVING
		:: j != mine && OBJECT_KIND(word) == OBJECT_FILE && (word & OBJECT_LEAVING) -> j++; word = 0
#endif
		:: j != mine && CAN_BE_FOUND(word) -> alone = 0; word = 0
		:: j < mine && OBJECT_KIND(word) == OBJECT_FILE && (word & OBJECT_OFFERED) -> alone = 0; word = 0
		:: j != mine && OBJECT_KIND(word) == OBJECT_FILE && (word & OBJECT_OFFERED) -> at = OFFER
		fi }
	:: atomic { at == OFFER -> STEP; /* refuses what it saw */
		if
		:: object[j].state == word ->
			object[j].state = OBJECT_WORD(OBJECT_GEN(word), OBJECT_MAKER1(word), OBJECT_CLAIMED);
			j++
		:: else -> alone = 0
		fi;
		word = 0;
		at = REFUSE }
	:: atomic { at == CONFIRM -> STEP;
		at = LOOK;
		if
		:: object[mine].state == offered && alone ->
			object[mine].state = offered - OBJECT_OFFERED;
			assert(ONES == 1);
			o = mine; mine = NONE; offered = 0;
			goto use
		:: object[mine].state == offered && !alone ->
			object[mine].state = OBJECT_WORD(OBJECT_GEN(offered), S + 1, OBJECT_CLAIMED)
		:: object[mine].state != offered
		fi;
		offered = 0; alone = 0;
		goto find }
	od;
use:
	atomic { assert(IS_ONE(o) && ONES == 1 && object[o].holder[S]); alone = 0 };
	if
	:: mine < NONE -> object_let_go(mine, S); mine = NONE
	:: else
	fi;
	atomic { assert(IS_ONE(o) && ONES == 1 && object[o].holder[S]) };
	object_let_go(o, S);
	if
	:: atomic { holds > 1 -> holds--; goto find }
	:: else -> goto end
	fi;
died:
	atomic { deaths--; at = 0; i = 0; j = 0; word = 0; wish = 0; offered = 0; alone = 0 };
end:
	atomic { slot[me].gone = 1; mortal = 0; mine = 0; o = 0; holds = 0 }
}

proctype broker()
{
	byte me, at, i, o;
	bit mortal;
	short word, wish;
turn:
	do
	:: atomic { slot[0].gone && !slot[0].reaped -> me = 0; break }
	:: atomic { slot[1].gone && !slot[1].reaped -> me = 1; break }
#if MEMBERS > 2
	:: atomic { slot[2].gone && !slot[2].reaped -> me = 2; break }
	:: atomic { slot[0].reaped && slot[1].reaped && slot[2].reaped -> goto end }
#else
	:: atomic { slot[0].reaped && slot[1].reaped -> goto end }
#endif
	od;
	/* reap.c: member_reap */
	object_settle();
	o = 0;
	do
	:: o < OBJECTS -> object_drop_all(o); o++
	:: o == OBJECTS -> break
	od;
	atomic { slot[me].reaped = 1; me = 0; o = 0; goto turn };
died: /* never: the broker is not mortal here */
	skip;
end:
	for (o : 0 .. OBJECTS - 1) {
		assert(OBJECT_KIND(object[o].state) == OBJECT_FREE);
		for (i : 0 .. SLOTS - 1) { assert(!object[o].holder[i]) }
	}
}

init {
	byte i;
	atomic {
		for (i : 0 .. MEMBERS - 1) { run member(i, HOLDS) }
		run broker();
		i = 0
	}
}
