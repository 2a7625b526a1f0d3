/* SPDX-License-Identifier: MIT */
/* fork: process 1 conceives an embryo (reserve/embryo.c) and forks process 2, which adopts
 * it; process 3 is a member from the beginning where there are three slots, or joins when it
 * likes, and charges two pages, sweeping for them. Each may be killed anywhere. With -DWINDOW a
 * second thread of process 1 goes on paying for the child (shim/charge.c); with -DEXEC
 * process 1 may call execve anywhere, once, instead of being killed; with -DANEW process 2 joins
 * instead of adopting (shim/self.c, where it cannot say its pid), and there is no process 3.
 *
 * The broker is daemon/{births,orphans,settle,join}.c as far as that decides what happens to
 * a slot: who is watched, doubted, an orphan or dying, and in which order they are reaped.
 * It is killed BROKER_DEATHS times anywhere and starts again from the ledger. A look at one
 * slot is one step. The walk through /proc may overlook the child, as it may where it is cut
 * short; it may be put off, as it is when the account's attention is used up. No two
 * processes have the same pid. */
#define ACCOUNTS 1
#define OBJECTS 0
#define FORKS
#define PROCESSES 3

#define DUE(a, s) (GRANTED(purse[SLOT(a, s)]) >= slot[AT(a, s)].due)
/* an embryo's slack is its child's */
#define MORE_IS_SOUND(a) (DUE(a, 0) && DUE(a, 1) && DUE(a, SLOTS - 1))

#include "ledger.pml"
#include "transfer.pml"

/* What the kernel knows, by pid. */
#define UNBORN 0
#define RUNS 1
#define GONE 2
byte kernel[PROCESSES + 1];

/* A process asks to join: nothing, asked, an answer. */
#define NOTHING 0
#define ASKED 1
#define FULL 2
#define JOINED(s) (3 + (s))
byte join[PROCESSES + 1];

byte bell;                  /* header.births */
byte child_slot, child_gen; /* struct embryo, as the child finds it in its memory */

#define PARENT 1
#define CHILD 2
#define STRANGER 3

#define INHERITS 1 /* pages: the child */
#define CHARGES 2  /* the stranger */

/* What a process looks for pages for. */
#define FOR_EMBRYO 0
#define FOR_WINDOW 1
#define FOR_ITSELF 2

#ifdef EXEC
bit executed;
#undef CRASH
#define CRASH(n) if :: mortal -> goto died :: who == PARENT && mortal && !executed -> executed = 1; goto executes :: true fi
#endif

#define IS_EMBRYO(s, gen) (SLOT_STATE(slot[s].state) == EMBRYO && SLOT_GEN(slot[s].state) == (gen))

