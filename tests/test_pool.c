/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>

#include "daemon/pool.h"

TestSuite(pool, .timeout = 20);

struct row {
	const char *name;
	uint32_t pool;
	struct pool_account account[3]; /* limit, guarantee, granted, used, observe */
	uint64_t need;
	enum refusal_reason reason;
	uint32_t pages; /* granted, with REASON_NONE */
	uint64_t missing; /* with REASON_POOL */
};

/* Who asks is always the first account. */
static const struct row rows[] = {
	{ "all it may have, where the pool has twice that", 10000, { { 1600, 0, 0, 0, false } }, 1, REASON_NONE, 1600, 0 },
	{ "half of what is free", 1000, { { 1600, 0, 0, 0, false } }, 1, REASON_NONE, 500, 0 },
	{ "more than half when more is needed", 1000, { { 1600, 0, 0, 0, false } }, 700, REASON_NONE, 700, 0 },
	{ "a sixteenth of the limit when little is free", 1600, { { 1600, 0, 1450, 0, false } }, 1, REASON_NONE, 100, 0 },
	{ "to the limit and not beyond", 10000, { { 1600, 0, 1550, 0, false } }, 1, REASON_NONE, 50, 0 },
	{ "exactly what is left of the limit", 10000, { { 1600, 0, 1550, 0, false } }, 50, REASON_NONE, 50, 0 },
	{ "one page over the limit", 10000, { { 1600, 0, 1550, 0, false } }, 51, REASON_LIMIT, 0, 0 },
	{ "over a limit lowered below the grant", 10000, { { 1000, 0, 1550, 0, false } }, 1, REASON_LIMIT, 0, 0 },
	{ "exactly what the pool has left", 1000, { { 1600, 0, 950, 0, false } }, 50, REASON_NONE, 50, 0 },
	{ "one page over the pool", 1000, { { 1600, 0, 950, 0, false } }, 51, REASON_POOL, 0, 1 },
	{ "another's unused guarantee is not there", 1000,
	  { { 1600, 0, 500, 0, false }, { 600, 500, 0, 0, false } }, 1, REASON_POOL, 0, 1 },
	{ "its own unused guarantee is", 1000,
	  { { 1600, 500, 100, 0, false }, { 600, 500, 500, 0, false } }, 400, REASON_NONE, 400, 0 },
	{ "and no more than that", 1000,
	  { { 1600, 500, 100, 0, false }, { 600, 500, 500, 0, false } }, 401, REASON_POOL, 0, 1 },
	{ "nor is its own where others already hold it", 1000,
	  { { 1600, 500, 0, 0, false }, { 900, 0, 700, 700, false } }, 301, REASON_POOL, 0, 1 },
	{ "but for what they left of it", 1000,
	  { { 1600, 500, 0, 0, false }, { 900, 0, 700, 700, false } }, 300, REASON_NONE, 300, 0 },
	{ "another's grant above its guarantee counts", 1000,
	  { { 1600, 0, 0, 0, false }, { 900, 100, 700, 10, false } }, 301, REASON_POOL, 0, 1 },
	{ "one that observes counts with what it uses", 1000,
	  { { 1600, 0, 0, 0, false }, { 900, 100, PAGES_MAX, 600, true } }, 401, REASON_POOL, 0, 1 },
	{ "an observer that uses little, with its guarantee", 1000,
	  { { 1600, 0, 0, 0, false }, { 900, 100, PAGES_MAX, 5, true } }, 901, REASON_POOL, 0, 1 },
	{ "a pool promised beyond its end", 1000,
	  { { 1600, 0, 600, 0, false }, { 900, 0, 900, 900, false } }, 1, REASON_POOL, 0, 1 },
	{ "without a limit the pool bounds it", 1600, { { PAGES_MAX, 0, 1500, 0, false } }, 1, REASON_NONE, 100, 0 },
	{ "without a limit, one page over the pool", 1600, { { PAGES_MAX, 0, 1500, 0, false } }, 101, REASON_POOL, 0, 1 },
	{ "without any bound a purse still ends", PAGES_MAX, { { PAGES_MAX, 0, PAGES_MAX - 5, 0, false } }, 6,
	  REASON_LIMIT, 0, 0 },
	{ "a pool without end is not used up by one that observes", PAGES_MAX,
	  { { 1600, 0, 0, 0, false }, { PAGES_MAX, 0, PAGES_MAX, PAGES_MAX, true } }, 1600, REASON_NONE, 1600, 0 },
	{ "all of it at once", PAGES_MAX, { { PAGES_MAX, 0, 0, 0, false } }, PAGES_MAX, REASON_NONE, PAGES_MAX, 0 },
};

