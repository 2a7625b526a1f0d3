/* SPDX-License-Identifier: MIT */
/* A thread's first allocation, when the account is full. jemalloc 5.3.0 then makes the thread
 * a cache, and perhaps an arena to go with it, and does not look whether there was memory for
 * either: the thread dies at address zero (src/tcache.c:tsd_tcache_data_init). So we stand
 * between (the linker's --wrap): a new arena is made here, where it may fail, and jemalloc
 * is only told of it when it is there; and a thread that gets no cache goes without. */
#include "shim/arenas.h"

#include <stdint.h>

#include "include/base.h"
#include "shim/lock.h"

/* jemalloc's, from 5.3.0 on: src/jemalloc.c, src/arena.c, src/tcache.c. */
extern bool je_opt_tcache;
extern const char je_arena_config_default[];
extern void *je_arena_init(void *tsd, unsigned n, const void *config);
extern unsigned je_arena_nthreads_get(void *arena, bool internal);

extern bool __real_je_tsd_tcache_enabled_data_init(void *tsd) __attribute__((weak));
extern void *__real_je_arena_palloc(void *tsd, void *arena, size_t bytes, size_t alignment, bool zero,
				    void *tcache) __attribute__((weak));
extern bool __real_je_tsd_tcache_data_init(void *tsd) __attribute__((weak));
bool __wrap_je_tsd_tcache_enabled_data_init(void *tsd);
bool __wrap_je_tsd_tcache_data_init(void *tsd);
void *__wrap_je_arena_palloc(void *tsd, void *arena, size_t bytes, size_t alignment, bool zero, void *tcache);

/* As many as jemalloc was configured for; 0: not started yet. */
static unsigned arenas_most;
static bool caches_wanted;

static __thread __attribute__((tls_model("initial-exec"))) struct {
	bool starting;
	bool locked;  /* start_lock is ours */
	bool made;    /* its cache */
	bool starved; /* of it */
	void *cached; /* its tsd_t, while it has one */
} here;

void *arenas_cached(void)
{
	return here.cached;
}

void arenas_uncached(void)
{
	here.cached = NULL;
}

void arenas_start(void)
{
	arenas_most = je_narenas_auto;
	caches_wanted = je_opt_tcache;
	__atomic_store_n(&je_narenas_auto, 1, __ATOMIC_RELAXED);
}

/* As jemalloc does it: another arena, while there are fewer than there may be and none of
 * them is idle. */
static void arenas_grow(void *tsd)
{
	unsigned n = __atomic_load_n(&je_narenas_auto, __ATOMIC_ACQUIRE);
	if (n >= arenas_most)
		return;
	for (unsigned i = 0; i < n; i++)
		if (je_arena_nthreads_get(__atomic_load_n(&je_arenas[i], __ATOMIC_ACQUIRE), false) == 0)
			return;
	/* Two threads may do it at once: they get the same one, and raise the number once.
	 * Release: pairs with the acquire above. */
	if (je_arena_init(tsd, n, je_arena_config_default))
		__atomic_compare_exchange_n(&je_narenas_auto, &n, n + 1, false, __ATOMIC_RELEASE,
					    __ATOMIC_RELAXED);
}

/* jemalloc looks twice whether caches are wanted, and must not find them switched off for another
 * in between. */
static struct lock start_lock;

static void start_begin(void)
{
	enum lock_result result = lock_take(&start_lock);
	here.locked = result != LOCK_NOT_TAKEN;
	if (result == LOCK_INHERITED)
		je_opt_tcache = caches_wanted;
}

static void start_end(void)
{
	if (here.locked)
		lock_release(&start_lock);
	here.locked = false;
}

static void start_with_cache(void *tsd)
{
	here.starting = true;
	here.made = here.starved = false;
	start_begin();
	__real_je_tsd_tcache_enabled_data_init(tsd);
	start_end();
	here.starting = false;
}

/* What jemalloc does where caches are switched off altogether. */
static void start_without_cache(void *tsd)
{
	start_begin();
	je_opt_tcache = false;
	__real_je_tsd_tcache_enabled_data_init(tsd);
	je_opt_tcache = true;
	start_end();
}

void arenas_child(void)
{
	start_lock = (struct lock){ 0 };
	if (je_opt_tcache != caches_wanted) /* or its page would be copied */
		je_opt_tcache = caches_wanted;
}

bool __wrap_je_tsd_tcache_enabled_data_init(void *tsd)
{
	arenas_grow(tsd);
	start_with_cache(tsd);
	if (unlikely(here.starved))
		start_without_cache(tsd);
	here.cached = here.made ? tsd : NULL;
	return false;
}

/* For a thread that had its cache switched off, and on again (jemalloc(3), thread.tcache.enabled). */
bool __wrap_je_tsd_tcache_data_init(void *tsd)
{
	bool failed = __real_je_tsd_tcache_data_init(tsd);
	here.cached = failed ? NULL : tsd;
	return failed;
}

/* Of all aligned allocations the only one made while a thread starts is its cache. By then it was
 * looked at twice, and others need not wait until there is memory for it. */
void *__wrap_je_arena_palloc(void *tsd, void *arena, size_t bytes, size_t alignment, bool zero, void *tcache)
{
	if (unlikely(here.starting))
		start_end();
	void *p = __real_je_arena_palloc(tsd, arena, bytes, alignment, zero, tcache);
	if (unlikely(here.starting)) {
		here.made = p != NULL;
		here.starved = !p;
	}
	return p;
}
