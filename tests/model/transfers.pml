/* SPDX-License-Identifier: MIT */
/* Every transfer against every other: members of one account, each of which makes MOVES
 * transfers (funds itself, returns its own slack or a sibling's), charging what it gets in
 * between, and is killed anywhere; the broker reaps them, and is killed BROKER_DEATHS times
 * anywhere in that and starts again. */
#define ACCOUNTS 1
#define OBJECTS 0
#include "ledger.pml"
#include "transfer.pml"

/* What a process wants of the broker: nothing, a slot, to be settled after execve; or the
 * answer. */
#define NOTHING 0
#define JOIN 1
#define RENEW 2
#define JOINED(s) (4 + (s))
byte want[SLOTS];
byte place[SLOTS]; /* the slot of each process, as the broker's registry knows */

/* `images`: how often it may be another program afterwards, by execve or anew. */
proctype member(byte number; byte moves; byte images)
{
	byte a, me, t, got, did, at;
	bit has, mortal;
	int seen;

	me = number;
	mortal = 1;
main:
	do
	:: moves > 0 ->
		if
		:: moves-- -> transfer_fund(S, 1)
		:: atomic { moves-- -> if :: t = 0 :: t = 1 :: SLOTS > 2 -> t = 2 fi };
			transfer_return(t, 1);
			t = 0
		fi
	:: atomic { HEADROOM(purse[SLOT(a, S)]) > 0 && moves == 0 -> /* purse_take */
		slot[me].held++;
		purse_put(SLOT(a, S), purse[SLOT(a, S)] + PURSE(0, 1, 0)) };
		break
	:: moves == 0 -> break
	od;
died:
	atomic { t = 0; got = 0; did = 0; at = 0; has = 0; seen = 0;
		if
		:: images > 0 -> images--; want[number] = RENEW
		:: images > 0 -> images--; want[number] = JOIN; slot[me].held = 0; slot[me].gone = 1
		:: moves = 0; mortal = 0; slot[me].held = 0; slot[me].gone = 1; goto end
		fi };
	atomic { want[number] >= JOINED(0) -> me = want[number] - JOINED(0); want[number] = NOTHING };
	goto main;
end:
	skip
}

proctype broker()
{
	byte a, me, got, did, at, side, mortal, who;
	bit has;
	int seen;

	mortal = BROKER_DEATHS;
turn:
	do
	:: atomic { SLOT_STATE(slot[0].state) == LIVE && slot[0].gone -> me = 0; break }
	:: atomic { SLOT_STATE(slot[1].state) == LIVE && slot[1].gone -> me = 1; break }
	:: atomic { SLOTS > 2 && SLOT_STATE(slot[SLOTS - 1].state) == LIVE && slot[SLOTS - 1].gone -> me = SLOTS - 1; break }
	:: atomic { SLOT_STATE(slot[0].state) == FREE && SLOT_STATE(slot[1].state) == FREE &&
		SLOT_STATE(slot[SLOTS - 1].state) == FREE && want[0] == NOTHING && want[1] == NOTHING -> goto end }
	:: atomic { want[0] == RENEW || want[0] == JOIN -> who = 0; goto answer }
	:: atomic { want[1] == RENEW || want[1] == JOIN -> who = 1; goto answer }
	od;
	/* reap.c: member_reap */
#ifndef REAPS_WITHOUT_SETTLEMENT
	transfer_settle();
#endif
	purse_empty(INTENT_RETURN, SLOT(a, S), S);
	atomic { slot_free(me); me = 0; goto turn };
answer:
	if
	:: want[who] == RENEW -> /* settle.c: settle_exec */
		me = place[who];
		transfer_settle()
	:: want[who] == JOIN -> /* join.c: join_fresh */
		atomic {
			if
			:: SLOT_STATE(slot[0].state) == FREE -> me = 0
			:: SLOT_STATE(slot[0].state) != FREE && SLOT_STATE(slot[1].state) == FREE -> me = 1
			:: else -> who = 0; goto turn
			fi;
			STEP;
			slot[me].state = SLOT_WORD(SLOT_GEN(slot[me].state), 0, LIVE) };
		atomic { STEP; slot[me].gone = 0 }
	fi;
	atomic { place[who] = me; want[who] = JOINED(me); who = 0; me = 0; goto turn };
died:
	atomic { mortal--; who = 0; me = 0; got = 0; did = 0; at = 0; side = 0; has = 0; seen = 0; goto turn };
end:
	assert(USED(purse[0]) == 0 && SLOTS_SUM(0) == 0)
}

init {
	byte i;
	atomic {
		for (i : 0 .. SLOTS - 1) {
			slot[i].state = SLOT_WORD(0, 0, LIVE);
			slot[i].held = 1;
			purse[SLOT(0, i)] = PURSE(2, 1, 0)
		}
		purse[0] = PURSE(2 * SLOTS + 1, 2 * SLOTS, 0);
		for (i : 0 .. SLOTS - 1) { place[i] = i; run member(i, MOVES, (i == 0 -> IMAGES : 0)) }
		run broker();
		i = 0
	}
}
