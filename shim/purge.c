/* SPDX-License-Identifier: MIT */
/* jemalloc lets one thread at a time give back what is free in an arena, takes the pages out of
 * its tables first, and tells a second thread that there are none (5.3.0, src/pac.c: `purging`).
 * For that one the answer would be a refusal, with memory on its way back; and a child that is
 * forked in between has an arena in which somebody is purging for ever.
 *
 * So whoever purges everything does it alone, and once more after it met somebody who was purging
 * a part; and who forks waits for both. jemalloc's functions are called directly, since mallctl
 * makes itself tables of 350 KB when it is first used, which in a full account it would not get. */
#include "shim/purge.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "shim/arenas.h"
#include "shim/lock.h"
#include "shim/raw.h"

/* jemalloc's, 5.3.0: src/arena.c, src/pac.c, src/tcache.c, src/jemalloc.c; called
 * by others of its files, so that we can stand in front of them. */
extern unsigned je_narenas_total_get(void);
extern void je_arena_decay(void *tsdn, void *arena, bool is_background, bool all);
extern void je_tcache_flush(void *tsd);
extern bool __real_je_pac_maybe_decay_purge(void *tsdn, void *pac, void *decay, void *stats, void *cache,
					    int eagerness) __attribute__((weak));
extern void __real_je_pac_decay_all(void *tsdn, void *pac, void *decay, void *stats, void *cache, bool fully)
	__attribute__((weak));
extern bool __real_je_pac_decay_ms_set(void *tsdn, void *pac, int state, ssize_t ms, int eagerness)
	__attribute__((weak));
extern void __real_je_arena_destroy(void *tsd, void *arena) __attribute__((weak));
bool __wrap_je_pac_maybe_decay_purge(void *tsdn, void *pac, void *decay, void *stats, void *cache, int eagerness);
void __wrap_je_pac_decay_all(void *tsdn, void *pac, void *decay, void *stats, void *cache, bool fully);
bool __wrap_je_pac_decay_ms_set(void *tsdn, void *pac, int state, ssize_t ms, int eagerness);
void __wrap_je_arena_destroy(void *tsd, void *arena);

#define WAIT_NS 50000L
#define WAITS 10000 /* a second or so, in all */

/* How many purge a part. A decay of jemalloc's is begun with the lock of its arena held, which is
 * let go of only while it purges: whoever has that lock and finds a decay begun, finds it purging.
 * (Or finds that of another arena, whose addresses come to the same cell.) */
#define CELLS_LOG 4
#define CELLS (1 << CELLS_LOG)
static struct cell {
	int32_t running;
	char apart[60];
} cells[CELLS] __attribute__((aligned(64)));

static struct lock whole; /* held by who purges everything, or forks */
static bool forking;
static bool skipped; /* a purge, for that */

static __thread __attribute__((tls_model("initial-exec"))) struct {
	uint32_t parts; /* that this thread is in; a handler may have interrupted one */
	bool whole;	  /* from whole_begin to whole_end; a fork is in between, too */
	bool locked;	  /* the lock is ours */
	struct cell *met; /* an arena that somebody else was purging */
	uint64_t signals; /* those that were blocked before */
} here;

bool purge_is_running(void)
{
	return here.whole || here.parts != 0;
}

/* --- a part --- */

/* Arenas begin at the same offset of huge pages, hence by all bits (Knuth, TAOCP 6.4). */
static struct cell *cell_of(const void *decay)
{
	return &cells[((uint64_t)(uintptr_t)decay >> 7) * 0x9e3779b97f4a7c15u >> (64 - CELLS_LOG)];
}

/* False: somebody is forking. */
static bool part_begin(struct cell *c)
{
	here.parts++;
	/* Sequentially consistent, both: pairs with the same in purge_before_fork. */
	__atomic_fetch_add(&c->running, 1, __ATOMIC_SEQ_CST);
	return !__atomic_load_n(&forking, __ATOMIC_SEQ_CST);
}

