/* SPDX-License-Identifier: MIT */
/* Rules are ordered lines like a firewall's: the first that matches a process decides, and what
 * no rule matches is never touched. Half of a match is about what a process is, and holds until
 * it calls execve or somebody moves it; it is worked out in advance, one bit a rule. The other
 * half (the account it is in, how much it holds) is looked at when it counts. */
#pragma once

#include <sys/types.h>

#include "include/ledger.h"

#define RULES 64u /* bits in a word */
#define RULE_PATTERN_BYTES 256

enum rule_action { ACTION_NEVER, ACTION_NOTIFY, ACTION_RECLAIM, ACTION_FREEZE, ACTION_KILL, ACTION_N };

/* What goes at once. A family is a process and its forked copies: all that run the image of one
 * execve. */
enum rule_unit { UNIT_PROCESS, UNIT_FAMILY, UNIT_ACCOUNT, UNIT_CGROUP, UNIT_N };

enum rule_managed { MANAGED_ANY, MANAGED_YES, MANAGED_NO }; /* of borrowers, too */

extern const char *const action_name[ACTION_N];
extern const char *const unit_name[UNIT_N];

/* First is 0, last is ORDER_LAST; who has no order of its own is in the middle. */
#define ORDER_FIRST 0u
#define ORDER_MIDDLE 50u
#define ORDER_LAST 100u

struct rule {
	/* what it matches; empty, or as said: everything */
	char account[ACCOUNT_NAME_BYTES];  /* a pattern */
	char cgroup[RULE_PATTERN_BYTES];   /* a pattern; it, or what is below it */
	char exe[RULE_PATTERN_BYTES];	   /* a path, or a pattern of one */
	char comm[RULE_PATTERN_BYTES];	   /* a pattern; a process can give itself any */
	uid_t user;
	bool has_user, has_adj;
	int16_t adj; /* oom_score_adj at least */
	uint8_t managed; /* enum rule_managed */
	uint8_t borrower; /* a fork on credit; the same */
	uint32_t over;	 /* pages that its unit holds privately, at least; 0: any */

	/* what is done */
	uint8_t action; /* enum rule_action */
	uint8_t unit;	/* enum rule_unit */
	uint8_t signal; /* that asks it to end; SIGKILL: it is not asked */
	uint8_t order;	/* among those that are killed */
	uint64_t grace_ns, deadline_ns; /* from the signal to SIGKILL; from SIGKILL to the next victim */
	int32_t line;			/* in the configuration's file */
};

#define RULE_GRACE_NS (2000 * 1000000ull)
#define RULE_DEADLINE_NS (1000 * 1000000ull)

/* '*' stands for any bytes, '?' for one; all else for itself. */
bool pattern_fits(const char *pattern, const char *text);

/* Has the pattern one of the two? */
bool pattern_is_wild(const char *pattern);

/* A file, so that no name can pass for it. */
struct file_identity {
	uint64_t device, inode; /* inode 0: unknown */
};

/* What a process is, as far as rules ask. */
struct identity {
	uid_t user;
	int16_t adj;
	bool same_files; /* it lives in our mount namespace: its exe's path means to us what it says */
	const char *cgroup, *exe, *comm; /* exe: as /proc/PID/exe reads, " (deleted)" included; or empty */
	struct file_identity file;	 /* of exe */
};

/* Do the conditions hold that are about what a process is? `file` is what rule.exe names now. */
bool rule_knows(const struct rule *r, const struct file_identity *file, const struct identity *who);