proctype process(byte who)
{
	byte a, me, t, got, did, at, hr, n, e, gen, why;
	bit has, mortal, swept, adopted;
	int seen;

	mortal = 1;
	if
	:: who == PARENT -> goto conceive
#ifdef ANEW
	:: who == CHILD && kernel[CHILD] == RUNS -> goto joins
#else
	:: who == CHILD && kernel[CHILD] == RUNS -> goto adopt
#endif
	:: who == CHILD && kernel[CHILD] == GONE -> goto end
	:: who == STRANGER && slot[1].number == STRANGER -> me = 1; goto take
	:: who == STRANGER && slot[1].number != STRANGER -> goto joins
	fi;

conceive: /* embryo.c: embryo_conceive; slot.c: slot_claim */
	atomic { STEP; slot[me].embryos++ };
	do
	:: atomic { t < SLOTS -> CRASH(EMBRYO_COUNTED);
		if
		:: SLOT_STATE(slot[t].state) == FREE ->
			gen = SLOT_GEN(slot[t].state);
			slot[t].state = SLOT_WORD(gen, S + 1, EMBRYO);
			e = t; t = 0; break
		:: else -> t++
		fi }
	:: atomic { t == SLOTS -> t = 0; CRASH(EMBRYO_COUNTED); slot[me].embryos--; goto end }
	od;
	atomic { why = FOR_EMBRYO; n = INHERITS; t = e; goto gather };
conceived:
	atomic { slot[e].due = INHERITS; sound(a); CRASH(EMBRYO_INHERITED); bell++ };
	atomic { CRASH(EMBRYO_CONCEIVED); /* fork */
		if
		:: kernel[CHILD] = RUNS; child_slot = e; child_gen = gen
		:: goto release
		fi };
	/* embryo.c: embryo_born; slot.c: slot_name */
	atomic { STEP;
		if
		:: SLOT_STATE(slot[e].state) != FREE && SLOT_GEN(slot[e].state) == gen && slot[e].number == 0 ->
			slot[e].number = CHILD
		:: else
		fi };
#ifdef LEAVES_BEFORE_IT_RINGS
	atomic { CRASH(EMBRYO_TOLD); slot[me].embryos-- };
	atomic { STEP; bell++ };
#else
	atomic { CRASH(EMBRYO_TOLD); bell++ };
	atomic { CRASH(EMBRYO_RUNG); slot[me].embryos-- };
#endif
#ifdef WINDOW
	/* charge.c: embryo_fund */
	atomic { STEP;
		if
		:: SLOT_GEN(slot[e].state) == gen -> why = FOR_WINDOW; n = 1; t = e; goto gather
		:: else -> goto end
		fi };
paid_more:
	atomic { CRASH(FUND_CREDITED); if :: SLOT_STATE(slot[e].state) != FREE -> goto end :: else fi };
	transfer_return(e, 7);
#endif
	goto end;

release: /* embryo.c: embryo_release */
	slot[e].due = 0;
	purse_empty(INTENT_RETURN, SLOT(a, e), e);
	atomic { slot_free(e) };
	atomic { CRASH(EMBRYO_FREED); slot[me].embryos--; goto end };

adopt: /* embryo.c: embryo_adopt; embryo.c: embryo_settle */
	atomic { e = child_slot; gen = child_gen };
	do
	:: atomic { at == LOOK -> STEP; seen = purse[SLOT(a, e)]; at = RETURN_STATE }
	:: atomic { at == RETURN_STATE -> STEP;
		if
		:: IS_EMBRYO(e, gen) && GRANTED(seen) >= INHERITS -> at = RETURN_DEBIT
		:: else -> seen = 0; at = LOOK; goto joins
		fi }
	:: atomic { at == RETURN_DEBIT -> STEP;
		purse_swap(SLOT(a, e), PURSE(GRANTED(seen), INHERITS, BY(seen)));
		if
		:: did == DONE -> at = LOOK; break
		:: did == REFUSED -> at = LOOK
		:: else
		fi }
	od;
	/* slot.c: slot_adopt */
	atomic { CRASH(EMBRYO_SETTLED);
		if
		:: IS_EMBRYO(e, gen) ->
			slot[e].state = SLOT_WORD(gen, 0, LIVE);
			slot[e].number = CHILD;
			slot[e].due = 0;
			slot[e].held = INHERITS;
			me = e; adopted = 1;
			sound(a)
		:: else
		fi };
	atomic { CRASH(SLOT_ADOPTED);
		bell++;
		if
		:: adopted -> goto end
		:: else -> goto joins
		fi };

joins:
	atomic { join[who] = ASKED; e = 0; gen = 0; why = 0; seen = 0; at = LOOK };
	atomic {
		if
		:: join[who] == FULL -> goto end
		:: join[who] >= JOINED(0) -> me = join[who] - JOINED(0); join[who] = NOTHING
		:: mortal -> goto died
		fi };
take: /* gather.c: gather_take */
	atomic { why = FOR_ITSELF; n = (who == STRANGER -> CHARGES : INHERITS); t = S; STEP;
		if
		:: HEADROOM(purse[SLOT(a, S)]) >= n ->
			slot[me].held = slot[me].held + n;
			purse_put(SLOT(a, S), purse[SLOT(a, S)] + PURSE(0, n, 0));
			goto end
		:: else
		fi };
gather: /* gather.c: draw_nearby */
	transfer_fund(t, n);
	if
	:: atomic { did == DONE && why == FOR_EMBRYO -> n = 0; t = 0; swept = 0; goto conceived }
#ifdef WINDOW
	:: atomic { did == DONE && why == FOR_WINDOW -> n = 0; t = 0; why = 0; goto paid_more }
#endif
	:: atomic { did == DONE && why == FOR_ITSELF -> goto take }
	:: atomic { did != DONE && swept && why == FOR_EMBRYO -> swept = 0; n = 0; t = 0; goto release }
	:: atomic { did != DONE && swept && why != FOR_EMBRYO -> goto end }
	:: atomic { did != DONE && !swept -> swept = 1; t = 0 }
	fi;
	do
	:: atomic { t < SLOTS -> STEP;
		hr = HEADROOM(purse[ACCOUNT(a)]);
		if
		:: hr >= n -> hr = 0; break
		:: else -> hr = n - hr
		fi };
		if
		:: why == FOR_ITSELF && t == S /* counted already */
		:: else -> transfer_return(t, hr)
		fi;
		atomic { hr = 0; t++ }
	:: t == SLOTS -> break
	od;
	atomic { t = (why == FOR_ITSELF -> S : e); goto gather };

executes:
#ifdef EXEC
	/* The new image knows nothing, and joins. It is paid for by what was held. */
	atomic { t = 0; got = 0; did = 0; at = LOOK; hr = 0; n = 0; why = 0; has = 0; swept = 0;
		if :: kernel[CHILD] == UNBORN -> kernel[CHILD] = GONE :: else fi;
		goto joins };
#endif
died:
	atomic { t = 0; got = 0; did = 0; at = LOOK; hr = 0; n = 0; e = 0; gen = 0; why = 0; has = 0; swept = 0; seen = 0 };
end:
	atomic { slot[me].held = 0; mortal = 0; adopted = 0;
		kernel[who] = GONE;
		join[who] = NOTHING;
		if
		:: who == PARENT && kernel[CHILD] == UNBORN -> kernel[CHILD] = GONE /* it never will be */
		:: else
		fi }
}

