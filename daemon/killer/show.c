/* SPDX-License-Identifier: MIT */
#include "daemon/killer/show.h"

#include <stdio.h>
#include <string.h>

#include "daemon/broker.h"

/* The order that is being handed out. */
static struct standing order[ROLL];
static struct shown {
	uint64_t round;
	uint32_t watch, n;
	struct reading reading;
} shown;

/* Kernel threads are in nobody's way. */
static uint32_t kernel_drop(uint32_t n)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < n; i++)
		if (order[i].reason != STANDING_KERNEL)
			order[kept++] = order[i];
	return kept;
}

static bool order_make(struct broker *b, uint32_t w)
{
	struct killer *k = &b->killer;
	struct reading *r = &shown.reading;
	if (!k->watched[w].sensor.open || sensor_read(&k->watched[w].sensor, &b->config.watch[w], b->now_ns, r) != 0)
		return false;
	killer_refresh(b);
	shown.watch = w;
	shown.round++;
	shown.n = kernel_drop(rank(&k->roll, w, r->total, order));
	rank_sort(order, shown.n);
	return true;
}

static void row_fill(const struct broker *b, uint32_t i, struct rank_row *row)
{
	const struct standing *s = &order[i];
	const struct candidate *c = &b->killer.roll.candidate[s->candidate];
	*row = (struct rank_row){ .pid = s->pid, .processes = s->count, .uid = c->user,
				  .ranked = s->reason == STANDING_RANKED, .order = s->order, .borrower = s->borrower,
				  .over = s->over, .returns = s->returns, .cpu_s = s->cpu_s,
				  .start_ticks = s->start_ticks };
	memcpy(row->comm, c->comm, sizeof row->comm);
	if (s->rule < RULES) {
		const struct rule *r = &b->config.rule[s->rule];
		row->line = (uint32_t)r->line;
		snprintf(row->action, sizeof row->action, "%s", action_name[r->action]);
		snprintf(row->unit, sizeof row->unit, "%s", unit_name[r->unit]);
	}
	if (c->account)
		memcpy(row->account, b->account[c->account - 1].name, sizeof row->account);
	snprintf(row->why, sizeof row->why, "%s", standing_explain(s, i + 1 < shown.n ? &order[i + 1] : NULL));
}

enum status show_rank(struct broker *b, const struct request_rank *q, struct reply_rank *ret)
{
	ret->watches = b->config.watches;
	if (q->watch >= b->config.watches)
		return STATUS_END;
	const struct watch_policy *p = &b->config.watch[q->watch];
	memcpy(ret->group, p->group, sizeof ret->group);
	if ((q->from == 0 && !order_make(b, q->watch)) ||
	    (q->from > 0 && (q->round != shown.round || q->watch != shown.watch)))
		return STATUS_END;
	const struct reading *r = &shown.reading;
	ret->round = shown.round;
	ret->n = shown.n;
	ret->total = r->total;
	ret->available = r->available;
	ret->warn = threshold_pages(&p->warn, r->total);
	ret->act = threshold_pages(&p->act, r->total);
	ret->dry = b->killer.dry;
	for (uint32_t i = q->from; i < shown.n && ret->rows < RANK_ROWS; i++)
		row_fill(b, i, &ret->row[ret->rows++]);
	return STATUS_OK;
}
