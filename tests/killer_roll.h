/* SPDX-License-Identifier: MIT */
/* A roll that is written by hand: everybody in the first watch, of no account, alone in an image and
 * a control group of their own, and under all rules. */
#pragma once

#include <string.h>

#include "daemon/killer/rank.h"

#define MIB 256u /* pages */
#define GIB (1024 * MIB)

static struct roll roll;

static inline void roll_clear(void)
{
	memset(&roll, 0, sizeof roll);
	roll.unmanaged_rules = UINT64_MAX;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		roll.stake[i].rules = UINT64_MAX;
}

/* Who comes later is older by no means: they start in the order of their pids. */
static inline struct candidate *roll_put(uint32_t place, const char *comm, int32_t pid, uint32_t held)
{
	struct candidate *c = &roll.candidate[place];
	*c = (struct candidate){ .pid = pid, .parent = 1, .start_ticks = (uint64_t)pid, .image = (uint64_t)pid * 1000003,
				 .cgroup = (uint64_t)pid + 5, .rules = UINT64_MAX, .watches = 1, .held = held };
	memcpy(c->comm, comm, strnlen(comm, sizeof c->comm - 1));
	roll.n = roll.n > place ? roll.n : place + 1;
	return c;
}

static inline struct candidate *roll_add(const char *comm, int32_t pid, uint32_t held)
{
	return roll_put(roll.n, comm, pid, held);
}

/* The next rule: kills, in the middle, one process, asking it to end. */
static inline struct rule *roll_rule(enum rule_action action, enum rule_unit unit)
{
	struct rule *r = &roll.rule[roll.rules++];
	*r = (struct rule){ .action = (uint8_t)action, .unit = (uint8_t)unit, .signal = 15, .order = ORDER_MIDDLE,
			    .grace_ns = RULE_GRACE_NS, .deadline_ns = RULE_DEADLINE_NS, .line = (int32_t)roll.rules };
	return r;
}
