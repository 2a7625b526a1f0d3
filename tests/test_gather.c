/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>

#include "reserve/embryo.h"
#include "reserve/ledger.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

TestSuite(gather, .timeout = 20);

enum { A = 0, B = 1, LIMIT = 10000 };

static struct ledger *l;
static int asked;
static uint32_t ask_grants; /* what the broker adds when asked */
static int ask_answers;

static void (*meanwhile)(void); /* what a sibling does while the broker is asked, once */

static int broker(void *context, uint32_t pages, enum refusal_reason *ret_reason)
{
	(void)context;
	asked++;
	void (*act)(void) = meanwhile;
	meanwhile = NULL;
	if (act)
		act();
	if (ask_answers != 0) {
		*ret_reason = REASON_POOL;
		return ask_answers;
	}
	struct purse_change more = { .granted = ask_grants < pages ? ask_grants : pages };
	purse_transfer(&l->header.purse, more, SIGNATURE(SIGNATURE_BROKER_SLOT, 1), l);
	return 0;
}

static struct gather as(uint32_t slot)
{
	return (struct gather){ .ledger = l, .slot = slot, .generation = SLOT_GEN(slot_read(l, slot)), .ask = broker };
}

static void scene(uint32_t granted)
{
	l = ledger_made();
	l->header.limit = LIMIT;
	l->header.purse.word = PURSE(granted, 0);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), A);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), B);
	asked = 0;
	ask_grants = 0;
	ask_answers = -ENOMEM;
}

static uint64_t granted_sum(void)
{
	uint64_t sum = 0;
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		sum += PURSE_GRANTED(l->slot[s].purse.word);
	return sum;
}

Test(gather, funds_a_batch_beyond_the_need)
{
	scene(LIMIT);
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 10), REASON_NONE);
	cr_assert_eq(l->slot[A].purse.word, PURSE(10 + GATHER_BATCH, 10));
	cr_assert_eq(asked, 0);
}

Test(gather, is_exact_to_the_page_at_the_limit)
{
	scene(LIMIT);
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, LIMIT), REASON_NONE);
	cr_assert_eq(gather_take(&a, 1), REASON_POOL);
	cr_assert_eq(asked, 1);
	purse_give(&l->slot[A].purse, 1);
	cr_assert_eq(gather_take(&a, 1), REASON_NONE);
}

Test(gather, takes_back_what_a_sibling_does_not_use)
{
	scene(1000);
	struct gather a = as(A), b = as(B);
	cr_assert_eq(gather_take(&b, 900), REASON_NONE);
	purse_give(&l->slot[B].purse, 800);
	cr_assert_eq(gather_take(&a, 900), REASON_NONE);
	cr_assert_eq(gather_take(&a, 1), REASON_POOL);
	cr_assert_eq(PURSE_USED(l->slot[B].purse.word), 100);
	cr_assert_eq(PURSE_USED(l->header.purse.word), granted_sum());
}

Test(gather, takes_back_what_strayed_into_an_empty_slot)
{
	scene(1000);
	struct gather a = as(A);
	int buried = slot_claim(l, SLOT_EMBRYO, B);
	slot_free(l, (uint32_t)buried);
	cr_assert(transfer_fund(l, B, (uint32_t)buried, 300)); /* it did not know */
	cr_assert_eq(gather_take(&a, 1000), REASON_NONE);
	cr_assert_eq(l->slot[buried].purse.word, 0);
}

Test(gather, leaves_an_embryo_what_it_has)
{
	scene(1000);
	struct gather a = as(A);
	int embryo = slot_claim(l, SLOT_EMBRYO, B);
	cr_assert(transfer_fund(l, B, (uint32_t)embryo, 300));
	cr_assert_eq(gather_take(&a, 1000), REASON_POOL);
	cr_assert_eq(gather_take(&a, 700), REASON_NONE);
	cr_assert_eq(l->slot[embryo].purse.word, PURSE(300, 0));
}

static void sibling_gives_back(void)
{
	purse_give(&l->slot[B].purse, 300);
}

