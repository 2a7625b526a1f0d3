/* SPDX-License-Identifier: MIT */
/* What is found of a member that is too large to be counted in full: any number the kernel says. */
#define audit_tick far_tick
#define audit_turn far_turn
#define audit_goes_on far_goes_on
#define audit_slot far_slot
#include "daemon/audit.c"

#include "tests/broker_fixture.h"

TestSuite(suspect, .timeout = 20);

Test(suspect, more_than_can_be_said_is_the_most_that_can)
{
	broker_begin("account a { limit = 64M }");
	struct account *a = account("a");
	uint32_t s = (uint32_t)slot_claim(a->ledger, SLOT_LIVE, 0);
	struct member *m = &a->member[s];
	*m = (struct member){ .pidfd = -1, .statm = -1, .life = MEMBER_WATCHED, .counted = true };
	struct look look = { .low = ((int64_t)1 << 32) + 5, .high = ((int64_t)1 << 32) + 5,
			     .resident = AUDIT_LARGE_PAGES + 1 };
	member_suspect(&b, a, s, &look);
	cr_assert_eq((uint64_t)m->unseen + m->drift, PAGES_MAX);
	cr_assert(!a->damaged);
}
