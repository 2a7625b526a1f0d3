/* SPDX-License-Identifier: MIT */
/* Where SIGKILL may strike: a name and a number for every moment between two steps that change
 * a ledger, a member's steps and the broker's. In what is installed CRASH_POINT is nothing, to
 * the byte (`make crashless`). Built with SOLVENT_CRASH, whoever comes by a point that
 * tests/stress_crash.c has armed is killed there; to the fuzzers it is a moment at which the
 * world may change.
 *
 * A number is never given to another moment. Who comes by is checked too: a point that nobody
 * reaches proves nothing. */
#pragma once

#define CRASH_POINTS(X) \
	/* reserve/purse.c */ \
	X(1, PURSE_TAKEN, BOTH)             /* charged; nothing is mapped yet */ \
	X(2, PURSE_GIVEN, MEMBER) \
	X(3, SIGNATURE_CONFIRMED, BOTH)     /* the one that is about to be replaced */ \
	X(4, PURSE_SWAPPED, BOTH)           /* or not, if another was faster */ \
	/* reserve/transfer.c */ \
	X(10, INTENT_NUMBERED, BOTH) \
	X(11, INTENT_WRITTEN, BOTH) \
	X(12, INTENT_OPENED, BOTH) \
	X(13, FUND_DEBITED, BOTH)           /* in flight */ \
	X(14, FUND_CREDITED, BOTH) \
	X(15, OBJECT_DEBITED, MEMBER)       /* in flight */ \
	X(16, OBJECT_CREDITED, MEMBER) \
	X(17, RELEASE_DEBITED, BOTH)        /* in flight, from a member's purse or an object's */ \
	X(18, RELEASE_CREDITED, BOTH) \
	X(19, INTENT_CLOSED, BOTH) \
	X(20, REPAIR_CONFIRMED, BROKER) \
	X(21, REPAIR_TURNED, BROKER)        /* into the second step of a RETURN */ \
	/* reserve/gather.c */ \
	X(30, SWEPT_ONE, BOTH)              /* a sibling was looked at for idle slack */ \
	X(31, BROKER_ASKED, MEMBER) \
	/* reserve/slot.c */ \
	X(40, SLOT_TOP_RAISED, BOTH) \
	X(41, SLOT_CLAIMED, BOTH) \
	X(42, SLOT_ADOPTED, BOTH) \
	X(43, SLOT_CLEARED, BOTH) \
	X(44, SLOT_FREED, BOTH) \
	/* reserve/embryo.c */ \
	X(50, EMBRYO_COUNTED, MEMBER) \
	X(51, EMBRYO_CLAIMED, MEMBER) \
	X(52, EMBRYO_FUNDED, MEMBER) \
	X(53, EMBRYO_INHERITED, MEMBER) \
	X(54, EMBRYO_CONCEIVED, MEMBER)     /* fork comes next */ \
	X(55, EMBRYO_TOLD, MEMBER)          /* the parent wrote the child's pid */ \
	X(56, EMBRYO_RUNG, MEMBER) \
	X(57, EMBRYO_BORN, MEMBER) \
	X(58, EMBRYO_SETTLED, MEMBER)       /* the child's charge is its own */ \
	X(59, EMBRYO_ADOPTED, MEMBER) \
	X(60, EMBRYO_DROPPED, MEMBER)       /* no child: given back from here on */ \
	X(61, EMBRYO_EMPTIED, MEMBER) \
	X(62, EMBRYO_FREED, MEMBER) \
	X(63, EMBRYO_RELEASED, MEMBER) \
	/* reserve/object.c */ \
	X(70, OBJECT_TOP_RAISED, MEMBER) \
	X(71, OBJECT_CLAIMED_UNHELD, MEMBER) \
	X(72, OBJECT_HELD, MEMBER)          /* also between the two looks of object_find_hold */ \
	X(73, OBJECT_KEYED, MEMBER) \
	X(74, OBJECT_PUBLISHED, MEMBER)     /* or its offer was refused */ \
	X(75, OBJECT_DROPPED, BOTH) \
	X(76, OBJECT_MARKED, BOTH)          /* its segment is removed */ \
	X(77, OBJECT_OUTWARDS, BOTH)        /* leaving, or claimed to be emptied */ \
	X(78, OBJECT_EMPTIED, BOTH) \
	X(79, OBJECT_FREED, BOTH) \
	X(80, LETTING_NOTED, BOTH) \
	X(81, LETTING_DONE, BOTH) \
	X(82, LETTING_FORGOTTEN, BOTH) \
	X(83, LETTING_SETTLED, BROKER) \
	X(84, OFFER_MADE, MEMBER)           /* of an object of a file; others may refuse it */ \
	/* reserve/ledger.c */ \
	X(85, SWEEP_SIGNED, BROKER) \
	X(86, SWEEP_UNSIGNED, BROKER) \
	X(87, SWEEP_NUMBERED, BROKER) \
	X(88, SWEEP_UNCONFIRMED, BROKER) \
	X(89, SWEEP_DONE, BROKER) \
	/* reserve/reap.c */ \
	X(90, REAP_SETTLED, BROKER) \
	X(91, REAP_LET_GO, BROKER) \
	X(92, REAP_DROPPED, BROKER) \
	X(93, REAP_EMPTIED, BROKER) \
	X(94, REAP_FREED, BROKER) \
	/* daemon/account.c */ \
	X(100, BEGIN_POLICY, BROKER)        /* a ledger begins anew */ \
	X(101, BEGIN_NOTED, BROKER) \
	X(102, BEGIN_GRANTED, BROKER) \
	X(103, BEGIN_BOOKED, BROKER) \
	X(104, ADOPT_BOOKED, BROKER)        /* a ledger is taken over */ \
	X(105, POLICY_BOOKED, BROKER)       /* a reload */ \
	X(106, POLICY_WRITTEN, BROKER) \
	X(107, GRANT_NOTED, BROKER)         /* more, or less */ \
	X(108, GRANT_MOVED, BROKER) \
	X(109, GRANT_BOOKED, BROKER) \
	X(110, REFORMAT_EMPTIED, BROKER) \
	/* daemon/join.c */ \
	X(120, JOIN_CLAIMED, BROKER) \
	X(121, JOIN_NAMED, BROKER) \
	X(122, JOIN_ENTERED, BROKER)        /* the answer comes next */ \
	X(123, ADOPT_NAMED, BROKER)         /* a child that says where it is */ \
	/* daemon/births.c, daemon/orphans.c */ \
	X(130, ENTER_DATED, BROKER) \
	X(131, ENTER_WRITTEN, BROKER) \
	X(132, ORPHAN_NAMED, BROKER) \
	/* daemon/settle.c */ \
	X(140, EXEC_EMBRYOS, BROKER)        /* a member called execve */ \
	X(141, EXEC_SETTLED, BROKER) \
	X(142, EXEC_LET_GO, BROKER) \
	X(143, EXEC_DROPPED, BROKER) \
	X(144, EXEC_DONE, BROKER) \
	X(145, STRAY_FOUND, BROKER)         /* pages in a slot nobody is in */ \
	/* daemon/sysv.c */ \
	X(150, SYSV_CLAIMED, BROKER) \
	X(151, SYSV_RELEASED, BROKER) \
	/* daemon/unattached.c, daemon/unseen.c */ \
	X(152, UNATTACHED_CLAIMED, BROKER)  /* a process without a shim was found */ \
	X(153, UNATTACHED_NAMED, BROKER) \
	X(154, UNATTACHED_TURNED, BROKER)   /* a member has become one, or so it seems */ \
	X(155, UNATTACHED_JOINED, BROKER)   /* and comes back */ \
	X(156, UNSEEN_OPENED, BROKER)       /* the slot of what came past the doors */ \
	X(157, UNSEEN_CHARGED, BROKER) \
	X(158, UNSEEN_TAKEN_OVER, BROKER) \
	/* daemon/recover.c */ \
	X(160, RECOVER_TAKEN, BROKER) \
	X(161, RECOVER_SETTLED, BROKER)

#ifdef SOLVENT_CRASH
enum crash_point {
#define CRASH_NAME(number, name, who) CRASH_##name = number,
	CRASH_POINTS(CRASH_NAME)
#undef CRASH_NAME
	CRASH_POINT_N
};

/* Comes back, or does not. In tests/stress_crash.c. */
void crash_point(enum crash_point point);
#define CRASH_POINT(name) crash_point(CRASH_##name)
#endif

#ifndef CRASH_POINT
#define CRASH_POINT(name) ((void)0)
#endif
