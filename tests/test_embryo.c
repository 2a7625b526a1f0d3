/* SPDX-License-Identifier: MIT */
/* A child and a broker that does not know it, at the same moment: what the broker does in the
 * middle of an adoption is done where the child is about to settle its charge. */
#include <criterion/criterion.h>

#define embryo_conceive late_conceive
#define embryo_born late_born
#define embryo_adopt late_adopt
#define embryo_release late_release
#define embryo_hold late_hold
#define embryo_bell_is_unheard late_bell_is_unheard
#include "reserve/embryo.h"
#include "reserve/ledger.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

static void (*meanwhile)(void);

static void act(void)
{
	void (*what)(void) = meanwhile;
	meanwhile = NULL;
	if (what)
		what();
}

static bool swap_in_between(struct purse *p, uint64_t expected, uint64_t expected_by, uint64_t word, uint64_t by,
			    struct ledger *l)
{
	act();
	return purse_swap(p, expected, expected_by, word, by, l);
}

static void hand_on_late(struct ledger *l, uint32_t o, uint32_t to)
{
	act();
	object_hand_on(l, o, to);
}

#define purse_swap swap_in_between
#define object_hand_on hand_on_late
#include "reserve/embryo.c"
#undef purse_swap
#undef object_hand_on

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

/* --- what is mapped while a fork is under way --- */

/* An object of the parent's, made after the embryo inherited; what is done meanwhile; is it held? */
static uint32_t gain(void (*what)(void))
{
	int o = object_claim(l, PARENT);
	cr_assert_geq(o, 0);
	object_publish(l, (uint32_t)o, OBJECT_ANON, 0, 0);
	meanwhile = what;
	embryo_hold(l, PARENT, e, (uint32_t)o);
	cr_assert(!meanwhile);
	return (uint32_t)o;
}

static bool is_there(uint32_t o)
{
	return OBJECT_KIND(l->object[o].state) != OBJECT_FREE;
}

Test(embryo, holds_what_its_parent_maps_before_the_copy)
{
	scene();
	uint32_t o = gain(NULL);
	cr_assert(object_is_held_by(l, o, e.slot));
	object_let_go(l, PARENT, PARENT, o);
	cr_assert(is_there(o));
	embryo_release(l, PARENT, e);
	cr_assert(!is_there(o));
	cr_assert_eq(l->slot[PARENT].embryos, 0);
	free(l);
}

Test(embryo, that_was_adopted_has_been_copied)
{
	scene();
	cr_assert(embryo_adopt(l, e, 300, 4711));
	cr_assert(!object_is_held_by(l, gain(NULL), e.slot));
	free(l);
}

Test(embryo, that_was_buried_meanwhile_holds_nothing)
{
	scene();
	uint32_t embryos = l->slot[PARENT].embryos, o = gain(bury);
	cr_assert_eq(SLOT_STATE(slot_read(l, e.slot)), SLOT_FREE);
	cr_assert(!object_is_held_by(l, o, e.slot));
	cr_assert_eq(l->slot[PARENT].embryos, embryos);
	object_let_go(l, PARENT, PARENT, o);
	cr_assert(!is_there(o));
	free(l);
}

Test(embryo, whose_slot_is_anothers_leaves_nothing_when_that_one_ends)
{
	scene();
	uint32_t o = gain(bury_and_conceive);
	object_let_go(l, PARENT, PARENT, o);
	member_reap(l, e.slot);
	cr_assert(!is_there(o));
	free(l);
}
