/* SPDX-License-Identifier: MIT */
/* Objects, when two are busy with one at the same moment. What another does in the middle of
 * a release is done from inside it: where the release empties the purse, `meanwhile` runs. What
 * another does in the middle of a growth, before what was found comes to the object, too. */
#include <criterion/criterion.h>

#define object_claim slow_claim
#define object_publish slow_publish
#define object_find_hold slow_find_hold
#define object_obtain slow_obtain
#define object_grow slow_grow
#define object_hold slow_hold
#define object_drop slow_drop
#define object_is_held_by slow_is_held_by
#define object_is_held slow_is_held
#define object_mark_removed slow_mark_removed
#define object_hand_on slow_hand_on
#define object_inherit slow_inherit
#define object_take_over slow_take_over
#define object_release slow_release
#define object_let_go slow_let_go
#define object_settle slow_settle
#define object_drop_all slow_drop_all
#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

static void (*meanwhile)(void), (*before_it_comes)(void);

static void once(void (**turn)(void))
{
	void (*act)(void) = *turn;
	*turn = NULL;
	if (act)
		act();
}

static uint32_t emptied_in_between(struct ledger *l, uint32_t s, uint32_t o)
{
	once(&meanwhile);
	return transfer_from_object(l, s, o);
}

static bool moved_in_between(struct ledger *l, uint32_t s, uint32_t o, uint32_t has, uint32_t pages)
{
	once(&before_it_comes);
	return transfer_to_object(l, s, o, has, pages);
}

#define transfer_from_object emptied_in_between
#define transfer_to_object moved_in_between
#include "reserve/object.c"
#undef transfer_to_object

TestSuite(object_race, .timeout = 20);

static struct ledger *l;
static uint32_t first, second;

static void scene(void)
{
	l = ledger_made();
	l->header.purse.word = PURSE(1000, 0);
	for (uint32_t s = 0; s < 3; s++) {
		cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)s);
		cr_assert(transfer_fund(l, s, s, 100));
	}
}

static uint32_t object_of(uint32_t maker, uint64_t key, uint32_t pages)
{
	int o = object_claim(l, maker);
	cr_assert(o >= 0);
	cr_assert(purse_take(&l->slot[maker].purse, pages));
	cr_assert(transfer_to_object(l, maker, (uint32_t)o, 0, pages));
	object_publish(l, (uint32_t)o, OBJECT_FILE, key, 0);
	return (uint32_t)o;
}

static int scribbles;

static void never_holds_still(void)
{
	l->object[first].state += 1ull << 32;
	scribbles++;
	meanwhile = never_holds_still;
}

Test(object_race, a_release_that_is_given_up_is_told)
{
	scene();
	purse_patience(100000);
	first = object_of(0, 9, 40);
	meanwhile = never_holds_still;
	object_let_go(l, 0, 0, first);
	cr_assert(scribbles > 1);
	scribbles = 0;
	object_release(l, 0, first);
	cr_assert_leq(scribbles, 1, "the next does not take as long");
	cr_assert(purse_gave_up(l));
	cr_assert(!purse_gave_up(l));
	free(l);
}

Test(object_race, a_member_is_not_told_that_its_release_was_given_up)
{
	scene();
	first = object_of(0, 9, 40);
	meanwhile = never_holds_still;
	object_let_go(l, 0, 0, first);
	cr_assert(!purse_gave_up(l));
	free(l);
}

static void another_releases_and_a_third_makes(void)
{
	object_release(l, 1, first);
	second = object_of(2, 8, 30);
}

Test(object_race, who_is_slow_to_empty_it_takes_nothing_from_the_next)
{
	scene();
	first = object_of(0, 9, 40);
	meanwhile = another_releases_and_a_third_makes;
	object_let_go(l, 0, 0, first);
	cr_assert_eq(PURSE_USED(purse_read(&l->object[second].purse)), 30);
	cr_assert(object_is_held_by(l, second, 2));
	cr_assert_eq(ledger_used(l), 30);
	object_let_go(l, 2, 2, second);
	cr_assert_eq(ledger_used(l), 0);
	cr_assert_eq(OBJECT_KIND(l->object[first].state), OBJECT_FREE);
	free(l);
}

static uint64_t judged; /* the state of `first` when it was found to be removed */

static void removed_again(void)
{
	cr_assert(!object_mark_removed(l, first, judged));
}

