/* SPDX-License-Identifier: MIT */
/* Description: members of one ledger charge, fund, return, conceive and share as fast as
 * they can and are killed with SIGKILL at random moments; this process settles each death
 * like a broker. In the end nothing may be charged, and hardly anybody may have been refused
 * while the account had room for it: a sibling may be killed, or not run, with pages on their way.
 *
 * A plain program, because its children die on purpose. Exit status 0: exact. */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reserve/embryo.h"
#include "reserve/ledger.h"
#include "reserve/reap.h"
#include "reserve/transfer.h"
#include "tests/fork_tied.h"
#include "tests/random.h"

enum { MEMBERS = 4, GRANT = 50000, KILLS = 1500 };

static struct ledger *l;

/* Of all members. Early: refused, and there was room. */
static struct tally {
	uint32_t granted, refused, early;
} *tally;

static struct { pid_t pid; uint32_t slot; } member[MEMBERS];

static uint32_t random_below(uint64_t *seed, uint32_t n)
{
	return (uint32_t)(random_next(seed) >> 11) % n;
}

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "stress_ledger: %s\n", what);
	exit(1);
}

static bool has_room(uint32_t pages)
{
	return ledger_used(l) + pages <= GRANT;
}

static void count(uint32_t *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

/* A way to ask for pages: is there room? */
typedef bool ask_fn(const struct gather *g, uint32_t pages);

/* Early: refused, with room before and after. (After alone would be true of many a refusal that was
 * right: a sibling has given pages back since.) Who is refused early asks again until it is true: in
 * the time that a sibling does not run it would be told so a thousand times. */
static bool is_granted(const struct gather *g, uint32_t pages, ask_fn *ask)
{
	bool had_room, early = false;
	while (had_room = has_room(pages), !ask(g, pages)) {
		if (!has_room(pages)) {
			count(&tally->refused);
			return false;
		}
		if (had_room && !early) {
			count(&tally->early);
			early = true;
		}
		sched_yield();
	}
	count(&tally->granted);
	return true;
}

static bool take(const struct gather *g, uint32_t pages)
{
	return gather_take(g, pages) == REASON_NONE;
}

static bool conceive(const struct gather *g, uint32_t pages)
{
	struct embryo e;
	if (embryo_conceive(g, pages, &e) != REASON_NONE)
		return false;
	embryo_release(l, g->slot, e);
	return true;
}

/* A shared object from claim to release, with a death possible anywhere between. */
static void share(const struct gather *g, uint32_t pages)
{
	int o = object_claim(l, g->slot);
	if (o < 0)
		return;
	if (is_granted(g, pages, take))
		transfer_to_object(l, g->slot, (uint32_t)o, 0, pages);
	object_publish(l, (uint32_t)o, OBJECT_FILE, pages % 3, 0);
	int found = object_find_hold(l, g->slot, OBJECT_FILE, pages % 3, 0);
	if (found >= 0 && found != o)
		object_let_go(l, g->slot, g->slot, (uint32_t)found);
	object_let_go(l, g->slot, g->slot, (uint32_t)o);
}

static _Noreturn void member_live(uint32_t slot, uint64_t seed)
{
	struct gather g = { .ledger = l, .slot = slot, .generation = SLOT_GEN(slot_read(l, slot)) };
	uint32_t held = 0;
	for (;;) {
		uint32_t n = random_below(&seed, 3000);
		switch (random_below(&seed, 6)) {
		case 0:
		case 1:
			if (is_granted(&g, n, take))
				held += n;
			break;
		case 2:
		case 3:
			n = n < held ? n : held;
			purse_give(&l->slot[slot].purse, n);
			held -= n;
			gather_trim(&g);
			break;
		case 4:
			share(&g, n);
			break;
		default:
			is_granted(&g, n, conceive);
		}
	}
}

static void member_start(int i, uint64_t seed)
{
	int slot = slot_claim(l, SLOT_LIVE, 0);
	if (slot < 0)
		fail("the ledger is full");
	member[i].slot = (uint32_t)slot;
	member[i].pid = fork_tied();
	if (member[i].pid == 0)
		member_live((uint32_t)slot, seed | 1);
}

static void member_end(int i)
{
	kill(member[i].pid, SIGKILL);
	waitpid(member[i].pid, NULL, 0);
	uint32_t parent = member[i].slot;
	for (uint32_t e = embryo_next(l, parent, 0); e < LEDGER_SLOTS; e = embryo_next(l, parent, e))
		member_reap(l, e);
	member_reap(l, parent);
}

/* Invariant 1, as far as it can be seen while others move. */
static void purses_check(void)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		uint64_t word = purse_read(&l->slot[s].purse);
		if (PURSE_USED(word) > PURSE_GRANTED(word))
			fail("a purse uses more than it was granted");
	}
	uint64_t word = purse_read(&l->header.purse);
	if (PURSE_USED(word) > PURSE_GRANTED(word) || PURSE_GRANTED(word) != GRANT)
		fail("the account's purse is wrong");
}

static int end_check(void)
{
	int wrong = 0;
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		wrong += SLOT_STATE(slot_read(l, s)) != SLOT_FREE || l->slot[s].purse.word != 0;
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		wrong += OBJECT_KIND(l->object[o].state) != OBJECT_FREE || l->object[o].purse.word != 0;
	uint64_t word = purse_read(&l->header.purse);
	if (word != PURSE(GRANT, 0) || wrong) {
		fprintf(stderr, "stress_ledger: %u pages used, %d slots or objects left\n", PURSE_USED(word), wrong);
		return 1;
	}
	return 0;
}

static int refusals_check(void)
{
	printf("%u requests granted, %u refused, %u of them early at first\n", tally->granted, tally->refused, tally->early);
	if (tally->refused > 0 && tally->early * 50 <= tally->refused)
		return 0;
	fprintf(stderr, "stress_ledger: %u refusals while there was room, and %u others\n", tally->early, tally->refused);
	return 1;
}

static void *shared(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		fail("there is no memory");
	return p;
}

int main(int argc, char **argv)
{
	uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20261123;
	int kills = argc > 2 ? atoi(argv[2]) : KILLS;
	l = shared(sizeof *l);
	tally = shared(sizeof *tally);
	l->header.limit = GRANT;
	l->header.purse.word = PURSE(GRANT, 0);
	for (int i = 0; i < MEMBERS; i++)
		member_start(i, seed * (uint64_t)(i + 1));
	for (int k = 0; k < kills; k++) {
		struct timespec pause = { .tv_nsec = (long)random_below(&seed, 2000000) };
		nanosleep(&pause, NULL);
		int i = (int)random_below(&seed, MEMBERS);
		member_end(i);
		purses_check();
		member_start(i, seed);
	}
	for (int i = 0; i < MEMBERS; i++)
		member_end(i);
	printf("%d members killed\n", kills + MEMBERS);
	return end_check() | refusals_check();
}
