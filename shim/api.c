/* SPDX-License-Identifier: MIT */
/* What a program may ask us: include/solvent/solvent.h. */
#include <string.h>

#include "include/solvent/solvent.h"
#include "reserve/ledger.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/self.h"

SHIM_EXPORT int solvent_query(struct solvent_figures *ret, size_t size)
{
	if (self.state != SELF_MEMBER)
		return -1;
	const struct ledger_header *h = &self.ledger->header;
	struct solvent_figures f = {
		.limit_bytes = h->limit == PAGES_MAX ? UINT64_MAX : bytes_of(h->limit),
		.used_bytes = bytes_of(ledger_used(self.ledger)),
		.process_bytes = bytes_of(charge_mine()),
		.refusals = __atomic_load_n(&h->refusal_count, __ATOMIC_RELAXED),
		.observe = h->mode == ACCOUNT_OBSERVE,
	};
	memcpy(ret, &f, size < sizeof f ? size : sizeof f);
	return 0;
}
