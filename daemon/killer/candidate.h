/* SPDX-License-Identifier: MIT */
/* Whoever might be killed, as plain facts: no descriptor, no pointer, nothing that was not
 * written into a trace or could not be read from one. The roll is all of them; who fills it is
 * daemon/killer/census.c, or a replay. */
#pragma once

#include "daemon/books.h"
#include "daemon/killer/rule.h"
#include "daemon/killer/watch.h"

#define ROLL 8192u

/* Those that no rule can give up. */
enum exemption {
	EXEMPT_NOT,
	EXEMPT_IMMUNE, /* its oom_score_adj is -1000: the kernel's killer spares it, too */
	EXEMPT_BEYOND, /* another user's, where we are not root: we may not signal it */
	EXEMPT_KERNEL, /* a kernel thread: no memory of its own; this and what follows is for ever */
	EXEMPT_INIT,   /* pid 1 */
	EXEMPT_BROKER, /* this process, or one it started */
	EXEMPT_N
};

/* How far the ladder has come with one. This, `tried`, `victim` and `freezer`
 * are the ladder's alone, and all 0 when another process gets the place. */
enum phase {
	PHASE_ALIVE,
	PHASE_FROZEN, /* by us, until there is memory again */
	PHASE_TOLD,   /* asked to end */
	PHASE_KILLED,	/* SIGKILL was sent */
	PHASE_RELEASED, /* and its memory was to be taken without it */
	PHASE_STUCK,	/* and it did not end in time */
	PHASE_N
};

struct candidate {
	int32_t pid; /* 0: this place is free */
	int32_t parent;
	uint64_t start_ticks; /* with the pid, one process for ever */
	uint64_t image;	      /* the same for those that share one execve; 0: unknown */
	uint64_t cgroup;      /* its memory control group, as a number; 0: unknown */
	uint64_t rules;	      /* whose conditions about what it is hold (rule_knows), a bit each */
	uint32_t user;
	int16_t adj;
	uint16_t account;  /* its place among the broker's + 1; 0: it is not managed */
	uint16_t watches;  /* it lives in, a bit each; the machine is one, too */
	uint8_t exempt;	   /* enum exemption */
	uint8_t borrower;  /* a fork let in on credit */
	uint8_t phase;	   /* enum phase */
	uint8_t tried;	   /* what its rule does was done, since memory became short: enum rule_action, a bit each */
	uint8_t victim;	   /* the watch whose victim it is + 1; 0: nobody's */
	uint8_t freezer;   /* the watch that froze it + 1, while it is frozen */
	char comm[COMM_BYTES];

	/* pages that its death returns, as of the last look */
	uint32_t held; /* private, and swapped out */
	uint32_t shared; /* with its family: copies of a fork that nobody has written to */
	uint32_t cpu_s;	/* it has worked */
};

/* What the broker knows of an account. */
struct stake {
	uint32_t guarantee;
	uint32_t shared; /* pages of its shared objects, returned when its last member goes */
	uint64_t rules;	 /* whose account pattern fits it, a bit each; also those without one */
};

struct roll {
	uint32_t n; /* places in use are below */
	struct candidate candidate[ROLL];
	struct stake stake[BOOKS_ACCOUNTS];
	uint64_t unmanaged_rules; /* those without an account pattern */
	uint32_t rules;
	struct rule rule[RULES];
	uint64_t ended_ns; /* a victim was last seen to be gone: the ladder's own, too */
};
