/* SPDX-License-Identifier: MIT */
/* The bell of births against a broker that sleeps long: whoever rings while it sleeps must be heard
 * by a knock, for nothing else will wake it in time. MEMBERS ring once each.
 *
 *   members   reserve/embryo.c: bell_ring, then embryo_bell_is_unheard, then shim/broker.c: broker_knock
 *   broker    daemon/broker.c: calm_say, then daemon/births.c: births_have_rung, then it sleeps
 *
 * The end of the long sleep is not modelled: what only that would end is lost. */

byte births, heard; /* the bell, and as last answered */
bit calm;           /* header.calm */
bit knock;          /* a connection waits at the socket */
byte rung;          /* members that are done */

proctype member()
{
	bit unheard;
#ifdef READS_BEFORE_IT_RINGS
	unheard = calm;
	births++;
#else
	births++;
	unheard = calm;
#endif
	if
	:: unheard -> knock = 1
	:: else
	fi;
	rung++
}

active proctype broker()
{
	bit sleeps_long;
	do
	:: true ->
		if
		:: sleeps_long = 0
		:: sleeps_long = 1
		fi;
#ifdef LOOKS_BEFORE_IT_SAYS
		heard = births;
		calm = sleeps_long;
#else
		calm = sleeps_long;
		heard = births;
#endif
		if
		:: !sleeps_long
		:: sleeps_long && knock -> knock = 0
		:: sleeps_long && !knock && rung == MEMBERS -> break
		fi
	od;
	assert(knock || heard == births)
}

init {
	byte i;
	for (i : 1 .. MEMBERS) {
		run member()
	}
}