#define NOBODY 0
#define DOUBTED 1
#define WATCHED 2
#define DYING 3

typedef member_t {
	byte life, number, gen;
	bit guessed, embryo, orphan, parent;
};

#define NO_ONE 255 /* a pid of -1 */
#define IS_NUMBER(p) ((p) > 0 && (p) != NO_ONE)
#define PARENT_OF(who) (who == CHILD -> PARENT : 0)
#define ORPHANS (member[0].orphan || member[1].orphan || member[SLOTS - 1].orphan)
#define IS_WATCHED(s) (member[s].life == WATCHED)
#define HAS_DIED(s) (member[s].life == WATCHED && kernel[member[s].number] == GONE)
#define IS_FREE(s) (SLOT_STATE(slot[s].state) == FREE)
#define HAVE_RUNG (births != bell)
#define IS_EMBRYO_OF(e, s) (SLOT_STATE(slot[e].state) == EMBRYO && SLOT_OWNER1(slot[e].state) == (s) + 1)
#define IS_PARENT(s) (slot[s].embryos > 0 || member[s].parent || \
	(HAVE_RUNG && (IS_EMBRYO_OF(0, s) || IS_EMBRYO_OF(1, s) || IS_EMBRYO_OF(SLOTS - 1, s))))

inline watch(s, who, w, guess)
{
	member[s].life = WATCHED;
	member[s].number = who;
	member[s].gen = SLOT_GEN(w);
	member[s].guessed = guess;
	member[s].embryo = 0
}

/* member_doom of a slot that nobody watched */
inline doom(s, w)
{
	member[s].life = DYING;
	member[s].number = 0;
	member[s].gen = SLOT_GEN(w);
	member[s].guessed = 0;
	member[s].embryo = (SLOT_STATE(w) == EMBRYO);
	queue[top] = s;
	top++
}

/* doubt_is_over: time passes as it likes. */
inline doubt(s, who, w)
{
	if
	:: member[s].life == DOUBTED && member[s].gen == SLOT_GEN(w) && member[s].number == who -> over = 1
	:: true ->
		member[s].life = DOUBTED;
		member[s].number = who;
		member[s].gen = SLOT_GEN(w);
		member[s].guessed = 0;
		doubts = 1
	fi
}

