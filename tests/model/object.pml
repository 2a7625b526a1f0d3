/* SPDX-License-Identifier: MIT */
/* reserve/object.c, step by step. Its actors have, beside those of transfer.pml:
 *
 *   word, wish   an object's state as read, and as it is to be
 *   i            where the look at the holders is
 *
 * The holders are looked at one by one, each as if it were in a word of its own, which is
 * how the C code sees slots that are 64 apart. There is one key, so an object that can be
 * found at all is the one looked for; that there are no two of them is in offer.pml. */

#define OBJECT_FREE 0
#define OBJECT_CLAIMED 1
#define OBJECT_FILE 2
#define OBJECT_LEAVING 4
#define OBJECT_OFFERED 8

/* generation:8 | maker + 1:4 | offered:1 | leaving:1 | kind:2 */
#define OBJECT_WORD(gen, maker1, kind) ((gen) << 8 | (maker1) << 4 | (kind))
#define OBJECT_KIND(w)   ((w) & 3)
#define OBJECT_MAKER1(w) ((w) >> 4 & 15)
#define OBJECT_GEN(w)    ((w) >> 8)
#define CAN_BE_FOUND(w)  (OBJECT_KIND(w) == OBJECT_FILE && !((w) & OBJECT_OFFERED))

#ifdef PUBLISHES_THE_DEAD
#define OFFER_KEPT(w)    0
#else
#define OFFER_KEPT(w)    ((w) & OBJECT_OFFERED)
#endif

typedef object_t {
	short state;
	bit holder[SLOTS];
};
object_t object[OBJECTS];

#define RELEASE_LOOK 16
#define RELEASE_HELD 17
#define RELEASE_MOVE 18
#define RELEASE_EMPTY 19
#define RELEASE_FREE 20

/* at: RELEASE_LOOK in the beginning, LOOK when it is done. */
inline object_release(o)
{
	do
	:: atomic { at == RELEASE_LOOK -> STEP;
		word = object[o].state;
		if
		:: OBJECT_KIND(word) == OBJECT_FREE -> at = LOOK
		:: OBJECT_KIND(word) == OBJECT_CLAIMED -> at = (OBJECT_MAKER1(word) == S + 1 -> RELEASE_EMPTY : LOOK)
#ifdef ANYONE_FINISHES
		:: OBJECT_KIND(word) == OBJECT_FILE -> at = RELEASE_HELD
#else
		:: OBJECT_KIND(word) == OBJECT_FILE && (word & OBJECT_LEAVING) ->
			at = (OBJECT_MAKER1(word) == S + 1 -> RELEASE_HELD : LOOK)
		:: OBJECT_KIND(word) == OBJECT_FILE && !(word & OBJECT_LEAVING) -> at = RELEASE_HELD
#endif
		fi;
		if
		:: at == LOOK -> word = 0; break
		:: else
		fi }
	:: atomic { at == RELEASE_HELD -> STEP; /* object_is_held */
		if
		:: object[o].holder[i] && (word & OBJECT_LEAVING) -> i = 0; wish = word - OBJECT_LEAVING; at = RELEASE_MOVE
		:: object[o].holder[i] && !(word & OBJECT_LEAVING) -> i = 0; word = 0; at = LOOK; break
		:: !object[o].holder[i] && i < SLOTS - 1 -> i++
		:: !object[o].holder[i] && i == SLOTS - 1 ->
			i = 0;
			at = RELEASE_MOVE;
			if
#ifdef LOOKS_ONCE
			:: !(word & OBJECT_LEAVING) -> wish = OBJECT_WORD(OBJECT_GEN(word), S + 1, OBJECT_CLAIMED)
#else
			:: !(word & OBJECT_LEAVING) ->
				wish = OBJECT_WORD(OBJECT_GEN(word), S + 1, OBJECT_FILE) | OBJECT_LEAVING | OFFER_KEPT(word)
#endif
#ifdef ANYONE_FINISHES
			:: word & OBJECT_LEAVING -> at = RELEASE_EMPTY
#else
			:: word & OBJECT_LEAVING -> wish = OBJECT_WORD(OBJECT_GEN(word), S + 1, OBJECT_CLAIMED)
#endif
			fi
		fi }
	:: atomic { at == RELEASE_MOVE -> STEP;
		if
		:: object[o].state == word -> object[o].state = wish
		:: else
		fi;
		word = 0; wish = 0; at = RELEASE_LOOK }
	:: at == RELEASE_EMPTY -> /* object_free */
		at = LOOK;
		purse_empty(INTENT_DESTROY, OBJECT(a, o), o);
		at = RELEASE_FREE
	:: atomic { at == RELEASE_FREE -> STEP;
		if
		:: object[o].state == word ->
			object[o].state = OBJECT_WORD(OBJECT_GEN(word) + 1, 0, OBJECT_FREE);
			word = 0; at = LOOK; break
		:: else -> word = 0; at = RELEASE_LOOK /* never: it is the actor's alone */
		fi }
	od
}

inline object_stay(o)
{
	do
	:: atomic { STEP; word = object[o].state; if :: word & OBJECT_LEAVING :: else -> word = 0; break fi };
		atomic { STEP; if :: object[o].state == word -> object[o].state = word - OBJECT_LEAVING :: else fi; word = 0 }
	od
}

inline object_drop(o, h)
{
	object[o].holder[h] = 0
}

inline object_let_go(o, h)
{
	atomic { STEP; slot[me].letting_go = o + 1; STEP; object_drop(o, h); at = RELEASE_LOOK };
	object_release(o);
	atomic { STEP; slot[me].letting_go = 0 }
}

inline object_settle()
{
	if
	:: atomic { slot[me].letting_go > 0 -> at = RELEASE_LOOK };
		object_release(slot[me].letting_go - 1);
		atomic { STEP; slot[me].letting_go = 0 }
	:: else
	fi
}

/* Of one object; the holder's process is gone, so its bit and its claim are read at one
 * time. */
inline object_drop_all(o)
{
	atomic { STEP;
		word = object[o].state;
		wish = (object[o].holder[S] ||
			((OBJECT_KIND(word) == OBJECT_CLAIMED || (word & OBJECT_LEAVING)) && OBJECT_MAKER1(word) == S + 1));
#ifdef FORGETS_THE_FREE
		wish = (wish && OBJECT_KIND(word) != OBJECT_FREE);
#endif
		word = 0 };
	if
	:: atomic { wish == 1 -> wish = 0 }; object_let_go(o, S)
	:: else
	fi
}
