/* SPDX-License-Identifier: MIT */
/* The one place where this process is charged.
 *
 * Two things happen beside the purse. `mine` counts what this address space is charged,
 * in memory that fork copies with the rest, so a child knows to the page what it
 * inherited whatever other threads did meanwhile. And while a fork is under way every
 * charge pays twice, once for the child, because nobody can say on which side of the
 * copy its mapping will fall; what was paid too much becomes the child's slack.
 *
 * A charge that finds a parent conceiving steps back until that is done, and the parent waits
 * for charges that had begun before: they may be asking the broker. Nobody ever waits for a
 * fork while holding jemalloc's locks, which fork itself takes (pthread_atfork): charges only
 * wait while the parent conceives, which needs none. */
#include "shim/charge.h"

#include <string.h>
#include <time.h>

#include "reserve/ledger.h"
#include "reserve/transfer.h"
#include "shim/baseline.h"
#include "shim/inject.h"
#include "shim/raw.h"
#include "shim/self.h"

/* For how long a charge and a fork wait for each other: both may wait 2 s for the slot lock and
 * 2 s for the broker, and no longer. */
#define FORK_YIELDS 1000u
#define FORK_PAUSE_NS 100000L
#define FORK_LOOKS 51000u

#define FORK_BEGUN (1ull << 32) /* of self.forks */

static __thread __attribute__((tls_model("initial-exec"))) struct {
	uint16_t depth;  /* charges this thread is in the middle of (a handler nests) */
	int8_t entry;    /* 1 + its entry in fork_embryo, 0: none */
	bool covered;
	bool over;
} here;

/* What was returned to the account and had to be fetched again at once, how often in a row. A
 * program that maps and unmaps a gigabyte in turn keeps it as slack after some turns: others who
 * need it take it all the same (reserve/gather.c:sweep, daemon/funds.c). Counted in self.regrets, under
 * the slot lock; relaxed where it is read without: a turn sooner or later. */
#define REGRETS_ENOUGH 8u

/* --- the fork window --- */

/* Between two looks. False when it has been long enough. */
static bool fork_pause(unsigned look)
{
	static const struct timespec pause = { .tv_nsec = FORK_PAUSE_NS };
	if (look < FORK_YIELDS)
		raw_call0(SYS_sched_yield);
	else
		raw_call2(SYS_nanosleep, &pause, 0);
	return look < FORK_LOOKS;
}

/* Does each fork that has begun have its embryo? Sequentially consistent: see charge_fork_begin;
 * and pairs with the release in charge_fork_cover: who sees it covered sees the entry. */
static bool forks_are_covered(void)
{
	uint64_t now = __atomic_load_n(&self.forks, __ATOMIC_SEQ_CST);
	return now >> 32 == (uint32_t)now;
}

static void charge_begin(void)
{
	__atomic_fetch_add(&self.mine, SELF_INFLIGHT_ONE, __ATOMIC_SEQ_CST);
	here.depth++;
}

static void charge_end(uint64_t paid)
{
	here.depth--;
	__atomic_fetch_add(&self.mine, paid - SELF_INFLIGHT_ONE, __ATOMIC_SEQ_CST);
}

/* A parent is conceiving: it does not wait for us, we wait for it. False: for too long. */
static bool charge_step_back(void)
{
	unsigned look = 0;
	charge_end(0);
	while (!forks_are_covered() && fork_pause(look))
		look++;
	charge_begin();
	return look < FORK_LOOKS;
}

/* A handler's charge inside a charge that goes on does not step back: the parent waits for
 * that one, and counts both. */
static void charge_enter(void)
{
	charge_begin();
	while (unlikely(!forks_are_covered()) && here.depth == 1 && charge_step_back())
		;
}

/* The embryo of entry `i`; false: there is none. */
static bool embryo_at(int i, struct embryo *ret)
{
	/* Acquire: pairs with charge_fork_cover. */
	uint64_t entry = __atomic_load_n(&self.fork_embryo[i], __ATOMIC_ACQUIRE);
	*ret = (struct embryo){ .slot = (uint32_t)entry - 1, .generation = (uint32_t)(entry >> 32) };
	return entry != 0;
}