/* births.c: claim_settle */
inline claim_settle()
{
	x = 0;
	over = (kernel[p] == GONE);
	do
	:: x < SLOTS ->
		if
		:: !over && x != s && IS_WATCHED(x) && member[x].number == p -> /* claim_conflicts */
			if
			:: SLOT_STATE(w) != LIVE -> over = 1
			:: else ->
				assert(member[x].guessed); /* or two slots claim one process: damage */
				member[x].life = NOBODY;
				if
				:: slot[x].number == p -> slot[x].number = 0; member[x].orphan = 1
				:: else -> doubts = 1 /* never: there is no second child whose number it could be */
				fi
			fi
		:: else
		fi;
		x++
	:: x == SLOTS -> x = 0; break
	od;
	if
	:: !over -> watch(s, p, w, (SLOT_STATE(w) == EMBRYO))
	:: over && !(SLOT_STATE(w) == EMBRYO && IS_WATCHED(SLOT_OWNER1(w) - 1)) -> doom(s, w)
	:: over && SLOT_STATE(w) == EMBRYO && IS_WATCHED(SLOT_OWNER1(w) - 1) ->
		over = 0;
		doubt(s, p, w);
		if :: over -> doom(s, w) :: else fi
	fi;
	over = 0
}

/* births.c: unknown_settle */
inline unknown_settle()
{
	x = (SLOT_STATE(w) == EMBRYO -> SLOT_OWNER1(w) - 1 : SLOTS);
	if
	:: x < SLOTS && member[x].life != DYING && (IS_WATCHED(x) || SLOT_STATE(slot[x].state) == LIVE)
	:: x < SLOTS && member[x].life == DYING -> member[s].orphan = 1; member[s].life = NOBODY
	:: else ->
		doubt(s, 0, w);
		if :: over -> member[s].orphan = 1; member[s].life = NOBODY :: else fi
	fi;
	x = 0;
	over = 0
}

/* settle.c: embryos_settle, but for the orphans_place at its end */
inline embryos_settle(parent)
{
	x = 0;
	do
	:: x < SLOTS ->
		if
		:: SLOT_STATE(slot[x].state) == EMBRYO && SLOT_OWNER1(slot[x].state) == (parent) + 1 &&
			member[x].life != WATCHED && member[x].life != DYING ->
			if
			:: IS_NUMBER(slot[x].number) -> doubts = 1
			:: else -> member[x].orphan = 1
			fi
		:: else
		fi;
		x++
	:: x == SLOTS -> x = 0; break
	od;
	doubts = 1
}

/* orphans.c: orphans_place. Only the child has the ledger mapped and may be unknown. Where a live slot is
 * an orphan, all of /proc is seen. */
inline orphans_place()
{
	if
	:: !ORPHANS
	:: ORPHANS -> /* no attention left */
	:: ORPHANS ->
		atomic {
			found = (kernel[CHILD] == RUNS);
			do
			:: x < SLOTS ->
				if
				:: IS_WATCHED(x) && (member[x].number == CHILD || member[x].number == PARENT) -> found = 0
				:: else
				fi;
				if
				:: member[x].orphan && SLOT_STATE(slot[x].state) == LIVE -> over = 1
				:: else
				fi;
				x++
			:: x == SLOTS -> x = 0; break
			od;
			if
			:: found && !over -> found = 0
			:: true
			fi;
			over = 0 };
		do /* orphan_take, and orphan_give or doom */
		:: atomic { x < SLOTS && member[x].orphan -> STEP;
			member[x].orphan = 0;
			p = slot[x].state;
			if
			:: member[x].life >= WATCHED || SLOT_STATE(p) == FREE || (SLOT_STATE(p) == LIVE && IS_NUMBER(slot[x].number)) ->
				p = 0; doubts = 1; x++
			:: else
			fi };
			if
			:: p == 0
			:: atomic { p != 0 && found -> found = 0; STEP;
				if
				:: IS_NUMBER(slot[x].number) -> doubts = 1
				:: else -> slot[x].number = CHILD; watch(x, CHILD, p, 1)
				fi;
				p = 0; x++ }
			:: atomic { p != 0 && !found -> doom(x, p); p = 0; x++ }
			fi
		:: x < SLOTS && !member[x].orphan -> x++
		:: atomic { x == SLOTS -> x = 0; found = 0; break }
		od
	fi
}

