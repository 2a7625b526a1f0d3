/* SPDX-License-Identifier: MIT */
/* Memory is getting short, and the broker has asked for what heaps keep (struct slot, `asked`).
 * jemalloc looks after a thread's cache each time it has allocated or freed some 64 KiB, holding
 * nothing; whoever comes by then gives back what is dirty in all arenas. */
#include "include/base.h"
#include "include/ledger.h"
#include "shim/heap.h"
#include "shim/self.h"

/* jemalloc's own (5.3.0, src/tcache.c). */
extern void __real_je_tcache_gc_event_handler(void *tsd) __attribute__((weak));
extern void __real_je_tcache_gc_dalloc_event_handler(void *tsd) __attribute__((weak));
void __wrap_je_tcache_gc_event_handler(void *tsd);
void __wrap_je_tcache_gc_dalloc_event_handler(void *tsd);

/* Relaxed, both: to give back twice, or some allocations later, is as good. */
static bool is_asked(void)
{
	static uint32_t given;
	if (self.state != SELF_MEMBER)
		return false;
	uint32_t asked = __atomic_load_n(&self.ledger->slot[self.slot].asked, __ATOMIC_RELAXED);
	return unlikely(asked != __atomic_load_n(&given, __ATOMIC_RELAXED)) &&
	       __atomic_exchange_n(&given, asked, __ATOMIC_RELAXED) != asked;
}

void __wrap_je_tcache_gc_event_handler(void *tsd)
{
	__real_je_tcache_gc_event_handler(tsd);
	if (is_asked())
		heap_give();
}

void __wrap_je_tcache_gc_dalloc_event_handler(void *tsd)
{
	__real_je_tcache_gc_dalloc_event_handler(tsd);
	if (is_asked())
		heap_give();
}
