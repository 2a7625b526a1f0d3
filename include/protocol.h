/* SPDX-License-Identifier: MIT */
/* What is said over the broker's socket: SOCK_SEQPACKET, one fixed struct a packet,
 * exact sizes. One request, one reply, in order; a peer that sends anything else is
 * closed. What a member asks (JOIN, EXTEND, ADOPT) is the last on its connection: the
 * broker closes it with the reply, and is not woken to hear that the member has. Who a
 * peer is comes from the kernel (SO_PEERCRED), never from a message. */
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "include/ledger.h"

#define PROTOCOL_MAGIC 0x746e6c73u /* "slnt" */
#define PROTOCOL_VERSION 1
#define PROTOCOL_SOCKET "/run/solvent/solventd.sock"

/* The environment a member finds its way by. A SOLVENT_SOCKET that starts with '@'
 * is an abstract address (unix(7)); private brokers use one, so that they leave no file. */
#define ENV_SOCKET "SOLVENT_SOCKET"
#define ENV_ACCOUNT "SOLVENT_ACCOUNT"
#define ENV_NO_BROKER "SOLVENT_NO_BROKER" /* strict | open */

enum opcode {
	OPCODE_JOIN = 1, /* -> struct reply_join and the account's memfd, read-write */
	OPCODE_EXTEND,   /* -> struct reply_extend */
	OPCODE_ADOPT,    /* a child whose pid its parent cannot know -> struct reply_join, no fd */
	OPCODE_POOL,     /* -> struct reply_pool */
	OPCODE_ACCOUNT,  /* -> struct reply_account and its memfd, read-only */
	OPCODE_RANK,     /* -> struct reply_rank: who would be killed, in order */
	OPCODE_N
};

enum status {
	STATUS_OK = 0,
	STATUS_NO_ACCOUNT,  /* no account of that name */
	STATUS_NOT_ALLOWED, /* the peer's uid may not join it */
	STATUS_VERSION,     /* protocol or ledger version differs */
	STATUS_FULL,        /* no free slot, or no free descriptor in the broker */
	STATUS_DAMAGED,     /* its ledger was written over; wait until its members are gone */
	STATUS_MALFORMED,   /* wrong size, unknown opcode */
	STATUS_REFUSED,     /* limit or pool: no more pages */
	STATUS_NOT_MEMBER,  /* the peer is not in the slot it speaks for */
	STATUS_END,         /* no account, or watch, with that index; or the order was made anew meanwhile */
	STATUS_N
};

struct message {
	uint32_t magic;
	uint16_t version;
	uint16_t opcode;
	uint32_t status; /* replies: enum status */
	uint32_t reserved;
};

struct request_join {
	struct message head;
	char account[ACCOUNT_NAME_BYTES]; /* empty: the one account there is, or "default" */
};

struct reply_join {
	struct message head;
	uint32_t slot;
	uint32_t generation;
	int32_t pid;      /* the peer's, as the broker sees it */
	uint32_t renewed; /* 1: the slot this pid had before it called execve; its charge is still in it */
	char account[ACCOUNT_NAME_BYTES];
};

struct request_extend {
	struct message head;
	char account[ACCOUNT_NAME_BYTES];
	uint32_t slot;
	uint32_t pages; /* how many more the asker could not find */
	uint32_t for_child; /* 1: a fork is to be paid for; it may be refused while others live on credit */
	uint32_t reserved;
};

struct reply_extend {
	struct message head;
	uint32_t pages;  /* added to the grant; 0 with STATUS_OK: look again, the dead were reaped */
	uint32_t reason; /* with STATUS_REFUSED: REASON_LIMIT or REASON_POOL; with STATUS_OK the same where
			  * somebody is ending to make room: look again in a moment */
};

struct request_adopt {
	struct message head;
	char account[ACCOUNT_NAME_BYTES];
	uint32_t slot;
	uint32_t generation;
};

struct request_pool {
	struct message head;
};

struct reply_pool {
	struct message head;
	uint32_t limit;   /* pages */
	uint32_t granted; /* to accounts, guarantees counted whole */
	uint32_t accounts;
	uint32_t members;
	int32_t broker_pid;
	uint32_t turned_away; /* joins answered with another status than OK since start */
	uint64_t start_ns;    /* CLOCK_REALTIME */
	char version[32];
};

struct request_account {
	struct message head;
	uint32_t index; /* 0 .. accounts - 1, of those the peer may see */
	uint32_t reserved;
};

struct reply_account {
	struct message head;
	uint32_t index;
	uint32_t members; /* processes the broker watches in it */
	uint32_t damaged; /* 1: the ledger was written over; figures are not to be trusted */
	uint32_t turned_away;
	char account[ACCOUNT_NAME_BYTES];
};

/* The order is made when `from` is 0, and kept for the requests that follow. */
struct request_rank {
	struct message head;
	uint32_t watch;
	uint32_t from;
	uint64_t round; /* 0, or as in the first reply */
};

#define RANK_ROWS 16u
#define RANK_PATH_BYTES 256

/* One unit: a process, or all that its rule takes together. */
struct rank_row {
	int32_t pid;	    /* of the eldest */
	uint32_t processes;
	uint32_t uid;
	uint32_t line;	    /* of its rule in the configuration; 0: no rule matches it */
	uint32_t ranked;    /* 1; 0: it is not touched */
	uint32_t order, borrower;
	uint32_t over;	    /* pages beyond its account's guarantee */
	uint32_t returns;   /* pages */
	uint32_t cpu_s;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat */
	char comm[COMM_BYTES];
	char action[16], unit[16];
	char account[ACCOUNT_NAME_BYTES]; /* empty: none */
	char why[64]; /* it stands before the next; or is not touched */
};

struct reply_rank {
	struct message head;
	uint64_t round;
	uint32_t n;	/* rows in all, those that are ranked first */
	uint32_t rows;	/* here, from `from` on */
	uint32_t watches;
	uint32_t total, available, warn, act; /* pages; of the group, or the machine */
	uint32_t dry;	/* 1: nobody is signalled */
	char group[RANK_PATH_BYTES]; /* empty: the machine */
	struct rank_row row[RANK_ROWS];
};

/* Fills `ret_address` and its length from a path or '@name'. -ENAMETOOLONG when it does
 * not fit in sun_path, -EINVAL when empty. */
static inline int protocol_address(const char *name, struct sockaddr_un *ret_address,
				   uint32_t *ret_length)
{
	size_t n = __builtin_strlen(name);
	if (n == 0)
		return -22;
	if (n >= sizeof ret_address->sun_path)
		return -36;
	ret_address->sun_family = AF_UNIX;
	__builtin_memset(ret_address->sun_path, 0, sizeof ret_address->sun_path);
	__builtin_memcpy(ret_address->sun_path, name, n);
	*ret_length = (uint32_t)(offsetof(struct sockaddr_un, sun_path) + n);
	if (name[0] == '@')
		ret_address->sun_path[0] = '\0';
	else
		*ret_length += 1;
	return 0;
}
