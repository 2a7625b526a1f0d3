/* SPDX-License-Identifier: MIT */
/* Shared objects, and what others do between any two steps of what is done to one. Every
 * atomic access of reserve/object.c asks here first whether somebody else has his turn: the
 * n-th of the outer one's steps, for all n, and inside his turn the same again. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define object_claim step_claim
#define object_publish step_publish
#define object_find_hold step_find_hold
#define object_obtain step_obtain
#define object_grow step_grow
#define object_hold step_hold
#define object_drop step_drop
#define object_is_held_by step_is_held_by
#define object_is_held step_is_held
#define object_mark_removed step_mark_removed
#define object_hand_on step_hand_on
#define object_inherit step_inherit
#define object_take_over step_take_over
#define object_release step_release
#define object_let_go step_let_go
#define object_settle step_settle
#define object_drop_all step_drop_all
#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

enum { DEPTH = 3 };

static struct {
	int countdown; /* at which step of this level; 0: never */
	void (*turn)(struct ledger *l);
} interruption[DEPTH + 1];
static int depth;

static struct ledger *shared;

static void step(void)
{
	int d = depth;
	if (d >= DEPTH || interruption[d].countdown == 0 || --interruption[d].countdown > 0)
		return;
	depth++;
	interruption[d].turn(shared);
	depth--;
}

#define __atomic_load_n(p, order) (step(), __atomic_load_n(p, order))
#define __atomic_store_n(p, v, order) (step(), __atomic_store_n(p, v, order))
#define __atomic_fetch_or(p, v, order) (step(), __atomic_fetch_or(p, v, order))
#define __atomic_fetch_and(p, v, order) (step(), __atomic_fetch_and(p, v, order))
#define __atomic_compare_exchange_n(p, e, v, w, s, f) (step(), __atomic_compare_exchange_n(p, e, v, w, s, f))
#define transfer_from_object(l_, s, o) (step(), transfer_from_object(l_, s, o))
#define object_word(l_, o) (step(), object_word(l_, o))
#include "reserve/object.c"

TestSuite(object_steps, .timeout = 60);

enum { A, B, C, CHILD = 5, PARENT = 70, PAGES = 10 }; /* 5 and 70: in different words of holders */

static int found; /* by C, or by PARENT */

static uint32_t object_of(uint32_t maker)
{
	int o = step_claim(shared, maker);
	cr_assert(o >= 0);
	cr_assert(purse_take(&shared->slot[maker].purse, PAGES));
	cr_assert(transfer_to_object(shared, maker, (uint32_t)o, 0, PAGES));
	step_publish(shared, (uint32_t)o, OBJECT_FILE, 9, 0);
	return (uint32_t)o;
}

/* A and B hold object 0. */
static void scene_set(void)
{
	memset(interruption, 0, sizeof interruption);
	depth = 0;
	free(shared);
	shared = ledger_made();
	shared->header.purse.word = PURSE(1000, 0);
	static const uint32_t members[] = { A, B, C, CHILD, PARENT };
	for (size_t i = 0; i < ARRAY_N(members); i++)
		cr_assert(transfer_fund(shared, members[i], members[i], 2 * PAGES));
	cr_assert_eq(object_of(A), 0);
	step_hold(shared, 0, B);
	found = -1;
}

static void interrupt(int level, int countdown, void (*turn)(struct ledger *))
{
	interruption[level].countdown = countdown;
	interruption[level].turn = turn;
}

/* False: level `level` has fewer steps than it was to be interrupted at. Whatever comes next
 * is interrupted no more. */
static bool was_interrupted(int level)
{
	bool was = interruption[level].countdown <= 0;
	interruption[level].countdown = 0;
	return was;
}

static uint32_t pages_of_object(uint32_t o)
{
	return PURSE_USED(purse_read(&shared->object[o].purse));
}

static uint32_t holders_of(uint32_t o)
{
	uint32_t n = 0;
	for (uint32_t w = 0; w < HOLDER_WORDS; w++)
		n += (uint32_t)__builtin_popcountll(shared->object[o].holders[w]);
	return n;
}

static void check_all_free(void)
{
	for (uint32_t o = 0; o < 3; o++) {
		cr_assert_eq(OBJECT_KIND(shared->object[o].state), OBJECT_FREE, "object %u", o);
		cr_assert_eq(pages_of_object(o), 0, "object %u", o);
		cr_assert_eq(holders_of(o), 0, "object %u", o);
	}
}