Test(gather, is_not_refused_what_a_sibling_gives_back_meanwhile)
{
	scene(LIMIT);
	struct gather a = as(A), b = as(B);
	cr_assert_eq(gather_take(&b, LIMIT), REASON_NONE);
	meanwhile = sibling_gives_back;
	cr_assert_eq(gather_take(&a, 300), REASON_NONE);
	cr_assert_eq(gather_take(&a, 1), REASON_POOL);
}

static void sibling_arrives(void)
{
	struct purse_change back = { .used = -300 };
	cr_assert(purse_transfer(&l->header.purse, back, SIGNATURE(B, l->slot[B].step), l));
}

/* Debited, not credited: the account counts 300 pages that nobody has. */
Test(gather, is_not_refused_what_is_in_flight)
{
	scene(LIMIT);
	struct gather a = as(A), b = as(B);
	cr_assert_eq(gather_take(&b, LIMIT), REASON_NONE);
	struct purse_change away = { .granted = -300, .used = -300 };
	cr_assert(purse_transfer(&l->slot[B].purse, away, SIGNATURE(B, ++l->slot[B].step), l));
	meanwhile = sibling_arrives;
	cr_assert_eq(gather_take(&a, 300), REASON_NONE);
	struct embryo e;
	cr_assert_eq(embryo_conceive(&a, 1, &e), REASON_POOL);
}

Test(gather, gives_up_when_what_is_in_flight_does_not_arrive)
{
	scene(LIMIT);
	struct gather a = as(A);
	l->header.purse.word = PURSE(LIMIT, 300); /* of one who died, and no broker */
	ask_answers = -ECONNREFUSED;
	cr_assert_eq(gather_take(&a, LIMIT), REASON_LIMIT);
	cr_assert(asked < 20);
}

Test(gather, asks_the_broker_only_when_the_account_is_short)
{
	scene(100);
	ask_answers = 0;
	ask_grants = 5000;
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 50), REASON_NONE);
	cr_assert_eq(asked, 0);
	cr_assert_eq(gather_take(&a, 3000), REASON_NONE);
	cr_assert_eq(asked, 1);
}

Test(gather, says_who_refused)
{
	scene(100);
	struct gather a = as(A);
	ask_answers = -ENOMEM;
	cr_assert_eq(gather_take(&a, 101), REASON_POOL);
	ask_answers = -ECONNREFUSED;
	cr_assert_eq(gather_take(&a, 101), REASON_BROKER);
	l->header.limit = 100; /* granted to the limit: the broker could not help */
	cr_assert_eq(gather_take(&a, 101), REASON_LIMIT);
	cr_assert_eq(gather_take(&a, 1ull << 40), REASON_LIMIT);
}

Test(gather, a_broker_that_lies_about_extending_is_not_asked_for_ever)
{
	scene(100);
	ask_answers = 0;
	ask_grants = 0;
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 101), REASON_LIMIT);
	cr_assert(asked < 20);
}

Test(gather, a_refusal_changes_nothing)
{
	scene(100);
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 60), REASON_NONE);
	uint64_t account = l->header.purse.word;
	cr_assert_eq(gather_take(&a, 100), REASON_POOL);
	cr_assert_eq(PURSE_USED(l->slot[A].purse.word), 60);
	cr_assert_eq(PURSE_USED(l->header.purse.word), granted_sum());
	cr_assert(PURSE_USED(l->header.purse.word) <= PURSE_USED(account));
}

Test(gather, trims_idle_slack)
{
	scene(LIMIT);
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 5000), REASON_NONE);
	purse_give(&l->slot[A].purse, 5000);
	gather_trim(&a);
	cr_assert_eq(l->slot[A].purse.word, PURSE(GATHER_BATCH, 0));
	cr_assert_eq(PURSE_USED(l->header.purse.word), GATHER_BATCH);
}

Test(gather, an_embryo_is_paid_for_before_it_lives_and_settled_when_it_does)
{
	scene(LIMIT);
	struct gather a = as(A);
	struct embryo e;
	cr_assert_eq(gather_take(&a, 3000), REASON_NONE);
	cr_assert_eq(embryo_conceive(&a, 3000, &e), REASON_NONE);
	cr_assert_eq(ledger_used(l), 6000);
	embryo_born(l, A, e, 4711);
	cr_assert(embryo_adopt(l, e, 2900, 4711));
	cr_assert_eq(SLOT_STATE(slot_read(l, e.slot)), SLOT_LIVE);
	cr_assert_eq(l->slot[e.slot].pid, 4711);
	cr_assert_eq(ledger_used(l), 5900);
	member_reap(l, e.slot);
	cr_assert_eq(ledger_used(l), 3000);
}

