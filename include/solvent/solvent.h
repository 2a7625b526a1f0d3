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

/* Memory is getting short: of the account, which has come up to its `warn`; of the machine or the
 * control group, which the broker watches; and there so far that somebody is about to be killed.
 * A program that drops its caches now may be refused, or killed, later or never. */
enum { SOLVENT_ALERT_BUDGET = 1, SOLVENT_ALERT_WARN, SOLVENT_ALERT_ACT };
typedef void solvent_alert_fn(int level, void *context);

/* Has `function` called at each alert, by a thread that is started for it and in which all signals
 * are blocked; several at once may come as one, the last. Once a process; a child of fork asks
 * again. 0; or -1 and errno: ENOTCONN, this process is in no account; EINVAL, there is no function;
 * EBUSY, it was asked before; or what pthread_create says. */
extern int solvent_on_alert(solvent_alert_fn *function, void *context) __attribute__((weak));

/* Is this process accounted? */
static inline int solvent_attached(void)
{
	struct solvent_figures figures;
	return solvent_query != 0 && solvent_query(&figures, sizeof figures) == 0;
}

#ifdef __cplusplus
}
#endif