proctype broker()
{
	byte a, me, got, did, at, side, mortal, s, w, x, p, top, births, renew, renewed;
	bit has, inherited, doubts, due, over, found, reaped, unchecked;
	int seen;
	member_t member[SLOTS];
	byte queue[SLOTS];
#ifdef EXEC
	byte who;
#endif

	mortal = BROKER_DEATHS;
	inherited = 1;
	unchecked = 1;
turn:
	atomic {
		/* registry.c: registry_hear */
		do
		:: s < SLOTS ->
			if
			:: HAS_DIED(s) -> member[s].life = DYING; queue[top] = s; top++
			:: else
			fi;
			s++
		:: s == SLOTS -> s = 0; break
		od };
look:
	atomic {
		if
		:: due = (inherited || doubts || HAVE_RUNG || ORPHANS)
		:: !inherited && top > 0 /* settle.c: settle_deaths */
		fi;
		do /* settle.c: parent_is_dying */
		:: x < top ->
			if :: IS_PARENT(queue[x]) -> due = 1 :: else fi;
			x++
		:: x == top -> x = 0; break
		od;
		if
		:: !due -> goto place
		:: else ->
			due = 0; births = bell; doubts = 0;
			do
			:: s < SLOTS -> member[s].parent = 0; s++
			:: s == SLOTS -> s = 0; break
			od
		fi
	};
	/* births.c: births_look; births.c: slot_look */
	do
	:: atomic { s < SLOTS -> STEP;
		w = slot[s].state;
		p = slot[s].number;
		/* or it is damaged: a slot's state is not one that a member writes */
		assert(!(IS_WATCHED(s) && (SLOT_STATE(w) == FREE || SLOT_GEN(w) != member[s].gen)));
		if
		:: SLOT_STATE(w) == FREE && member[s].life == DOUBTED -> member[s].life = NOBODY
		:: IS_WATCHED(s) && member[s].guessed && SLOT_STATE(w) == LIVE && IS_NUMBER(p) && p != member[s].number ->
			member[s].life = NOBODY
		:: else
		fi;
		if
		:: SLOT_STATE(w) == EMBRYO -> member[SLOT_OWNER1(w) - 1].parent = 1
		:: else
		fi;
		if
		:: SLOT_STATE(w) == FREE || IS_WATCHED(s) || member[s].life == DYING || member[s].orphan
		:: else ->
			if
			:: IS_NUMBER(p) -> claim_settle()
			:: else -> unknown_settle()
			fi
		fi;
		s++; w = 0; p = 0 }
	:: atomic { s == SLOTS -> s = 0; inherited = 0; break }
	od;

place:
	orphans_place();
reap:
	do /* settle.c: dying_reap */
	:: atomic { top > 0 -> STEP;
		reaped = 1;
		top--;
		me = queue[top];
		queue[top] = 0;
		w = slot[me].state;
		p = slot[me].number;
		/* or it is damaged: emptied by somebody else */
		assert(SLOT_STATE(w) != FREE && SLOT_GEN(w) == member[me].gen);
		member[me].life = NOBODY;
		if
		:: SLOT_STATE(w) == LIVE && member[me].guessed && IS_NUMBER(p) && p != member[me].number -> w = 0; doubts = 1
#ifndef REAPS_WHAT_IS_ADOPTED
		:: SLOT_STATE(w) == LIVE && member[me].embryo -> w = 0; doubts = 1
#endif
		:: else
		fi };
		if /* settle.c: embryo_seize */
		:: atomic { w != 0 && SLOT_STATE(w) == EMBRYO -> STEP;
			if
			:: IS_EMBRYO(me, SLOT_GEN(w)) ->
				slot[me].state = SLOT_WORD(SLOT_GEN(w), 0, LIVE);
#ifndef SEIZES_BY_NAME
				slot[me].number = NO_ONE;
#else
				slot[me].number = p;
#endif
				slot[me].due = 0
			:: else -> w = 0; doubts = 1
			fi }
		:: else
		fi;
		p = 0;
		if
		:: atomic { w != 0 -> w = 0;
			if
			:: IS_PARENT(me) -> embryos_settle(me)
			:: else
			fi };
			orphans_place();
			/* reap.c: member_reap */
			transfer_settle();
			purse_empty(INTENT_RETURN, SLOT(a, S), S);
			atomic { slot_free(me); member[me].number = 0; member[me].gen = 0; member[me].guessed = 0; member[me].embryo = 0 }
		:: w == 0
		fi;
		me = 0
	:: top == 0 -> break
	od;

	atomic { due = reaped; reaped = 0; unchecked = (unchecked || due);
		if
		:: due && USED(purse[0]) > 0 -> due = 0
		:: else -> due = 0; goto idle /* it is looked at when it has stayed empty for a while */
		fi };
vacant: /* settle.c: settle_empty */
	atomic {
		if
		:: IS_WATCHED(0) || IS_WATCHED(1) || IS_WATCHED(SLOTS - 1) || doubts || ORPHANS || HAVE_RUNG -> goto idle
		:: else
		fi;
		unchecked = 0;
#ifndef LEAVES_STRAYS
		if
		:: GRANTED(purse[SLOT(a, 0)]) + GRANTED(purse[SLOT(a, 1)]) + GRANTED(purse[SLOT(a, SLOTS - 1)]) > 0
		:: else -> goto clean
		fi;
		assert(IS_FREE(0) && IS_FREE(1) && IS_FREE(SLOTS - 1));
		STEP;
		slot[0].state = SLOT_WORD(SLOT_GEN(slot[0].state), 0, LIVE) };
	do /* settle.c: strays_return */
	:: s < SLOTS -> purse_empty(INTENT_RETURN, SLOT(a, s), s); s++
	:: s == SLOTS -> s = 0; break
	od;
	atomic { slot_free(0) };
#else
		skip };
