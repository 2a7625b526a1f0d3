/* SPDX-License-Identifier: MIT */
/* Reading a ledger that others write. Each word is loaded once; a member counts only if
 * its slot was in the same hands before and after. */
#include <string.h>

#include "cli/account.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"

/* Relaxed: figures for people, each for itself; nothing is derived from their order. */
#define ONCE(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)

void account_read(const struct ledger *l, struct account_figures *ret)
{
	const struct ledger_header *h = &l->header;
	*ret = (struct account_figures){
		.limit = ONCE(h->limit),
		.guarantee = ONCE(h->guarantee),
		.warn = ONCE(h->warn),
		.mode = ONCE(h->mode),
		.fork_percent = ONCE(h->fork_percent),
		.granted = PURSE_GRANTED(purse_read(&h->purse)),
		.used = ledger_used(l),
		.peak = ONCE(h->peak),
		.refusals = ONCE(h->refusal_count),
		.observed = ONCE(h->observed_count),
		.joins = ONCE(h->joins),
		.forks = ONCE(h->forks),
		/* Acquire: pairs with the release of who numbered the record. */
		.refusal_head = __atomic_load_n(&h->refusal_head, __ATOMIC_ACQUIRE),
	};
}

static void member_fill(const struct slot *from, bool embryo, struct member *m)
{
	uint64_t purse = purse_read(&from->purse);
	m->embryo = embryo;
	m->granted = PURSE_GRANTED(purse);
	m->used = embryo ? m->granted : PURSE_USED(purse);
	m->pid = ONCE(from->pid);
	m->pid = m->pid > 0 ? m->pid : 0;
	m->uid = ONCE(from->uid);
	m->flags = ONCE(from->flags);
	m->peak = ONCE(from->peak);
	m->refusals = ONCE(from->refusals);
	m->start_ticks = ONCE(from->start_ticks);
	m->joined_ns = ONCE(from->joined_ns);
	memcpy(m->comm, from->comm, sizeof m->comm);
	for (size_t i = 0; i < CATEGORY_N; i++)
		m->category[i] = ONCE(from->category[i]);
}

bool member_read(const struct ledger *l, uint32_t s, struct member *ret)
{
	uint64_t state = slot_read(l, s);
	if (SLOT_STATE(state) != SLOT_LIVE && SLOT_STATE(state) != SLOT_EMBRYO)
		return false;
	struct member m = { .slot = s, .generation = SLOT_GEN(state) };
	member_fill(&l->slot[s], SLOT_STATE(state) == SLOT_EMBRYO, &m);
	/* The loads above stay above the second look: pairs with the release that frees or
	 * adopts the slot. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (slot_read(l, s) != state)
		return false;
	*ret = m;
	return true;
}

bool object_read(const struct ledger *l, uint32_t o, struct object_view *ret)
{
	const struct object *object = &l->object[o];
	uint32_t pages = PURSE_USED(purse_read(&object->purse)), holders = 0;
	if (pages == 0)
		return false;
	for (size_t i = 0; i < HOLDER_WORDS; i++)
		holders += (uint32_t)__builtin_popcountll(ONCE(object->holders[i]));
	*ret = (struct object_view){ OBJECT_KIND(ONCE(object->state)), pages, holders };
	return true;
}