/* Two members remove one segment: the mark of the second comes when the first is at it. */
Test(object_race, a_mark_in_the_middle_of_a_release_does_not_stop_it)
{
	scene();
	first = object_of(0, 9, 40);
	judged = l->object[first].state;
	meanwhile = removed_again;
	object_let_go(l, 0, 0, first);
	cr_assert_eq(OBJECT_KIND(l->object[first].state), OBJECT_FREE);
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

static uint32_t segment_of(uint32_t maker, uint64_t id, uint32_t pages)
{
	int o = object_claim(l, maker);
	cr_assert(o >= 0 && purse_take(&l->slot[maker].purse, pages));
	cr_assert(transfer_to_object(l, maker, (uint32_t)o, 0, pages));
	object_publish(l, (uint32_t)o, OBJECT_SYSV, id, 0);
	object_let_go(l, maker, maker, (uint32_t)o);
	return (uint32_t)o;
}

/* The broker has found a segment removed and is slow to say so; meanwhile its last member ends the
 * object, and makes the next segment, in the same place. */
Test(object_race, a_segment_is_not_marked_for_the_one_that_was_in_its_place)
{
	scene();
	first = segment_of(0, 123, 40);
	judged = l->object[first].state;
	cr_assert(object_mark_removed(l, first, judged) && object_release(l, 0, first));
	second = segment_of(0, 456, 30);
	cr_assert_eq(second, first);
	cr_assert(!object_mark_removed(l, first, judged));
	cr_assert(!object_release(l, 1, first));
	cr_assert_eq(ledger_used(l), 30, "the segment is there, and nobody pays for it");
	free(l);
}

/* The first look, its bit, SIGKILL: and in the meantime the last who held it let it go. */
Test(object_race, a_death_between_the_two_looks_leaves_no_bit)
{
	scene();
	first = object_of(0, 9, 40);
	object_let_go(l, 0, 0, first);
	object_hold(l, first, 1);
	object_drop_all(l, 1, 1);
	cr_assert(!object_is_held(l, first));
	second = object_of(2, 8, 30);
	cr_assert_eq(second, first);
	object_drop_all(l, 2, 2);
	cr_assert_eq(ledger_used(l), 0, "held by a slot nobody is in");
	free(l);
}

/* A thread forks while another makes a shared mapping, and the fork is refused: the embryo lets go
 * of what it inherited, by the slot whose object it is. */
Test(object_race, an_embryo_that_is_released_leaves_alone_what_is_being_made)
{
	scene();
	first = (uint32_t)object_claim(l, 0);
	cr_assert(transfer_fund(l, 0, 0, 40) && purse_take(&l->slot[0].purse, 40));
	cr_assert(transfer_to_object(l, 0, first, 0, 40));
	object_inherit(l, 0, 1);
	object_drop_all(l, 0, 1);
	object_publish(l, first, OBJECT_ANON, 0, 0);
	cr_assert_eq(PURSE_USED(purse_read(&l->object[first].purse)), 40);
	cr_assert(object_is_held_by(l, first, 0) && !object_is_held_by(l, first, 1));
	object_let_go(l, 0, 0, first);
	cr_assert_eq(OBJECT_KIND(l->object[first].state), OBJECT_FREE);
	free(l);
}

/* It died when the object was its own to empty. */
Test(object_race, a_death_while_emptying_is_finished_by_the_settlement)
{
	scene();
	first = object_of(0, 9, 40);
	l->object[first].state = OBJECT_WORD(OBJECT_GEN(l->object[first].state), 0 + 1, OBJECT_CLAIMED);
	object_drop(l, first, 0);
	object_drop_all(l, 0, 0);
	cr_assert_eq(OBJECT_KIND(l->object[first].state), OBJECT_FREE);
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

/* --- growth --- */

static void grow(uint32_t s, uint64_t pages, uint64_t wanted)
{
	struct gather g = { .ledger = l, .slot = s };
	uint64_t added;
	cr_assert_eq(object_grow(&g, first, pages, &added), REASON_NONE);
	cr_assert_eq(added, wanted, "slot %u added %lu", s, (unsigned long)added);
}

static uint32_t pages(void)
{
	return PURSE_USED(purse_read(&l->object[first].purse));
}

static void another_adds_as_much(void)
{
	object_hold(l, first, 1);
	grow(1, 70, 30);
}

/* To 70 pages, of which `wanted` are added, while another does something. */
static void grow_beside(void (*another)(void), uint64_t wanted)
{
	scene();
	first = object_of(0, 9, 40);
	before_it_comes = another;
	grow(0, 70, wanted);
	cr_assert_eq(pages(), 70);
	cr_assert_eq(ledger_used(l), 70);
	free(l);
}

Test(object_race, what_two_add_at_the_last_moment_is_added_once)
{
	grow_beside(another_adds_as_much, 0);
}

static void another_adds_less(void)
{
	object_hold(l, first, 1);
	grow(1, 50, 10);
}

Test(object_race, who_wants_more_of_it_than_another_has_it)
{
	grow_beside(another_adds_less, 20);
}

static void a_third_adds_more(void)
{
	object_hold(l, first, 2);
	grow(2, 90, 20);
}

static void another_adds_and_then_a_third(void)
{
	another_adds_as_much();
	a_third_adds_more();
}

Test(object_race, who_wants_less_of_it_than_it_has_by_then_adds_nothing)
{
	scene();
	first = object_of(0, 9, 40);
	before_it_comes = another_adds_and_then_a_third;
	grow(0, 70, 0);
	cr_assert(pages() == 90 && ledger_used(l) == 90);
	free(l);
}

static void who_added_most_of_it_takes_it_back(void)
{
	transfer_shrink_object(l, 1, first, 30, 40);
}

Test(object_race, who_adds_to_what_goes_meanwhile_adds_that_too)
{
	scene();
	first = object_of(0, 9, 40);
	cr_assert(purse_take(&l->slot[1].purse, 30) && transfer_to_object(l, 1, first, 40, 30));
	before_it_comes = who_added_most_of_it_takes_it_back;
	grow(0, 80, 40);
	cr_assert(pages() == 80 && ledger_used(l) == 80);
	free(l);
}

static void somebody_scribbles(void)
{
	l->object[first].purse.word = PURSE(41, 40);
	before_it_comes = somebody_scribbles;
}

Test(object_race, what_is_no_object_any_more_does_not_grow_for_ever)
{
	scene();
	first = object_of(0, 9, 40);
	before_it_comes = somebody_scribbles;
	uint64_t added;
	cr_assert_eq(object_grow(&(struct gather){ .ledger = l }, first, 70, &added), REASON_LIMIT);
	cr_assert_eq(added, 0);
	before_it_comes = NULL;
	free(l);
}