#endif
clean: /* account.c: account_unclean, or it is damaged */
	atomic { assert(USED(purse[0]) == 0 && SLOTS_SUM(0) == 0 && IS_FREE(0) && IS_FREE(1) && IS_FREE(SLOTS - 1)) };
	/* ledger.c: ledger_sweep */
	atomic { STEP; purse[0] = PURSE(GRANTED(purse[0]), 0, SIGN(BROKER_SLOT, 0)) };
	do
	:: atomic { s < SLOTS -> STEP; purse[SLOT(a, s)] = PURSE(GRANTED(purse[SLOT(a, s)]), USED(purse[SLOT(a, s)]), 0); s++ }
	:: atomic { s == SLOTS -> s = 0; break }
	od;
	do /* ledger.c: slot_sweep */
	:: atomic { s < SLOTS -> CRASH(SWEEP_UNSIGNED);
#ifdef SWEEP_COUNTS_ANEW
		w = 0 };
		atomic { STEP;
#else
		w = (slot[s].last > slot[s].confirmed -> slot[s].last : slot[s].confirmed) };
		atomic { STEP; slot[s].last = w;
		CRASH(SWEEP_NUMBERED);
#endif
		slot[s].confirmed = w };
		atomic { CRASH(SWEEP_UNCONFIRMED); slot[s].last = w; slot[s].confirmed = w; w = 0; s++ }
	:: atomic { s == SLOTS -> s = 0; break }
	od;

