/* SPDX-License-Identifier: MIT */
/* A child that adopts its slot, and a broker that buries it as an orphan at the same time:
 * between any two steps of the child, the slot is reaped and given to somebody else. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void step(void);

/* What the headers have inline is steps, too. */
#define __atomic_load_n(p, order) (step(), __atomic_load_n(p, order))
#define __atomic_store_n(p, v, order) (step(), __atomic_store_n(p, v, order))
#define __atomic_fetch_add(p, v, order) (step(), __atomic_fetch_add(p, v, order))
#define __atomic_compare_exchange_n(p, e, v, w, s, f) (step(), __atomic_compare_exchange_n(p, e, v, w, s, f))
#define embryo_conceive step_conceive
#define embryo_born step_born
#define embryo_adopt step_adopt
#define embryo_release step_release
#define slot_claim step_claim
#define slot_adopt step_slot_adopt
#define slot_seize step_seize
#define slot_free step_free
#define top_raise step_top_raise
#include "reserve/purse.h"
#define purse_swap(...) (step(), purse_swap(__VA_ARGS__))
#include "reserve/embryo.c"
#include "reserve/slot.c"

#include "reserve/reap.h"

TestSuite(embryo_steps, .timeout = 60);

enum { PARENT = 0, PAGES = 10, STRANGER_PAGES = 20, CHILD_PID = 4711, STRANGER_PID = 815 };

static struct ledger *shared;
static int countdown; /* 0: nobody interrupts */
static void (*turn)(void);
static struct embryo child;
static int stranger;
static bool rang;

static void step(void)
{
	if (countdown == 0 || --countdown > 0)
		return;
	turn();
}

static struct gather as(uint32_t slot)
{
	return (struct gather){ .ledger = shared, .slot = slot };
}

static void scene_set(void)
{
	countdown = 0;
	stranger = -1;
	rang = false;
	free(shared);
	shared = calloc(1, sizeof *shared);
	shared->header.limit = 1000;
	shared->header.purse.word = PURSE(1000, 0);
	cr_assert_eq(slot_claim(shared, SLOT_LIVE, 0), PARENT);
	struct gather g = as(PARENT);
	cr_assert_eq(step_conceive(&g, PAGES, &child), REASON_NONE);
}

/* The broker, after the parent's death, overlooks the child; then somebody joins. */
static void burial(void)
{
	if (!slot_seize(shared, child.slot, slot_read(shared, child.slot)))
		return;
	member_reap(shared, child.slot);
	stranger = slot_claim(shared, SLOT_LIVE, 0);
	cr_assert_eq(stranger, (int)child.slot);
	shared->slot[stranger].pid = STRANGER_PID;
	struct gather g = as((uint32_t)stranger);
	cr_assert_eq(gather_take(&g, STRANGER_PAGES), REASON_NONE);
}

Test(embryo_steps, who_comes_too_late_to_adopt_leaves_the_next_one_alone)
{
	int buried = 0, born = 0, n = 1;
	for (bool more = true; more; n++) {
		scene_set();
		countdown = n;
		turn = burial;
		bool adopted = step_adopt(shared, child, PAGES, CHILD_PID);
		more = countdown <= 0;
		countdown = 0;
		const struct slot *slot = &shared->slot[child.slot];
		cr_assert_eq(SLOT_STATE(slot_read(shared, child.slot)), SLOT_LIVE, "step %d", n);
		cr_assert_eq(adopted, stranger < 0, "step %d", n);
		cr_assert_eq(PURSE_USED(slot->purse.word), adopted ? PAGES : STRANGER_PAGES, "step %d", n);
		cr_assert_eq(slot->pid, adopted ? CHILD_PID : STRANGER_PID, "step %d", n);
		born += adopted;
		buried += !adopted;
	}
	cr_assert(buried >= 5 && born >= 2, "%d buried, %d born", buried, born);
}

/* The broker has seen the embryo and waits for the bell; the child is gone by now, and the
 * parent is killed here. */
static void murder(void)
{
	uint64_t bells = shared->header.births;
	rang = bells > 1 || shared->slot[PARENT].embryos > 0;
}

Test(embryo_steps, a_parent_killed_after_the_fork_leaves_a_reason_to_look)
{
	int n = 1;
	for (bool more = true; more; n++) {
		scene_set();
		countdown = n;
		turn = murder;
		step_born(shared, PARENT, child, CHILD_PID);
		more = countdown <= 0;
		cr_assert(!more || rang, "step %d", n);
		countdown = 0;
	}
	cr_assert(n >= 5, "only %d steps", n);
}
