/* SPDX-License-Identifier: MIT */
/* Slots, and the death of whoever moves one: as in tests/test_transfer.c the crash points are
 * longjmps. Whatever is cut short, a slot that is taken says who is in it. */
#include <criterion/criterion.h>

#include "tests/crash_jump.h"
#include "tests/ledger_made.h"

#define slot_claim crash_claim
#define slot_claim_this crash_claim_this
#define slot_adopt crash_adopt
#define slot_name crash_name
#define slot_turn crash_turn
#define slot_turn_end crash_turn_end
#define slot_free crash_free
#define top_raise crash_top_raise
#include "reserve/slot.c"

TestSuite(slot, .timeout = 20);

enum { PARENT = 5, CHILD = 4711 };

static struct ledger *l;

/* An embryo of PARENT. */
static uint32_t embryo(void)
{
	l = ledger_made();
	return (uint32_t)slot_claim(l, SLOT_EMBRYO, PARENT);
}

/* Frees the slot and dies at the n-th point of it. False: there is none. */
static bool dies_freeing(uint32_t s, int n)
{
	crash_countdown = n;
	if (setjmp(crash_to) != 0)
		return true;
	slot_free(l, s);
	crash_countdown = 0;
	return false;
}

Test(slot, a_death_while_it_is_freed_does_not_hide_who_was_in_it)
{
	for (int n = 1;; n++) {
		uint32_t s = embryo();
		cr_assert(slot_adopt(l, s, 0, CHILD));
		bool died = dies_freeing(s, n);
		bool taken = SLOT_STATE(slot_read(l, s)) != SLOT_FREE;
		cr_assert_eq(l->slot[s].pid, taken ? CHILD : 0, "death %d", n);
		free(l);
		if (!died) {
			cr_assert(n >= 3 && !taken);
			break;
		}
	}
}

Test(slot, a_parent_names_its_child)
{
	uint32_t s = embryo();
	slot_name(l, s, 0, CHILD);
	cr_assert_eq(l->slot[s].pid, CHILD);
	cr_assert(slot_adopt(l, s, 0, CHILD));
	cr_assert_eq(l->slot[s].pid, CHILD);
	free(l);
}

Test(slot, a_late_parent_names_nobody_else)
{
	uint32_t s = embryo();
	cr_assert(slot_adopt(l, s, 0, CHILD));
	slot_free(l, s);
	slot_name(l, s, 0, CHILD);
	cr_assert_eq(l->slot[s].pid, 0, "in an empty slot");
	cr_assert_eq(slot_claim(l, SLOT_EMBRYO, PARENT + 1), (int)s);
	slot_name(l, s, 0, CHILD);
	cr_assert_eq(l->slot[s].pid, 0, "in a stranger's");
	slot_name(l, s, 1, CHILD + 1);
	slot_name(l, s, 1, CHILD);
	cr_assert_eq(l->slot[s].pid, CHILD + 1, "over a name");
	free(l);
}

Test(slot, a_late_child_adopts_nothing_and_writes_nothing)
{
	uint32_t s = embryo();
	slot_free(l, s);
	cr_assert_eq(slot_claim(l, SLOT_EMBRYO, PARENT + 1), (int)s);
	cr_assert(!slot_adopt(l, s, 0, CHILD));
	cr_assert_eq(l->slot[s].pid, 0);
	free(l);
}

Test(slot, what_was_left_in_an_empty_one_is_not_its_next_owners)
{
	uint32_t s = embryo();
	slot_free(l, s);
	l->slot[s].flags = SLOT_FOREIGN_PID; /* by a child that was late */
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)s);
	cr_assert_eq(l->slot[s].flags, 0);
	free(l);
}