static void a_releases_and_c_makes_one(struct ledger *l)
{
	step_release(l, A, 0);
	found = (int)object_of(C);
}

/* Both have let go; A is quicker, and the place is somebody else's by then. */
Test(object_steps, two_who_let_go_leave_the_next_object_alone)
{
	int n = 1, made = 0;
	for (bool more = true; more; n++) {
		scene_set();
		step_drop(shared, 0, A);
		interrupt(0, n, a_releases_and_c_makes_one);
		step_let_go(shared, B, B, 0);
		more = was_interrupted(0);
		if (found >= 0) {
			cr_assert_eq(pages_of_object((uint32_t)found), PAGES, "step %d", n);
			step_let_go(shared, C, C, (uint32_t)found);
			made++;
		}
		step_release(shared, A, 0);
		check_all_free();
	}
	cr_assert(made >= 6, "only %d steps", made);
}

static void a_releases(struct ledger *l)
{
	step_release(l, A, 0);
}

static void c_finds(struct ledger *l)
{
	found = step_find_hold(l, C, OBJECT_FILE, 9, 0);
}

/* What C found, if it did, is paid for; it lets it go again. */
static bool c_has_it_paid(int n, int m)
{
	if (found < 0)
		return false;
	cr_assert_eq(pages_of_object((uint32_t)found), PAGES, "steps %d, %d", n, m);
	step_let_go(shared, C, C, (uint32_t)found);
	return true;
}

static void b_lets_go(struct ledger *l)
{
	step_let_go(l, B, B, 0);
}

/* C looks for it, B lets go in the middle of that, A in the middle of that. */
Test(object_steps, who_finds_one_that_two_let_go_has_it_paid_or_not_at_all)
{
	int tried = 0, had = 0;
	for (int n = 1, more_n = 1; more_n; n++)
		for (int m = 1, more_m = 1; more_m; m++) {
			scene_set();
			step_drop(shared, 0, A);
			interrupt(0, n, b_lets_go);
			interrupt(1, m, a_releases);
			c_finds(shared);
			more_n = was_interrupted(0);
			more_m = was_interrupted(1) && more_n;
			had += c_has_it_paid(n, m);
			step_let_go(shared, B, B, 0); /* unless its turn had come */
			step_release(shared, A, 0);
			check_all_free();
			tried++;
		}
	cr_assert(tried >= 40 && had >= 5, "%d tried, found in %d", tried, had);
}

/* The other way round: B lets go, C finds it meanwhile, and A lets go in the middle of that. */
Test(object_steps, who_lets_go_empties_nothing_that_is_found_meanwhile)
{
	int tried = 0, had = 0;
	for (int n = 1, more_n = 1; more_n; n++)
		for (int m = 1, more_m = 1; more_m; m++) {
			scene_set();
			step_drop(shared, 0, A);
			interrupt(0, n, c_finds);
			interrupt(1, m, a_releases);
			step_let_go(shared, B, B, 0);
			more_n = was_interrupted(0);
			more_m = was_interrupted(1) && more_n;
			had += c_has_it_paid(n, m);
			step_release(shared, A, 0);
			check_all_free();
			tried++;
		}
	cr_assert(tried >= 40 && had >= 5, "%d tried, found in %d", tried, had);
}

static int countdown_again;

static void parent_hands_on(struct ledger *l)
{
	step_inherit(l, PARENT, CHILD);
	step_let_go(l, PARENT, PARENT, 0);
}

static void parent_finds(struct ledger *l)
{
	found = step_find_hold(l, PARENT, OBJECT_FILE, 9, 0);
	/* and has another turn at the same level, later */
	interrupt(0, countdown_again, parent_hands_on);
}

/* B looks for holders word by word. PARENT finds the object in the middle of that, and later
 * hands it to a child whose bit is in a word that was looked at already. */
