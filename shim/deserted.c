/* SPDX-License-Identifier: MIT */
/* Arenas that no thread is left in. jemalloc purges one whole when its last thread ends
 * (5.3.0, src/tcache.c:tcache_destroy), because nobody would let its free pages decay; and a
 * program that starts a thread for each request then unmaps and maps the same pages again for
 * each, which under us is dearer than madvise. So a little is left where it is, for the thread
 * that gets the arena next: it stays charged, and a refusal purges it like everything else. */
#include <stdbool.h>
#include <stddef.h>

#include "include/base.h"
#include "shim/arenas.h"
#include "shim/self.h"

/* What all deserted arenas of the process may keep, and which part of what the account may use. */
#define LEFT_PAGES_MOST ((size_t)4096)
#define LEFT_PART_OF_LIMIT 64

/* jemalloc's, 5.3.0: src/arena.c, src/tcache.c, src/jemalloc.c. */
extern void je_arena_basic_stats_merge(void *tsdn, void *arena, unsigned *threads, const char **dss,
				       long *dirty_decay_ms, long *muzzy_decay_ms, size_t *active, size_t *dirty,
				       size_t *muzzy);
extern void __real_je_tcache_cleanup(void *tsd) __attribute__((weak));
extern void __real_je_arena_decay(void *tsd, void *arena, bool is_background, bool all) __attribute__((weak));
void __wrap_je_tcache_cleanup(void *tsd);
void __wrap_je_arena_decay(void *tsd, void *arena, bool is_background, bool all);

static __thread __attribute__((tls_model("initial-exec"))) bool ending;

/* Free pages that are charged still, if nobody else is in the arena. */
static size_t arena_left(void *tsd, void *arena)
{
	unsigned threads = 0;
	const char *dss;
	long dirty_decay_ms, muzzy_decay_ms;
	size_t active = 0, dirty = 0, muzzy = 0;
	je_arena_basic_stats_merge(tsd, arena, &threads, &dss, &dirty_decay_ms, &muzzy_decay_ms, &active, &dirty,
				   &muzzy);
	return threads == 0 ? dirty : 0;
}

static bool is_little(void *tsd)
{
	unsigned n = __atomic_load_n(&je_narenas_auto, __ATOMIC_ACQUIRE);
	size_t pages = 0, most = LEFT_PAGES_MOST;
	if (self.state == SELF_MEMBER)
		most = min_u64(most, self.ledger->header.limit / LEFT_PART_OF_LIMIT);
	/* Acquire, both: pair with jemalloc's release of a new arena, and ours in shim/arenas.c. */
	for (unsigned i = 0; i < n; i++)
		pages += arena_left(tsd, __atomic_load_n(&je_arenas[i], __ATOMIC_ACQUIRE));
	return pages <= most;
}

void __wrap_je_tcache_cleanup(void *tsd)
{
	ending = true;
	arenas_uncached();
	__real_je_tcache_cleanup(tsd);
	ending = false;
}

void __wrap_je_arena_decay(void *tsd, void *arena, bool is_background, bool all)
{
	__real_je_arena_decay(tsd, arena, is_background, all && !(ending && is_little(tsd)));
}
