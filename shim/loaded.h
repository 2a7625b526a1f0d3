/* SPDX-License-Identifier: MIT */
/* The data of libraries that were loaded after the start: charged when it is found, and
 * uncharged when it is gone. Not for signal handlers (the loader's list is read under the
 * loader's lock, dl_iterate_phdr(3)). errno stays. */
#pragma once

#include "include/ledger.h"

struct link_map;

/* Charges every writable segment that is there and was not before. `*paid` pages were
 * charged for them beforehand; what is not needed stays in it. REASON_NONE, or why the
 * first of them was refused; `ret_refused` is then its size. Asked again, it tries again. */
enum refusal_reason loaded_settle(uint64_t *paid, uint64_t *ret_refused);

/* The same for the namespace that `module` is in, which is not ours (dlmopen(3)). */
enum refusal_reason loaded_settle_namespace(struct link_map *module, uint64_t *paid, uint64_t *ret_refused);

/* Uncharges what has been unloaded. True if anything came back. Async-signal-safe. */
bool loaded_sweep(void);

/* This thread is about to load a library whose arrival we shall not see: `paid` pages were charged
 * for it. Its next loaded_settle_due finds it, or another's when this one has ended. */
void loaded_owe(uint64_t paid);
void loaded_settle_owed(void);

/* Something is owed; and this thread owes it. */
extern bool loaded_is_owed;
extern __thread __attribute__((tls_model("initial-exec"))) bool loaded_owes;

/* For the doors that charge by what is mapped (fork) or come by often enough (threads). */
static inline void loaded_settle_due(void)
{
	/* Relaxed: only a hint; the exchange in loaded_settle_owed decides. */
	if (unlikely(__atomic_load_n(&loaded_is_owed, __ATOMIC_RELAXED)))
		loaded_settle_owed();
}
