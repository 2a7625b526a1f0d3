/* SPDX-License-Identifier: MIT */
/* The order before a refusal, for the doors that have nothing to map: charge, purge, charge
 * again, record. */
#include "shim/afford.h"

#include "shim/charge.h"
#include "shim/door.h"
#include "shim/heap.h"
#include "shim/loaded.h"
#include "shim/lock.h"
#include "shim/self.h"
#include "shim/thread.h"

/* One at a time: who comes second finds nothing, and must not hear so before it is back. */
static struct lock sweep_lock;

void afford_child(void)
{
	sweep_lock = (struct lock){ 0 };
}

bool afford_sweep(void)
{
	uint64_t signals = signals_block();
	enum lock_result locked = lock_take(&sweep_lock);
	bool stacks = stacks_sweep(), any = loaded_sweep() || stacks;
	if (any)
		heap_gave();
	if (locked != LOCK_NOT_TAKEN)
		lock_release(&sweep_lock);
	signals_restore(signals);
	return any;
}

bool afford_purge(void)
{
	if (space_is_borrowed())
		return false;
	bool heap = heap_purge();
	return afford_sweep() || heap;
}

bool afford(enum refusal_op op, uint64_t pages, enum category category, uint64_t *ret_paid)
{
	enum refusal_reason reason = charge_take(pages, category);
	if (afford_may_help(reason) && afford_purge())
		reason = charge_take(pages, category);
	bool observed = self.ledger && self.ledger->header.mode == ACCOUNT_OBSERVE;
	if (reason != REASON_NONE && !observed) {
		door_refused(op, bytes_of(pages), reason);
		return false;
	}
	if (charge_was_over() || reason != REASON_NONE)
		door_observed(op, bytes_of(pages));
	*ret_paid = reason == REASON_NONE ? pages : 0;
	return true;
}