static enum refusal_reason embryo_fund(const struct gather *g, struct embryo e, uint64_t pages)
{
	if (SLOT_GEN(slot_read(g->ledger, e.slot)) != e.generation)
		return REASON_NONE;
	enum refusal_reason reason = gather_fund(g, e.slot, pages); /* model: paid_more */
	/* The child may have died and been reaped since; nobody would find these pages in
	 * an empty slot. (transfer_return leaves an embryo alone.) */
	if (SLOT_STATE(slot_read(g->ledger, e.slot)) == SLOT_FREE)
		transfer_return(g->ledger, g->slot, e.slot, PAGES_MAX);
	return reason;
}

static enum refusal_reason embryos_fund(uint64_t pages)
{
	struct self_lock lock;
	if (!self_lock(&lock))
		return REASON_BROKER;
	struct gather g = self_gather();
	struct embryo e;
	enum refusal_reason reason = REASON_NONE;
	for (int i = 0; i < FORKS && reason == REASON_NONE; i++)
		if (embryo_at(i, &e))
			reason = embryo_fund(&g, e, pages);
	self_unlock(&lock);
	return reason;
}

void charge_window_enter(void)
{
	charge_enter();
}

void charge_window_leave(void)
{
	charge_end(0);
}

void charge_embryos_hold(uint32_t object)
{
	if (likely(__atomic_load_n(&self.forks, __ATOMIC_SEQ_CST) == 0))
		return;
	struct embryo e;
	for (int i = 0; i < FORKS; i++)
		if (embryo_at(i, &e))
			embryo_hold(self.ledger, self.slot, e, object);
}

uint64_t charge_fork_begin(void)
{
	/* Sequentially consistent on both sides: a charge raises `mine`'s inflight and then
	 * looks at `forks`, we raise `forks` and then look at inflight; one sees the other. */
	__atomic_fetch_add(&self.forks, FORK_BEGUN, __ATOMIC_SEQ_CST);
	uint64_t now = __atomic_load_n(&self.mine, __ATOMIC_SEQ_CST);
	uint32_t expected = here.depth + __atomic_load_n(&self.abandoned, __ATOMIC_RELAXED);
	for (unsigned look = 0; SELF_MINE_INFLIGHT(now) > expected; look++) {
		if (!fork_pause(look)) {
			__atomic_store_n(&self.abandoned, SELF_MINE_INFLIGHT(now) - here.depth, __ATOMIC_RELAXED);
			break;
		}
		now = __atomic_load_n(&self.mine, __ATOMIC_SEQ_CST);
	}
	return SELF_MINE_PAGES(now);
}

void charge_fork_cover(const struct embryo *e)
{
	uint64_t entry = (uint64_t)e->generation << 32 | (e->slot + 1);
	for (int i = 0; i < FORKS && here.entry == 0; i++) {
		uint64_t empty = 0;
		if (__atomic_compare_exchange_n(&self.fork_embryo[i], &empty, entry, false, __ATOMIC_ACQ_REL,
						__ATOMIC_RELAXED))
			here.entry = (int8_t)(i + 1);
	}
	/* Release: pairs with forks_are_covered. */
	__atomic_fetch_add(&self.forks, 1, __ATOMIC_RELEASE);
	here.covered = true;
}

void charge_fork_end(void)
{
	if (here.entry)
		__atomic_store_n(&self.fork_embryo[here.entry - 1], 0, __ATOMIC_RELEASE);
	__atomic_fetch_sub(&self.forks, FORK_BEGUN + here.covered, __ATOMIC_RELEASE);
	here.entry = 0;
	here.covered = false;
}

void charge_child_reset(uint64_t pages)
{
	self.mine = pages | here.depth * SELF_INFLIGHT_ONE;
	memset(self.fork_embryo, 0, sizeof self.fork_embryo);
	self.forks = 0;
	self.abandoned = 0;
	self.trimmed = false;
	self.regrets = 0;
	here.entry = 0;
	here.covered = false;
}

/* --- charging --- */

static void trim(void)
{
	struct self_lock lock;
	if (__atomic_load_n(&self.regrets, __ATOMIC_RELAXED) >= REGRETS_ENOUGH || !self_lock(&lock))
		return;
	struct gather g = self_gather();
	gather_trim(&g);
	self.trimmed = true;
	self_unlock(&lock);
}

static enum refusal_reason take_slow(uint64_t pages)
{
	struct self_lock lock;
	if (!self_lock(&lock))
		return REASON_BROKER;
	struct gather g = self_gather();
	enum refusal_reason reason = gather_take(&g, pages);
	__atomic_store_n(&self.regrets, self.trimmed ? self.regrets + 1 : 0, __ATOMIC_RELAXED);
	self.trimmed = false;
	self_unlock(&lock);
	return reason;
}