Test(pool, extends_within_limit_and_pool)
{
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		const struct row *r = &rows[i];
		struct pool p = { .limit = r->pool, .accounts = 3, .account = r->account };
		uint32_t pages = 77;
		uint64_t missing = 77;
		enum refusal_reason reason = pool_extend(&p, 0, r->need, &pages, &missing);
		cr_assert(reason == r->reason, "%s: reason %d", r->name, reason);
		cr_assert(pages == (reason == REASON_NONE ? r->pages : 77), "%s: %u pages", r->name, pages);
		cr_assert(missing == (reason == REASON_POOL ? r->missing : 77), "%s: %lu missing", r->name, missing);
	}
}

Test(pool, is_never_promised_twice)
{
	/* Whatever three accounts ask for in whatever order, guarantees stay covered. */
	struct pool_account a[3] = { { 700, 200, 200, 0, false }, { 900, 300, 300, 0, false },
				     { PAGES_MAX, 0, 0, 0, false } };
	struct pool p = { .limit = 1000, .accounts = 3, .account = a };
	uint32_t seed = 1;
	for (int step = 0; step < 100000; step++) {
		seed = seed * 1664525u + 1013904223u;
		uint32_t i = (seed >> 8) % 3, pages;
		uint64_t missing;
		if (pool_extend(&p, i, (seed >> 16) % 50, &pages, &missing) == REASON_NONE)
			a[i].granted += pages;
		else if (pool_reclaimable(&a[i]) > 0)
			a[i].granted -= (seed >> 12) % (pool_reclaimable(&a[i]) + 1);
		cr_assert(pool_promised(&p) <= p.limit, "step %d: %lu promised", step, pool_promised(&p));
		cr_assert(a[i].granted <= a[i].limit, "step %d", step);
		for (int j = 0; j < 3; j++)
			cr_assert(pool_room(&p, (uint32_t)j) + a[j].granted >= a[j].guarantee, "step %d", step);
	}
}

Test(pool, takes_back_only_what_is_idle_and_not_guaranteed)
{
	static const struct {
		struct pool_account account;
		uint32_t reclaimable;
	} table[] = {
		{ { 900, 0, 500, 100, false }, 400 },   { { 900, 300, 500, 100, false }, 200 },
		{ { 900, 300, 500, 400, false }, 100 }, { { 900, 300, 300, 0, false }, 0 },
		{ { 900, 300, 200, 0, false }, 0 },     { { 900, 0, PAGES_MAX, 100, true }, 0 },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(pool_reclaimable(&table[i].account) == table[i].reclaimable, "row %zu", i);
}

Test(pool, knows_where_a_grant_should_rest)
{
	static const struct {
		const char *name;
		struct pool_account account;
		uint32_t target;
	} table[] = {
		{ "as it is", { 900, 100, 500, 0, false }, 500 },
		{ "a raised guarantee", { 900, 600, 500, 0, false }, 600 },
		{ "a lowered limit", { 400, 100, 500, 450, false }, 400 },
		{ "everything to an observer", { 400, 100, 100, 50, true }, PAGES_MAX },
		{ "what it uses, from an observer", { 900, 100, PAGES_MAX, 350, false }, 350 },
		{ "its guarantee, from an observer", { 900, 100, PAGES_MAX, 50, false }, 100 },
		{ "without a limit, from an observer", { PAGES_MAX, 100, PAGES_MAX, 350, false }, 350 },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(pool_target(&table[i].account) == table[i].target, "%s: %u", table[i].name,
			  pool_target(&table[i].account));
}
