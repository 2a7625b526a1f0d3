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
#include <time.h>

#include "shim/arenas.h"
#include "shim/lock.h"
#include "shim/raw.h"

/* jemalloc's, 5.3.0: src/arena.c, src/pac.c, src/tcache.c, src/jemalloc.c. */
extern unsigned je_narenas_total_get(void);
extern void je_arena_decay(void *tsdn, void *arena, bool is_background, bool all);
extern void je_tcache_flush(void *tsd);
extern bool __real_je_pac_maybe_decay_purge(void *tsdn, void *pac, void *decay, void *stats, void *cache,
					    int eagerness) __attribute__((weak));
extern void __real_je_pac_decay_all(void *tsdn, void *pac, void *decay, void *stats, void *cache, bool fully)
	__attribute__((weak));
bool __wrap_je_pac_maybe_decay_purge(void *tsdn, void *pac, void *decay, void *stats, void *cache, int eagerness);
void __wrap_je_pac_decay_all(void *tsdn, void *pac, void *decay, void *stats, void *cache, bool fully);

#define WAIT_NS 50000L
#define WAITS 10000

/* How many purge a part, by arena or so. A jemalloc decay is called with the lock of its arena
 * held, and lets go of it only while it purges. */
#define CELLS 16
static struct cell {
	int32_t running;
	char apart[60];
} cells[CELLS] __attribute__((aligned(64)));

static struct lock whole; /* held by who purges everything, or forks */
static bool forking;

static __thread __attribute__((tls_model("initial-exec"))) struct {
	uint32_t parts; /* that this thread is in; a handler may have interrupted one */
	bool whole;
	bool missed; /* there was an arena that another was purging */
	bool locked; /* for a fork */
} here;

bool purge_is_running(void)
{
	return here.whole || here.parts != 0;
}

/* --- a part --- */

static struct cell *cell_of(const void *decay)
{
	return &cells[((uintptr_t)decay >> 7 ^ (uintptr_t)decay >> 13) % CELLS];
}

/* False: somebody is forking. */
static bool part_begin(struct cell *c)
{
	here.parts++;
	/* Sequentially consistent, both: pairs with the same in purge_before_fork. */
	__atomic_fetch_add(&c->running, 1, __ATOMIC_SEQ_CST);
	return !__atomic_load_n(&forking, __ATOMIC_SEQ_CST);
}

static void part_end(struct cell *c)
{
	/* Release: pairs with the acquire in is_running. */
	__atomic_fetch_sub(&c->running, 1, __ATOMIC_RELEASE);
	here.parts--;
}

static bool is_running(const struct cell *c)
{
	return __atomic_load_n(&c->running, __ATOMIC_ACQUIRE) > 0;
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
		here.missed |= is_running(c);
		__real_je_pac_decay_all(tsdn, pac, decay, stats, cache, fully);
		return;
	}
	if (part_begin(c))
		__real_je_pac_decay_all(tsdn, pac, decay, stats, cache, fully);
	part_end(c);
}

/* Whoever is in one and does not come back (a child of vfork in our memory, killed there) is
 * waited for once. Relaxed: should it come all the same, there is one less than none. */
static void part_give_up(struct cell *c)
{
	__atomic_store_n(&c->running, 0, __ATOMIC_RELAXED);
}

static void nap(void)
{
	raw_call2(SYS_nanosleep, &(struct timespec){ .tv_nsec = WAIT_NS }, NULL);
}

/* --- the whole --- */

static void arenas_decay(void)
{
	unsigned n = je_narenas_total_get();
	for (unsigned i = 0; i < n; i++) {
		/* Acquire: pairs with jemalloc's release of a new arena. */
		void *arena = __atomic_load_n(&je_arenas[i], __ATOMIC_ACQUIRE);
		if (arena)
			je_arena_decay(NULL, arena, false, true);
	}
}

static void arenas_decay_whole(void)
{
	for (int waits = 0; waits < WAITS; waits++) {
		here.missed = false;
		arenas_decay();
		if (!here.missed)
			return;
		nap();
	}
	for (struct cell *c = cells; c < cells + CELLS; c++)
		part_give_up(c);
}

void purge_arenas(bool cached)
{
	void *tsd = cached ? arenas_cached() : NULL;
	here.whole = true;
	if (tsd)
		je_tcache_flush(tsd);
	enum lock_result locked = lock_take(&whole);
	arenas_decay_whole();
	if (locked != LOCK_NOT_TAKEN)
		lock_release(&whole);
	here.whole = false;
}

/* --- fork --- */

void purge_before_fork(void)
{
	/* In a handler that interrupted a purge: the child ends it there, like its parent. */
	here.locked = !purge_is_running() && lock_take(&whole) != LOCK_NOT_TAKEN;
	if (!here.locked)
		return;
	/* Sequentially consistent: pairs with part_begin. */
	__atomic_store_n(&forking, true, __ATOMIC_SEQ_CST);
	/* Seen at rest once is enough: who begins now does nothing. */
	for (struct cell *c = cells; c < cells + CELLS; c++) {
		for (int waits = 0; is_running(c) && waits < WAITS; waits++)
			nap();
		if (is_running(c))
			part_give_up(c);
	}
}

void purge_after_fork(void)
{
	if (!here.locked)
		return;
	here.locked = false;
	__atomic_store_n(&forking, false, __ATOMIC_RELEASE);
	lock_release(&whole);
}

void purge_child(void)
{
	forking = here.locked = false;
	whole = (struct lock){ 0 };
	for (struct cell *c = cells; c < cells + CELLS; c++)
		if (c->running != 0) /* or its page would be copied */
			c->running = 0;
}
