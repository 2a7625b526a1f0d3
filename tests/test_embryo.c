/* SPDX-License-Identifier: MIT */
/* A child and a broker that does not know it, at the same moment: what the broker does in the
 * middle of an adoption is done where the child is about to settle its charge. */
#include <criterion/criterion.h>

#define embryo_conceive late_conceive
#define embryo_born late_born
#define embryo_adopt late_adopt
#define embryo_release late_release
#define embryo_bell_is_unheard late_bell_is_unheard
#include "reserve/embryo.h"
#include "reserve/ledger.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

static void (*meanwhile)(void);

static bool swap_in_between(struct purse *p, uint64_t expected, uint64_t expected_by, uint64_t word, uint64_t by,
			    struct ledger *l)
{
	void (*act)(void) = meanwhile;
	meanwhile = NULL;
	if (act)
		act();
	return purse_swap(p, expected, expected_by, word, by, l);
}

#define purse_swap swap_in_between
#include "reserve/embryo.c"
#undef purse_swap

TestSuite(embryo, .timeout = 20);

enum { PARENT = 0, STRANGER = 1, GRANT = 10000 };

static struct ledger *l;
static struct embryo e;

static struct gather as(uint32_t slot)
{
	return (struct gather){ .ledger = l, .slot = slot, .generation = SLOT_GEN(slot_read(l, slot)) };
}

static void scene(void)
{
	l = ledger_made();
	l->header.limit = GRANT;
	l->header.purse.word = PURSE(GRANT, 0);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), PARENT);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), STRANGER);
	struct gather g = as(PARENT);
	cr_assert_eq(embryo_conceive(&g, 300, &e), REASON_NONE);
}

static void bury(void)
{
	cr_assert(slot_adopt(l, e.slot, e.generation, 0));
	member_reap(l, e.slot);
}

static void bury_and_conceive(void)
{
	struct gather g = as(STRANGER);
	struct embryo other;
	bury();
	cr_assert_eq(embryo_conceive(&g, 500, &other), REASON_NONE);
	cr_assert_eq(other.slot, e.slot);
	cr_assert(embryo_adopt(l, other, 500, 4712));
}

Test(embryo, is_settled_within_its_grant_only)
{
	scene();
	cr_assert(!embryo_adopt(l, e, 301, 4711));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(300, 0));
	cr_assert(embryo_adopt(l, e, 290, 4711));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(300, 290));
	free(l);
}

static void fund(void)
{
	cr_assert(transfer_fund(l, PARENT, e.slot, 50));
}

Test(embryo, keeps_what_its_parent_adds_while_it_is_settled)
{
	scene();
	meanwhile = fund;
	cr_assert(embryo_adopt(l, e, 290, 4711));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(350, 290));
	free(l);
}

Test(embryo, buried_in_the_middle_of_it_is_not_charged)
{
	scene();
	meanwhile = bury;
	cr_assert(!embryo_adopt(l, e, 290, 4711));
	cr_assert_eq(l->slot[e.slot].purse.word, 0);
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

Test(embryo, buried_in_the_middle_of_it_charges_nobody_else)
{
	scene();
	meanwhile = bury_and_conceive;
	cr_assert(!embryo_adopt(l, e, 290, 4711));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(500, 500));
	cr_assert_eq(l->slot[e.slot].pid, 4712);
	free(l);
}