static enum refusal_reason take_counted(uint64_t pages)
{
	struct slot *me = &self.ledger->slot[self.slot];
	if (inject_refuses())
		return REASON_LIMIT;
	if (likely(pages <= PAGES_MAX && purse_take(&me->purse, (uint32_t)pages)))
		return REASON_NONE;
	return take_slow(pages);
}

/* Until there is a slot to keep them in. */
static uint32_t early_category[CATEGORY_N];

static void category_add(enum category category, uint64_t pages)
{
	uint32_t *figures = self.state == SELF_MEMBER ? self.ledger->slot[self.slot].category : early_category;
	/* Relaxed: figures for people, nobody decides by them. */
	__atomic_fetch_add(&figures[category], (uint32_t)pages, __ATOMIC_RELAXED);
}

void charge_categories_start(void)
{
	for (int c = 0; c < CATEGORY_N; c++)
		category_add(c, early_category[c]);
}

static enum refusal_reason take_in_window(uint64_t pages)
{
	enum refusal_reason reason = REASON_NONE;
	if (unlikely(__atomic_load_n(&self.forks, __ATOMIC_SEQ_CST) != 0))
		reason = embryos_fund(pages);
	if (reason == REASON_NONE)
		reason = take_counted(pages);
	if (reason == REASON_NONE && unlikely(self.ledger->header.mode == ACCOUNT_OBSERVE))
		here.over = gather_is_over(self.ledger);
	return reason;
}

enum refusal_reason charge_take(uint64_t pages, enum category category)
{
	if (self.state == SELF_OPEN || pages == 0)
		return REASON_NONE;
	if (unlikely(self_is_copy()))
		self_become_child(NULL);
	if (unlikely(self_is_buried()))
		return REASON_NONE;
	if (unlikely(stack_has_grown()))
		stack_pay();
	charge_enter();
	enum refusal_reason reason = self.state == SELF_MEMBER ? take_in_window(pages) : REASON_NONE;
	uint64_t paid = reason == REASON_NONE ? pages : 0;
	charge_end(paid);
	category_add(category, paid);
	return reason;
}

/* Copied by fork, like the pages it counts. */
static uint64_t soft;

static void soft_add(uint64_t pages)
{
	if (unlikely(self_is_copy()))
		self_become_child(NULL);
	/* Relaxed, all: before a charge is given back, which is a release in the purse. */
	__atomic_fetch_add(&soft, pages, __ATOMIC_RELAXED);
	if (self.state == SELF_MEMBER && !self_is_buried())
		__atomic_fetch_add(&self.ledger->slot[self.slot].soft, (uint32_t)pages, __ATOMIC_RELAXED);
}

void charge_soften(uint64_t pages)
{
	if (pages != 0)
		soft_add(pages);
}

void charge_harden(uint64_t pages)
{
	if (pages != 0)
		soft_add(-pages);
}

void charge_soft_show(uint32_t slot)
{
	uint64_t pages = __atomic_load_n(&soft, __ATOMIC_RELAXED);
	__atomic_store_n(&self.ledger->slot[slot].soft, (uint32_t)pages, __ATOMIC_RELAXED);
}

void charge_give(uint64_t pages, enum category category)
{
	if (self.state == SELF_OPEN || pages == 0)
		return;
	if (unlikely(self_is_copy()))
		self_become_child(NULL);
	__atomic_fetch_sub(&self.mine, pages, __ATOMIC_SEQ_CST);
	if (unlikely(self_is_buried()))
		return;
	category_add(category, -pages);
	if (self.state != SELF_MEMBER)
		return;
	struct slot *me = &self.ledger->slot[self.slot];
	uint32_t used = PURSE_USED(purse_read(&me->purse));
	if (used > me->peak)
		me->peak = used;
	purse_give(&me->purse, (uint32_t)pages);
	if (unlikely(purse_headroom(purse_read(&me->purse)) > GATHER_IDLE))
		trim();
}

void charge_note(uint64_t pages, enum category category)
{
	__atomic_fetch_add(&self.mine, pages, __ATOMIC_SEQ_CST);
	category_add(category, pages);
}

void charge_recategorise(uint64_t pages, enum category from, enum category to)
{
	category_add(from, -pages);
	category_add(to, pages);
}

uint64_t charge_mine(void)
{
	return SELF_MINE_PAGES(__atomic_load_n(&self.mine, __ATOMIC_RELAXED));
}

bool charge_was_over(void)
{
	bool over = here.over;
	here.over = false;
	return over;
}
