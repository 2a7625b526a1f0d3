/* SPDX-License-Identifier: MIT */
/* Shared objects: three processes of one account hold the same object and let it go, HOLDS
 * times each; whoever finds none claims and publishes one, and all who hold it see to it that
 * it has their page. START 1 begins with an object that processes 1 and 2 hold; START 2 with
 * one that process 2 holds, and process 1 hands it to a child, process 0; START 3 with one
 * without pages that all hold, and process 2 wants two. DEATHS of them are killed, anywhere, the others end when
 * they are through; the broker reaps, and is killed BROKER_DEATHS times. */
#define ACCOUNTS 1
#define SLOTS 3
#define OBJECTS 1
#define WANTS(me) (START == 3 && (me) == 2 -> 2 : 1)
#define MOST (START == 3 -> 2 : 1)
/* never under, for objects: whoever has it mapped relies on its page being paid; and never more
 * than anybody wants of it */
#define MORE_IS_SOUND(a) (USED(purse[OBJECT(a, 0)]) <= MOST && \
	(!mapped[0] || USED(purse[OBJECT(a, 0)]) >= WANTS(0)) && \
	(!mapped[1] || USED(purse[OBJECT(a, 0)]) >= WANTS(1)) && (!mapped[2] || USED(purse[OBJECT(a, 0)]) >= WANTS(2)))
bit mapped[SLOTS];

byte deaths = DEATHS; /* of members; the broker's are in its `mortal`, twice */
#define CRASH(n) if :: mortal > 1 || (mortal == 1 && deaths > 0) -> goto died :: true fi

#include "ledger.pml"
#include "transfer.pml"
#include "object.pml"

bit born = (START != 2); /* is process 0 the child of process 1, then not from the beginning */

proctype member(byte me; byte holds)
{
	byte a, got, did, at, side, i;
	bit has, mortal;
	int seen;
	short word, wish;

	if
	:: born || me != 0
	:: !born && me == 0 && slot[0].gone -> goto end
	fi;
	mortal = 1;
	if
	:: START == 3 -> goto charge
	:: else
	fi;
next:
	if
	:: mapped[me] && me == 1 && !born -> goto inherit
	:: mapped[me] && (me != 1 || born) -> goto let_go
	:: atomic { !mapped[me] && holds > 0 -> holds--; goto find }
	:: !mapped[me] && holds == 0 -> goto end
	fi;

inherit: /* object.c: object_inherit, and fork */
	atomic { STEP; object[0].holder[0] = 1 };
#ifndef INHERITS_QUIETLY
	object_stay(0);
#endif
	atomic { STEP; mapped[0] = 1; born = 1; goto next };

find: /* shim/shared.c: hold_locked; object.c: object_find_hold */
	atomic { STEP; if :: CAN_BE_FOUND(object[0].state) :: else -> goto claim fi };
	atomic { STEP; object[0].holder[S] = 1 };
#ifndef FINDS_QUIETLY
	object_stay(0);
#endif
	atomic { STEP; if :: CAN_BE_FOUND(object[0].state) -> goto charge :: else -> goto let_go fi };
claim: /* object.c: object_claim */
	atomic { STEP; word = object[0].state; if :: OBJECT_KIND(word) == OBJECT_FREE :: else -> word = 0; goto next fi };
	atomic { STEP;
		if
		:: object[0].state == word -> object[0].state = OBJECT_WORD(OBJECT_GEN(word), S + 1, OBJECT_CLAIMED); word = 0
		:: else -> word = 0; goto next
		fi };
	atomic { STEP; object[0].holder[S] = 1 };
	atomic { STEP; object[0].state = OBJECT_WORD(OBJECT_GEN(object[0].state), S + 1, OBJECT_FILE) };
charge: /* object.c: object_grow */
	atomic { STEP;
		wish = WANTS(me) - USED(purse[OBJECT(a, 0)]);
		if :: wish <= 0 -> wish = 0; goto use :: else fi };
	transfer_fund(S, wish);
	atomic { if :: did == REFUSED -> goto refused :: else fi; STEP; /* purse_take: nobody sweeps here */
		slot[me].held = wish;
		purse_put(SLOT(a, S), purse[SLOT(a, S)] + PURSE(0, wish, 0)) };
	transfer_to_object(0, WANTS(me) - wish, wish);
	wish = 0;
	goto charge; /* has it come? */
use:
	atomic { STEP; mapped[me] = 1; sound(a); goto next };
refused:
	atomic { STEP;
		if
		:: USED(purse[OBJECT(a, 0)]) != WANTS(me) - wish -> wish = 0; goto charge
		:: else -> wish = 0; goto let_go
		fi };

let_go:
	mapped[me] = 0;
	object_let_go(0, S);
	goto next;

died:
	atomic { deaths--; got = 0; did = 0; at = 0; side = 0; i = 0; has = 0; seen = 0; word = 0; wish = 0; holds = 0 };
end:
	atomic { slot[me].held = 0; slot[me].gone = 1; mapped[me] = 0; mortal = 0;
		if
		:: me == 1 && !born -> slot[0].gone = 1 /* it never will be */
		:: else
		fi }
}