/* Not below zero: it may have been given up. */
static void part_end(struct cell *c)
{
	int32_t n = __atomic_load_n(&c->running, __ATOMIC_RELAXED);
	/* Release: pairs with is_running. */
	while (n > 0 && !__atomic_compare_exchange_n(&c->running, &n, n - 1, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
		;
	here.parts--;
}

static bool is_running(const struct cell *c)
{
	/* Sequentially consistent: pairs with part_begin. */
	return __atomic_load_n(&c->running, __ATOMIC_SEQ_CST) > 0;
}

bool __wrap_je_pac_maybe_decay_purge(void *tsdn, void *pac, void *decay, void *stats, void *cache, int eagerness)
{
	struct cell *c = cell_of(decay);
	bool advanced = part_begin(c) && __real_je_pac_maybe_decay_purge(tsdn, pac, decay, stats, cache, eagerness);
	part_end(c);
	return advanced;
}

void __wrap_je_pac_decay_all(void *tsdn, void *pac, void *decay, void *stats, void *cache, bool fully)
{
	struct cell *c = cell_of(decay);
	if (here.whole) {
		here.met = is_running(c) ? c : here.met;
		__real_je_pac_decay_all(tsdn, pac, decay, stats, cache, fully);
		return;
	}
	/* It may be the last that anybody does for that arena (blocks of 8 MiB and more). */
	if (part_begin(c))
		__real_je_pac_decay_all(tsdn, pac, decay, stats, cache, fully);
	else
		__atomic_store_n(&skipped, true, __ATOMIC_RELAXED);
	part_end(c);
}

/* --- the whole --- */

/* With all signals blocked, or a handler that forks would wait for itself (shim/lock.h). */
static void whole_begin(void)
{
	uint64_t signals = signals_block();
	enum lock_result result = lock_take(&whole);
	here.signals = signals;
	here.whole = true;
	here.locked = result != LOCK_NOT_TAKEN;
	if (result == LOCK_INHERITED) /* a child of vfork that was killed: it did not fork with it */
		__atomic_store_n(&forking, false, __ATOMIC_RELAXED);
}

static void whole_end(void)
{
	if (here.locked)
		lock_release(&whole);
	here.whole = here.locked = false;
	signals_restore(here.signals);
}

static void nap(void)
{
	raw_call2(SYS_nanosleep, &(struct timespec){ .tv_nsec = WAIT_NS }, NULL);
}

/* Whoever is in one and does not come back (a child of vfork in our memory, killed there), or not
 * soon enough, is waited for once. */
static void part_give_up(struct cell *c)
{
	__atomic_store_n(&c->running, 0, __ATOMIC_RELAXED);
}

static void arena_decay_whole(void *arena, int *waits)
{
	for (;;) {
		here.met = NULL;
		je_arena_decay(NULL, arena, false, true);
		if (!here.met)
			return;
		if (++*waits >= WAITS) {
			part_give_up(here.met);
			return;
		}
		nap();
	}
}

void purge_arenas(bool cached)
{
	void *tsd = cached ? arenas_cached() : NULL;
	int waits = 0;
	whole_begin();
	if (tsd)
		je_tcache_flush(tsd);
	unsigned n = je_narenas_total_get();
	for (unsigned i = 0; i < n; i++) {
		/* Acquire: pairs with jemalloc's release of a new arena. */
		void *arena = __atomic_load_n(&je_arenas[i], __ATOMIC_ACQUIRE);
		if (arena)
			arena_decay_whole(arena, &waits);
	}
	whole_end();
}

/* Purges by a function of its own file, which is not counted as a part. */
bool __wrap_je_pac_decay_ms_set(void *tsdn, void *pac, int state, ssize_t ms, int eagerness)
{
	whole_begin();
	bool failed = __real_je_pac_decay_ms_set(tsdn, pac, state, ms, eagerness);
	whole_end();
	return failed;
}

/* An arena that a program made (jemalloc(3), arenas.create): nobody must be in it. */
void __wrap_je_arena_destroy(void *tsd, void *arena)
{
	int waits = 0;
	whole_begin();
	arena_decay_whole(arena, &waits);
	__real_je_arena_destroy(tsd, arena);
	whole_end();
}

/* --- fork --- */

void purge_before_fork(void)
{
	/* In a handler that interrupted a part: the child ends it there, like its parent. */
	if (purge_is_running())
		return;
	whole_begin();
	/* Sequentially consistent: pairs with part_begin. */
	__atomic_store_n(&forking, true, __ATOMIC_SEQ_CST);
	/* Seen at rest once is enough: who begins now does nothing. */
	int waits = 0;
	for (struct cell *c = cells; c < cells + CELLS; c++) {
		while (is_running(c) && waits++ < WAITS)
			nap();
		if (is_running(c))
			part_give_up(c);
	}
}

void purge_after_fork(void)
{
	if (here.whole)
		__atomic_store_n(&forking, false, __ATOMIC_RELEASE);
}

void purge_made_up(void)
{
	if (!here.whole)
		return;
	whole_end();
	if (__atomic_exchange_n(&skipped, false, __ATOMIC_RELAXED))
		purge_arenas(false);
}

void purge_child(void)
{
	forking = skipped = false;
	whole = (struct lock){ 0 };
	for (struct cell *c = cells; c < cells + CELLS; c++)
		if (c->running != 0) /* or its page would be copied */
			c->running = 0;
	if (here.whole)
		signals_restore(here.signals);
	here.whole = here.locked = false;
}
