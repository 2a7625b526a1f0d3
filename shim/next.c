/* SPDX-License-Identifier: MIT */
/* One table, filled at once, so that no door ever looks a name up while it runs: dlsym
 * takes the dynamic loader's lock and may allocate, and neither is allowed in a child of
 * vfork or between a fork's charge and the fork. A name that this libc does not have stays
 * NULL: no program linked with this libc calls it. */
#include "shim/next.h"

#include <dlfcn.h>

struct next next_table;
bool next_is_resolved;

void next_resolve(void)
{
#define NEXT_FIND(name, result, parameters) \
	next_table.name = (result(*) parameters)(uintptr_t)dlsym(RTLD_NEXT, #name);
	NEXT_FUNCTIONS(NEXT_FIND)
#undef NEXT_FIND
	/* Release: whoever sees the flag sees the table. Two threads that resolve at once
	 * write the same values. */
	__atomic_store_n(&next_is_resolved, true, __ATOMIC_RELEASE);
}
