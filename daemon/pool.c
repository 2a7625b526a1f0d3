/* SPDX-License-Identifier: MIT */
/* The whole policy of who gets what, in one place and without a side effect, so that it
 * can be read in a minute and tested by tables (tests/test_pool.c). */
#include "daemon/pool.h"

/* A batch is half of what nobody has been promised, and at least this part of the limit.
 * Generous, because idle grant is taken back when somebody else needs it, and because an
 * account that has its grant goes on while the broker is away. */
#define BATCH_PARTS 16

uint64_t pool_share(const struct pool_account *a)
{
	return max_u64(a->guarantee, a->observe ? a->used : a->granted);
}

uint64_t pool_promised(const struct pool *p)
{
	uint64_t promised = 0;
	for (uint32_t i = 0; i < p->accounts; i++)
		promised += pool_share(&p->account[i]);
	return promised;
}

uint64_t pool_room(const struct pool *p, uint32_t i)
{
	const struct pool_account *a = &p->account[i];
	if (p->limit == PAGES_MAX) /* not used up, whatever an observer maps and never touches */
		return PAGES_MAX;
	uint64_t promised = pool_promised(p), own = a->guarantee > a->granted ? a->guarantee - a->granted : 0;
	/* Others may hold what has only been guaranteed to it since: then that is not there yet. */
	return p->limit > promised - own ? p->limit - (promised - own) : 0;
}

enum refusal_reason pool_extend(const struct pool *p, uint32_t i, uint64_t need, uint32_t *ret_pages,
				uint64_t *ret_short)
{
	const struct pool_account *a = &p->account[i];
	uint64_t room = a->limit > a->granted ? a->limit - a->granted : 0;
	if (need > room)
		return REASON_LIMIT;
	uint64_t free_pages = pool_room(p, i);
	if (need > free_pages) {
		*ret_short = need - free_pages;
		return REASON_POOL;
	}
	uint64_t batch = max_u64(free_pages / 2, min_u64(a->limit, p->limit) / BATCH_PARTS);
	*ret_pages = (uint32_t)min_u64(max_u64(need, batch), min_u64(room, free_pages));
	return REASON_NONE;
}

uint32_t pool_reclaimable(const struct pool_account *a)
{
	uint64_t kept = max_u64(a->guarantee, a->used);
	return !a->observe && a->granted > kept ? (uint32_t)(a->granted - kept) : 0;
}

uint32_t pool_target(const struct pool_account *a)
{
	if (a->observe)
		return PAGES_MAX;
	/* A grant of everything is what observe mode left behind. */
	uint64_t kept = a->granted == PAGES_MAX ? a->used : a->granted;
	return (uint32_t)min_u64(max_u64(kept, a->guarantee), a->limit);
}