Test(gather, a_refused_embryo_leaves_no_trace)
{
	scene(5000);
	struct gather a = as(A);
	struct embryo e;
	cr_assert_eq(gather_take(&a, 3000), REASON_NONE);
	cr_assert_eq(embryo_conceive(&a, 3000, &e), REASON_POOL);
	cr_assert_eq(ledger_used(l), 3000);
	cr_assert_eq(l->slot[A].embryos, 0);
	for (uint32_t s = 2; s < LEDGER_SLOTS; s++)
		cr_assert_eq(SLOT_STATE(slot_read(l, s)), SLOT_FREE);
}

Test(gather, an_embryo_cannot_be_adopted_twice_or_after_its_burial)
{
	scene(LIMIT);
	struct gather a = as(A);
	struct embryo e, f;
	cr_assert_eq(embryo_conceive(&a, 10, &e), REASON_NONE);
	cr_assert(embryo_adopt(l, e, 10, 1));
	cr_assert(!embryo_adopt(l, e, 10, 2));
	cr_assert_eq(embryo_conceive(&a, 10, &f), REASON_NONE);
	embryo_release(l, A, f);
	cr_assert(!embryo_adopt(l, f, 10, 3));
}

Test(gather, an_embryo_is_adopted_for_what_it_holds_at_most)
{
	scene(LIMIT);
	struct gather a = as(A);
	struct embryo e;
	cr_assert_eq(embryo_conceive(&a, 10, &e), REASON_NONE);
	cr_assert(!embryo_adopt(l, e, 11, 1));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(10, 0));
	cr_assert(embryo_adopt(l, e, 10, 1));
	cr_assert_eq(l->slot[e.slot].purse.word, PURSE(10, 10));
}

static void actor_is_buried(void)
{
	member_reap(l, A);
}

/* A child of vfork whose parent was killed while it asked: the death made room, and the slot is free. */
Test(gather, takes_nothing_in_the_name_of_a_slot_that_was_given_up)
{
	scene(1000);
	struct gather a = as(A), b = as(B);
	struct embryo e;
	ask_answers = -EACCES;
	cr_assert_eq(gather_take(&a, 600), REASON_NONE);
	meanwhile = actor_is_buried;
	cr_assert_eq(gather_take(&a, 500), REASON_BROKER);
	cr_assert_eq(l->slot[A].purse.word, 0);
	cr_assert_eq(PURSE_USED(l->header.purse.word), 0);
	cr_assert_eq(gather_take(&a, 1), REASON_BROKER, "nor later");

	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), A);
	a = as(A);
	cr_assert_eq(gather_take(&a, 600), REASON_NONE);
	meanwhile = actor_is_buried;
	cr_assert_eq(embryo_conceive(&a, 500, &e), REASON_BROKER);
	cr_assert_eq(gather_take(&b, 1000), REASON_NONE, "its embryo has nothing");
	cr_assert(embryo_next(l, A, 0) < LEDGER_SLOTS, "and is left to the broker");
}

Test(gather, a_full_ledger_refuses_the_fork)
{
	scene(LIMIT);
	struct gather a = as(A);
	struct embryo e;
	for (uint32_t s = 2; s < LEDGER_SLOTS; s++)
		cr_assert(slot_claim(l, SLOT_LIVE, 0) >= 0);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), -EAGAIN);
	cr_assert_eq(embryo_conceive(&a, 1, &e), REASON_SLOTS);
	slot_free(l, 77);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), 77);
	cr_assert_eq(SLOT_GEN(slot_read(l, 77)), 1);
}

Test(gather, observe_is_over_only_when_used_is)
{
	scene(PAGES_MAX);
	l->header.limit = 1000;
	struct gather a = as(A);
	cr_assert_eq(gather_take(&a, 900), REASON_NONE); /* with its batch above the limit */
	cr_assert(!gather_is_over(l));
	cr_assert_eq(gather_take(&a, 101), REASON_NONE);
	cr_assert(gather_is_over(l));
}