Test(object_steps, one_that_is_handed_on_is_seen_in_one_of_the_two_places)
{
	int handed = 0;
	for (int n = 1, more_n = 1; more_n; n++)
		for (int m = 1, more_m = 1; more_m; m++) {
			scene_set();
			step_let_go(shared, A, A, 0);
			countdown_again = m;
			interrupt(0, n, parent_finds);
			step_let_go(shared, B, B, 0);
			more_n = found >= 0;
			more_m = was_interrupted(0) && more_n;
			if (more_m) {
				cr_assert(step_is_held_by(shared, 0, CHILD));
				cr_assert_eq(pages_of_object(0), PAGES, "steps %d, %d", n, m);
				handed++;
			}
			step_drop_all(shared, CHILD, CHILD);
			step_drop_all(shared, PARENT, PARENT);
			check_all_free();
		}
	cr_assert(handed >= 20, "only %d", handed);
}

static bool taken_over;

static void child_takes_over(struct ledger *l)
{
	taken_over = step_take_over(l, 0, CHILD, 0);
}

/* Its parent had it to itself when it made the copy, and lets it go: the child has it paid, or knows
 * that it has not. */
Test(object_steps, what_a_child_takes_over_is_paid_for_or_not_its)
{
	int had = 0, missed = 0;
	for (int n = 1, more = 1; more; n++) {
		scene_set();
		step_hold(shared, 0, PARENT);
		step_drop(shared, 0, A);
		step_drop(shared, 0, B);
		taken_over = false;
		interrupt(0, n, child_takes_over);
		step_let_go(shared, PARENT, PARENT, 0);
		more = was_interrupted(0);
		if (!more)
			child_takes_over(shared);
		uint32_t pages = pages_of_object(0);
		cr_assert(!taken_over || (pages == PAGES && OBJECT_KIND(shared->object[0].state) == OBJECT_FILE), "step %d", n);
		cr_assert_eq(step_is_held_by(shared, 0, CHILD), taken_over, "step %d", n);
		had += taken_over;
		missed += !taken_over;
		step_drop_all(shared, CHILD, CHILD);
		check_all_free();
	}
	cr_assert(had >= 3 && missed >= 2, "had in %d, missed in %d", had, missed);
}

static void parent_lets_go_and_a_makes_one(struct ledger *l)
{
	step_let_go(l, PARENT, PARENT, 0);
	found = (int)object_of(A);
}

Test(object_steps, a_child_that_is_slow_to_take_over_takes_not_what_is_in_its_place)
{
	for (int n = 1, more = 1; more; n++) {
		scene_set();
		step_hold(shared, 0, PARENT);
		step_drop(shared, 0, A);
		step_drop(shared, 0, B);
		interrupt(0, n, parent_lets_go_and_a_makes_one);
		taken_over = step_take_over(shared, 0, CHILD, 0);
		more = was_interrupted(0);
		bool is_first = OBJECT_GEN(shared->object[0].state) == 0;
		cr_assert_eq(taken_over, is_first, "step %d", n);
		cr_assert_eq(step_is_held_by(shared, 0, CHILD), taken_over, "step %d", n);
		step_drop_all(shared, CHILD, CHILD);
		step_drop_all(shared, PARENT, PARENT);
		step_drop_all(shared, A, A);
		check_all_free();
	}
}

/* It was found, and free before that was known; then the finder was killed. */
Test(object_steps, no_bit_of_the_dead_is_left_in_a_free_one)
{
	scene_set();
	step_let_go(shared, A, A, 0);
	step_let_go(shared, B, B, 0);
	step_hold(shared, 0, C);
	step_drop_all(shared, C, C);
	check_all_free();
	uint32_t o = object_of(A);
	step_let_go(shared, A, A, o);
	check_all_free();
}

/* Killed while it was leaving the object, or emptying it. */
Test(object_steps, what_the_dead_were_leaving_is_settled)
{
	scene_set();
	step_drop(shared, 0, A);
	step_drop(shared, 0, B);
	shared->object[0].state = OBJECT_WORD(0, B + 1, OBJECT_FILE) | OBJECT_LEAVING;
	cr_assert(!step_release(shared, A, 0));
	step_drop_all(shared, B, B);
	check_all_free();
	scene_set();
	step_drop(shared, 0, A);
	step_drop(shared, 0, B);
	shared->object[0].state = OBJECT_WORD(0, B + 1, OBJECT_CLAIMED);
	step_drop_all(shared, A, A);
	cr_assert_eq(pages_of_object(0), PAGES);
	step_drop_all(shared, B, B);
	check_all_free();
}

/* --- who obtains what others obtain, or leave, at the same moment --- */