idle:
	/* Nothing to do: then nobody's charge is left but of those who live, or whose parent is
	 * about to say so. */
	atomic {
		do
		:: s < SLOTS ->
			assert(doubts || ORPHANS || HAVE_RUNG || slot[0].embryos > 0 || slot[0].number != PARENT ||
				!(slot[s].number == CHILD && SLOT_STATE(slot[s].state) == LIVE && !IS_WATCHED(s) && kernel[CHILD] == GONE));
			s++
		:: s == SLOTS -> s = 0; break
		od };
	do
	:: atomic { HAS_DIED(0) || HAS_DIED(1) || HAS_DIED(SLOTS - 1) || doubts || HAVE_RUNG || ORPHANS -> goto turn }
	:: atomic { join[PARENT] == ASKED -> p = PARENT; break }
	:: atomic { join[CHILD] == ASKED -> p = CHILD; break }
	:: atomic { join[STRANGER] == ASKED -> p = STRANGER; break }
	:: atomic { kernel[PARENT] == GONE && kernel[CHILD] == GONE && kernel[STRANGER] == GONE &&
		IS_FREE(0) && IS_FREE(1) && IS_FREE(SLOTS - 1) && !unchecked -> goto end }
	:: atomic { unchecked && !IS_WATCHED(0) && !IS_WATCHED(1) && !IS_WATCHED(SLOTS - 1) -> goto vacant }
	od;
	/* join.c: join */
	atomic {
		over = 0;
		do
		:: s < SLOTS && IS_WATCHED(s) && member[s].number == p -> over = 1; break
		:: s < SLOTS && !(IS_WATCHED(s) && member[s].number == p) -> s++
		:: s == SLOTS -> s = 0; break
		od;
		if
		:: over && SLOT_STATE(slot[s].state) != LIVE -> /* it has no use for that one, and asks again */
			over = 0; p = 0;
			member[s].life = DYING; member[s].embryo = 1; queue[top] = s; top++; s = 0;
			goto reap
		:: over && SLOT_STATE(slot[s].state) == LIVE -> /* join.c: join_renewed; settle.c: settle_exec */
			over = 0; renewed = p; p = 0; renew = s; s = 0;
			if :: IS_PARENT(renew) -> embryos_settle(renew) :: else fi;
			goto renewal
		:: else
		fi };
	do /* join.c: join_fresh */
	:: atomic { s < SLOTS && IS_FREE(s) -> STEP; slot[s].state = SLOT_WORD(SLOT_GEN(slot[s].state), 0, LIVE); break }
	:: s < SLOTS && !IS_FREE(s) -> s++
	:: s == SLOTS -> break
	od;
	if
	:: s < SLOTS ->
		atomic { CRASH(JOIN_CLAIMED); slot[s].number = p };
		atomic { CRASH(JOIN_NAMED);
			watch(s, p, slot[s].state, 0);
			if :: join[p] == ASKED -> join[p] = JOINED(s) :: else fi }
	:: s == SLOTS ->
		atomic { if :: join[p] == ASKED -> join[p] = FULL :: else fi }
	fi;
	atomic { s = 0; p = 0; goto turn };

renewal:
	orphans_place();
	me = renew;
	transfer_settle();
	atomic { STEP;
#ifdef EXEC_FORGETS_THE_BORN
		doubts = 0;
#else
		if :: slot[me].embryos > 0 -> doubts = 1 :: else fi;
#endif
		slot[me].embryos = 0;
		if :: join[renewed] == ASKED -> join[renewed] = JOINED(me) :: else fi;
		renew = 0; renewed = 0; me = 0;
		goto look };

died:
	atomic { mortal--; me = 0; got = 0; did = 0; at = LOOK; side = 0; has = 0; seen = 0;
		s = 0; w = 0; x = 0; p = 0; top = 0; births = 0; renew = 0; renewed = 0; doubts = 0; over = 0; found = 0; due = 0; reaped = 0; inherited = 1; unchecked = 1;
		do
		:: s < SLOTS ->
			member[s].life = NOBODY; member[s].number = 0; member[s].gen = 0;
			member[s].guessed = 0; member[s].embryo = 0; member[s].orphan = 0; member[s].parent = 0;
			queue[s] = 0;
			s++
		:: s == SLOTS -> s = 0; break
		od;
		goto turn };
executes: /* only a member */
	assert(false); /* never: these are members */
end:
	assert(USED(purse[0]) == 0 && SLOTS_SUM(0) == 0)
}

init {
	atomic {
		slot[0].state = SLOT_WORD(0, 0, LIVE);
		slot[0].number = PARENT;
		slot[0].held = 1;
		purse[SLOT(0, 0)] = PURSE(1, 1, 0);
		purse[0] = PURSE(4, 1, 0);
		kernel[PARENT] = RUNS;
#ifdef ANEW
		kernel[STRANGER] = GONE;
#else
		kernel[STRANGER] = RUNS;
		run process(STRANGER);
		if
		:: SLOTS > 2 ->
			slot[1].state = SLOT_WORD(0, 0, LIVE);
			slot[1].number = STRANGER;
#ifdef SLACK
			purse[SLOT(0, 1)] = PURSE(1, 0, 0); /* which the parent needs */
			purse[0] = PURSE(2, 2, 0)
#else
			purse[0] = PURSE(3, 1, 0) /* there is enough only without the embryo's */
#endif
		:: else
		fi;
#endif
		run process(PARENT);
		run process(CHILD);
		run broker()
	}
}
