/* SPDX-License-Identifier: MIT */
#include "reserve/reap.h"

#include "reserve/crash.h"
#include "reserve/ledger.h"
#include "reserve/transfer.h"

uint32_t member_reap(struct ledger *l, uint32_t s)
{
	transfer_settle(l, s);
	CRASH_POINT(REAP_SETTLED);
	object_settle(l, s);
	CRASH_POINT(REAP_LET_GO);
	object_drop_all(l, s, s);
	CRASH_POINT(REAP_DROPPED);
	uint32_t pages = transfer_reap(l, s, s);
	CRASH_POINT(REAP_EMPTIED);
	slot_free(l, s);
	CRASH_POINT(REAP_FREED);
	return pages;
}

uint32_t embryo_next(const struct ledger *l, uint32_t parent, uint32_t from)
{
	for (uint32_t s = from; s < ledger_slots(l); s++) {
		uint64_t word = slot_read(l, s);
		if (SLOT_STATE(word) == SLOT_EMBRYO && SLOT_OWNER(word) == parent)
			return s;
	}
	return LEDGER_SLOTS;
}