static int obtained[3]; /* by A, B, C */
static uint32_t spare;  /* an object that makes room below the others when B comes */

static void c_obtains(struct ledger *l)
{
	obtained[C] = step_obtain(l, C, OBJECT_FILE, 9, 0);
}

static void b_obtains(struct ledger *l)
{
	if (spare < LEDGER_OBJECTS)
		step_let_go(l, CHILD, CHILD, spare);
	obtained[B] = step_obtain(l, B, OBJECT_FILE, 9, 0);
}

static void a_obtains(void)
{
	obtained[A] = step_obtain(shared, A, OBJECT_FILE, 9, 0);
}

static void a_lets_go(void)
{
	step_let_go(shared, A, A, 0);
}

/* Nobody holds anything, or CHILD the lowest. */
static void scene_clear(bool with_spare)
{
	scene_set();
	step_drop_all(shared, A, A);
	step_drop_all(shared, B, B);
	spare = with_spare ? (uint32_t)step_obtain(shared, CHILD, OBJECT_FILE, 8, 0) : LEDGER_OBJECTS;
	obtained[A] = obtained[B] = obtained[C] = -1;
}

static uint32_t objects_of_the_file(void)
{
	uint32_t n = 0;
	for (uint32_t o = 0; o < 5; o++)
		n += OBJECT_KIND(shared->object[o].state) == OBJECT_FILE && shared->object[o].key_a == 9;
	return n;
}

static void all_let_go(void)
{
	static const uint32_t members[] = { A, B, C, CHILD };
	for (size_t i = 0; i < ARRAY_N(members); i++)
		step_drop_all(shared, members[i], members[i]);
	check_all_free();
}

/* B comes at any step of what A does, and C at any step of what B does. */
static int obtain_in_turn(void set(void), void a_does(void))
{
	int tried = 0;
	for (int n = 1, more_n = 1; more_n; n++)
		for (int m = 1, more_m = 1; more_m; m++) {
			set();
			interrupt(0, n, b_obtains);
			interrupt(1, m, c_obtains);
			a_does();
			more_n = was_interrupted(0);
			more_m = was_interrupted(1) && more_n;
			int one = obtained[B] >= 0 ? obtained[B] : obtained[A];
			for (int i = A; i <= C; i++) {
				cr_assert(obtained[i] < 0 || obtained[i] == one, "steps %d, %d: two objects", n, m);
				cr_assert(obtained[i] < 0 || step_is_held_by(shared, (uint32_t)one, (uint32_t)i));
			}
			cr_assert_eq(objects_of_the_file(), one >= 0, "steps %d, %d", n, m);
			all_let_go();
			tried++;
		}
	return tried;
}

static void nobody_has_it(void)
{
	scene_clear(false);
}

static void nobody_has_it_and_there_is_room_below(void)
{
	scene_clear(true);
}

static void a_has_it(void)
{
	scene_clear(false);
	cr_assert_eq(step_obtain(shared, A, OBJECT_FILE, 9, 0), 0);
}

Test(object_steps, who_come_at_the_same_moment_obtain_one_object)
{
	int tried = obtain_in_turn(nobody_has_it, a_obtains);
	cr_assert(tried >= 200, "only %d", tried);
	tried = obtain_in_turn(nobody_has_it_and_there_is_room_below, a_obtains);
	cr_assert(tried >= 200, "only %d", tried);
}

Test(object_steps, who_come_while_it_is_left_obtain_one_object)
{
	int tried = obtain_in_turn(a_has_it, a_lets_go);
	cr_assert(tried >= 100, "only %d", tried);
}

/* Killed while it looked for others: nobody waits for it for ever. */
Test(object_steps, an_offer_of_the_dead_is_in_nobodys_way)
{
	scene_clear(false);
	uint32_t o = (uint32_t)step_claim(shared, A);
	shared->object[o].key_a = 9;
	shared->object[o].state |= OBJECT_OFFERED;
	shared->object[o].state ^= OBJECT_CLAIMED ^ OBJECT_FILE;
	cr_assert_eq(step_find_hold(shared, C, OBJECT_FILE, 9, 0), -ENOENT, "it is nobody's yet");
	b_obtains(shared);
	c_obtains(shared);
	cr_assert(obtained[B] > (int)o && obtained[C] == obtained[B]);
	all_let_go();
}
