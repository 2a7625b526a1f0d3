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
		.unseen = ONCE(h->unseen),
		.drift = ONCE(h->drift),
		/* Acquire: pairs with the release of who numbered the record. */
		.refusal_head = __atomic_load_n(&h->refusal_head, __ATOMIC_ACQUIRE),
	};
}

static void charge_fill(const struct slot *from, struct member *m)
{
	uint64_t purse = purse_read(&from->purse);
	m->granted = PURSE_GRANTED(purse);
	m->unseen = m->unattached ? PURSE_USED(purse) : ONCE(from->unseen);
	m->drift = ONCE(from->drift);
	m->soft = ONCE(from->soft);
	m->credit = ONCE(from->credit);
	m->used = m->embryo ? m->granted : PURSE_USED(purse) + (m->unattached ? 0 : m->unseen);
}

static void member_fill(const struct slot *from, struct member *m)
{
	charge_fill(from, m);
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
	m->category[CATEGORY_UNSEEN] += m->unseen;
}

/* A slot of the broker's without a process holds what is unseen of all members. */
static bool is_member(const struct slot *slot, enum slot_state state)
{
	return state == SLOT_LIVE || state == SLOT_EMBRYO || (state == SLOT_UNATTACHED && ONCE(slot->pid) > 0);
}

bool member_read(const struct ledger *l, uint32_t s, struct member *ret)
{
	uint64_t state = slot_read(l, s);
	if (!is_member(&l->slot[s], SLOT_STATE(state)))
		return false;
	struct member m = { .slot = s, .generation = SLOT_GEN(state), .embryo = SLOT_STATE(state) == SLOT_EMBRYO,
			    .unattached = SLOT_STATE(state) == SLOT_UNATTACHED };
	member_fill(&l->slot[s], &m);
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

uint64_t objects_share(const struct ledger *l, uint32_t s)
{
	struct object_view v;
	uint64_t share = 0;
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		if (object_is_held_by(l, o, s) && object_read(l, o, &v) && v.holders > 0)
			share += v.pages / v.holders;
	return share;
}