/* --- two who grow one object at the same moment --- */

static uint32_t object;

static uint32_t object_of(uint32_t maker)
{
	int o = object_claim(l, maker);
	cr_assert(o >= 0);
	object_publish(l, (uint32_t)o, OBJECT_FILE, 9, 0);
	return (uint32_t)o;
}

static uint32_t object_pages(void)
{
	return PURSE_USED(purse_read(&l->object[object].purse));
}

static uint64_t sibling_added;

static void sibling_grows_it(void)
{
	struct gather b = as(B);
	object_hold(l, object, B);
	cr_assert_eq(object_grow(&b, object, 20, &sibling_added), REASON_NONE);
}

Test(gather, what_two_add_to_an_object_at_once_is_added_once)
{
	uint64_t added;
	scene(25);
	struct gather a = as(A);
	object = object_of(A);
	cr_assert_eq(object_grow(&a, object, 10, &added), REASON_NONE);
	cr_assert(added == 10 && object_pages() == 10);
	ask_answers = 0;
	ask_grants = LIMIT;
	meanwhile = sibling_grows_it;
	cr_assert_eq(object_grow(&a, object, 40, &added), REASON_NONE);
	cr_assert_eq(sibling_added, 10);
	cr_assert_eq(added, 20, "of the 30 that it found 10 had come meanwhile");
	cr_assert_eq(object_pages(), 40);
	cr_assert_eq(ledger_used(l), 40);
	cr_assert_eq(object_grow(&a, object, 15, &added), REASON_NONE);
	cr_assert(added == 0 && object_pages() == 40);
}

/* Between A's last look and its own, B has added what A was going to. */
static void sibling_adds_at_the_last_moment(void)
{
	struct gather b = as(B);
	cr_assert_eq(gather_take(&b, 30), REASON_NONE);
	cr_assert(transfer_to_object(l, B, object, 0, 30));
}

/* What it had in its hand, and 15 more. */
static void sibling_brings_it_up(void)
{
	struct gather b = as(B);
	cr_assert_eq(gather_take(&b, 15), REASON_NONE);
	cr_assert(transfer_to_object(l, B, object, 0, 25));
}

Test(gather, an_object_is_not_refused_what_another_brings_it)
{
	uint64_t added;
	scene(30);
	struct gather a = as(A);
	object = object_of(A);
	meanwhile = sibling_adds_at_the_last_moment;
	cr_assert_eq(object_grow(&a, object, 31, &added), REASON_POOL);
	cr_assert(added == 0 && object_pages() == 30);
	transfer_shrink_object(l, A, object, PAGES_MAX, 0);
	object_hold(l, object, B);
	cr_assert(transfer_fund(l, B, B, 10));
	cr_assert(purse_take(&l->slot[B].purse, 10)); /* 20 are left */
	meanwhile = sibling_brings_it_up;
	cr_assert_eq(object_grow(&a, object, 25, &added), REASON_NONE);
	cr_assert(added == 0 && object_pages() == 25);
}

static int sibling_has;

static void sibling_maps_the_same_file(void)
{
	struct gather b = as(B);
	sibling_has = object_obtain(l, B, OBJECT_FILE, 9, 0);
	cr_assert(sibling_has >= 0);
	cr_assert_eq(object_grow(&b, (uint32_t)sibling_has, 30, &sibling_added), REASON_NONE);
}

/* All of it while A's first growth asks the broker. */
Test(gather, two_who_map_one_file_first_pay_for_one_object)
{
	uint64_t added;
	scene(35);
	struct gather a = as(A);
	ask_answers = 0;
	ask_grants = LIMIT;
	meanwhile = sibling_maps_the_same_file;
	int has = object_obtain(l, A, OBJECT_FILE, 9, 0);
	cr_assert(has >= 0);
	object = (uint32_t)has;
	cr_assert_eq(object_grow(&a, object, 40, &added), REASON_NONE);
	cr_assert_eq(sibling_has, has);
	cr_assert(object_pages() == 40 && ledger_used(l) == 40, "%u pages, %lu in all", object_pages(),
		  (unsigned long)ledger_used(l));
}