proctype broker()
{
	byte a, me, got, did, at, side, i, mortal;
	bit has;
	int seen;
	short word, wish;

	mortal = 2 * BROKER_DEATHS;
turn:
	do
	:: atomic { SLOT_STATE(slot[0].state) == LIVE && slot[0].gone -> me = 0; break }
	:: atomic { SLOT_STATE(slot[1].state) == LIVE && slot[1].gone -> me = 1; break }
	:: atomic { SLOT_STATE(slot[2].state) == LIVE && slot[2].gone -> me = 2; break }
	:: atomic { SLOT_STATE(slot[0].state) == FREE && SLOT_STATE(slot[1].state) == FREE &&
		SLOT_STATE(slot[2].state) == FREE -> goto end }
	od;
	/* reap.c: member_reap */
	transfer_settle();
	object_settle();
	object_drop_all(0);
	purse_empty(INTENT_RETURN, SLOT(a, S), S);
	atomic { slot_free(me); me = 0; goto turn };
died:
	atomic { mortal = mortal - 2; me = 0; got = 0; did = 0; at = 0; side = 0; i = 0; has = 0; seen = 0; word = 0; wish = 0; goto turn };
end:
	assert(USED(purse[0]) == 0 && SLOTS_SUM(0) == 0 && OBJECTS_SUM(0) == 0);
	assert(OBJECT_KIND(object[0].state) == OBJECT_FREE);
	assert(!object[0].holder[0] && !object[0].holder[1] && !object[0].holder[2])
}

init {
	byte i;
	atomic {
		for (i : 0 .. SLOTS - 1) { slot[i].state = SLOT_WORD(0, 0, LIVE) }
		purse[0] = PURSE((START == 3 -> 3 : 2), 0, 0); /* three want four at once: one may be refused */
		if
		:: START == 3 ->
			object[0].state = OBJECT_WORD(0, 1, OBJECT_FILE);
			object[0].holder[0] = 1;
			object[0].holder[1] = 1;
			object[0].holder[2] = 1
		:: START == 1 || START == 2 ->
			purse[0] = PURSE(2, 1, 0);
			purse[OBJECT(0, 0)] = PURSE(1, 1, 0);
			object[0].state = OBJECT_WORD(0, 3, OBJECT_FILE);
			object[0].holder[2] = 1;
			mapped[2] = 1;
			object[0].holder[1] = (START == 1);
			mapped[1] = (START == 1)
		:: else
		fi;
		run member(0, HOLDS0);
		run member(1, HOLDS1);
		run member(2, HOLDS2);
		run broker();
		i = 0
	}
}
