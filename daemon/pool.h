/* SPDX-License-Identifier: MIT */
/* The pool: what the broker may promise in all, and how much of it an account may still
 * have. Pure arithmetic over a table; nothing here touches a ledger. All in pages.
 *
 * An account counts for max(guarantee, granted): a guarantee is set aside whole, whether
 * it is used or not. In observe mode, where everything is granted, for max(guarantee,
 * used). So nobody can be promised a page that another was guaranteed. */
#pragma once

#include "include/ledger.h"

struct pool_account {
	uint32_t limit; /* PAGES_MAX: infinity; the pool bounds it */
	uint32_t guarantee;
	uint32_t granted;
	uint32_t used;
	bool observe;
};

struct pool {
	uint32_t limit; /* PAGES_MAX: infinity */
	uint32_t accounts;
	const struct pool_account *account;
};

/* What one account counts for. */
uint64_t pool_share(const struct pool_account *a);

/* What all of them count for. */
uint64_t pool_promised(const struct pool *p);

/* How much the grant of account `i` could grow without touching another's: its own unused
 * guarantee, and what nobody has been promised. */
uint64_t pool_room(const struct pool *p, uint32_t i);

/* How much more account `i` is to be granted when `need` pages are missing: a batch, so
 * that it need not come back soon, or exactly `need` where no more is to be had.
 * REASON_NONE and `ret_pages`; REASON_LIMIT when its limit forbids it; REASON_POOL when
 * `ret_short` pages are missing in the pool. */
enum refusal_reason pool_extend(const struct pool *p, uint32_t i, uint64_t need, uint32_t *ret_pages,
				uint64_t *ret_short);

/* How much of its grant account `i` could be asked to give back for another: what it does
 * not use, above its guarantee. */
uint32_t pool_reclaimable(const struct pool_account *a);

/* The grant an account should have at rest, were it free to choose: at least its
 * guarantee, at most its limit (everything in observe mode). A reload moves it there as
 * far as used and the pool allow. */
uint32_t pool_target(const struct pool_account *a);
