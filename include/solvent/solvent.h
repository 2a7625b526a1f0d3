/* SPDX-License-Identifier: MIT */
/* The public interface: what a program may ask about its own budget. The functions live in
 * libsolvent.so, which is preloaded, not linked: declare them weak (as here) and test the
 * address, or call solvent_attached() below, which does that.
 *
 *     if (solvent_attached() && solvent_query(&f, sizeof f) == 0)
 *             cache_resize(f.limit_bytes - f.used_bytes);
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct solvent_figures {
	uint64_t limit_bytes;   /* of the account; UINT64_MAX: infinity */
	uint64_t used_bytes;    /* by the account, all its processes and shared objects */
	uint64_t process_bytes; /* private memory charged to this process */
	uint64_t refusals;      /* of the account, since it exists */
	uint32_t observe;       /* 1: nothing is refused, only recorded */
	uint32_t reserved;
};

/* Fills the first `size` bytes of `ret`, which must be sizeof(struct solvent_figures) of
 * the caller's own version. 0, or -1: this process is in no account. Async-signal-safe; a
 * pass over the account's members, about 10 us. */
extern int solvent_query(struct solvent_figures *ret, size_t size) __attribute__((weak));

/* Is this process accounted? */
static inline int solvent_attached(void)
{
	struct solvent_figures figures;
	return solvent_query != 0 && solvent_query(&figures, sizeof figures) == 0;
}

#ifdef __cplusplus
}
#endif
