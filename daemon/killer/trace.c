/* SPDX-License-Identifier: MIT */
#include "daemon/killer/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/killer/hash.h"
#include "daemon/log.h"

#define LINE_BYTES 512

void trace_flush(struct trace *t)
{
	for (uint32_t done = 0; t->fd >= 0 && done < t->used;) {
		ssize_t n = write(t->fd, t->buffer + done, t->used - done);
		if (n > 0) {
			done += (uint32_t)n;
			continue;
		}
		if (!t->failed)
			log_warning("the trace cannot be written: %s; it ends here", strerror(errno));
		t->failed = true;
		t->fd = -1;
	}
	t->used = 0;
}

__attribute__((format(printf, 2, 3))) static void put(struct trace *t, const char *format, ...)
{
	va_list arguments;
	if (t->used + LINE_BYTES > TRACE_BYTES)
		trace_flush(t);
	va_start(arguments, format);
	int n = vsnprintf(t->buffer + t->used, LINE_BYTES, format, arguments);
	va_end(arguments);
	t->used += n < LINE_BYTES ? (uint32_t)n : LINE_BYTES - 1;
}

void trace_begin(struct trace *t, int fd)
{
	t->fd = fd;
	t->used = t->n = 0;
	if (fd >= 0)
		put(t, "trace 2\n");
}

/* What a rule matches is in the rows; of that only whether it has changed. */
static uint64_t patterns_hash(const struct rule *r)
{
	const char *const patterns[] = { r->account, r->cgroup, r->exe, r->comm };
	uint64_t h = r->user + 2ull * r->has_user + 4ull * r->has_adj + 8ull * (uint16_t)r->adj;
	for (size_t i = 0; i < ARRAY_N(patterns); i++)
		h = hash(hash(HASH_BEGIN, &h, sizeof h), patterns[i], strlen(patterns[i]));
	return h;
}

void trace_config(struct trace *t, const struct config *c, bool same)
{
	if (t->fd < 0)
		return;
	put(t, "watches %u %d\n", c->watches, same);
	for (uint32_t w = 0; w < c->watches; w++) {
		const struct watch_policy *p = &c->watch[w];
		put(t, "watch %u %u %u %u %u %u %u %u %u %" PRIu64 " %u %" PRIu64 " %s\n", w, p->warn.pages, p->warn.ppm,
		    p->act.pages, p->act.ppm, p->swap_warn.pages, p->swap_warn.ppm, p->swap_act.pages, p->swap_act.ppm,
		    p->exhaustion_ns, p->stall_ppm, p->settle_ns, p->group);
	}
	put(t, "rules %u\n", c->rules);
	for (uint32_t i = 0; i < c->rules; i++) {
		const struct rule *r = &c->rule[i];
		put(t, "rule %u %u %u %u %u %u %u %u %" PRIu64 " %" PRIu64 " %d %" PRIx64 "\n", i, r->managed, r->borrower, r->over, r->action, r->unit,
		    r->signal, r->order, r->grace_ns, r->deadline_ns, r->line, patterns_hash(r));
	}
}

/* --- what has changed --- */

static void stakes_put(struct trace *t, const struct roll *roll)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		const struct stake *s = &roll->stake[i];
		if (memcmp(s, &t->written.stake[i], sizeof *s) == 0)
			continue;
		put(t, "stake %u %u %u %" PRIu64 "\n", i, s->guarantee, s->shared, s->rules);
		t->written.stake[i] = *s;
	}
	if (t->written.unmanaged_rules != roll->unmanaged_rules)
		put(t, "unmanaged %" PRIu64 "\n", roll->unmanaged_rules);
	t->written.unmanaged_rules = roll->unmanaged_rules;
}

/* What the ladder wrote itself is no input. */
static struct candidate given(const struct candidate *c)
{
	struct candidate g = *c;
	g.phase = g.tried = g.victim = g.freezer = 0;
	return g;
}

static void row_put(struct trace *t, uint32_t i, const struct candidate *c)
{
	put(t,
	    "row %u %d %d %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %u %d %u %u %u %u %u %u %u %s\n", i, c->pid,
	    c->parent, c->start_ticks, c->image, c->cgroup, c->rules, c->user, c->adj, c->account, c->watches, c->exempt,
	    c->borrower, c->held, c->shared, c->cpu_s, c->comm);
}

static void rows_put(struct trace *t, const struct roll *roll)
{
	for (uint32_t i = 0; i < roll->n || i < t->n; i++) {
		struct candidate now = i < roll->n ? given(&roll->candidate[i]) : (struct candidate){ .pid = 0 };
		struct candidate before = i < t->n ? t->written.candidate[i] : (struct candidate){ .pid = 0 };
		if (memcmp(&now, &before, sizeof now) == 0)
			continue;
		if (now.pid == 0)
			put(t, "free %u\n", i);
		else
			row_put(t, i, &now);
		t->written.candidate[i] = now;
	}
	t->n = roll->n;
}

void trace_step(struct trace *t, const struct roll *roll, uint32_t w, bool dry, const struct reading *r)
{
	if (t->fd < 0)
		return;
	stakes_put(t, roll);
	rows_put(t, roll);
	put(t, "step %u %d %" PRIu64 " %u %u %u %u %" PRIu64 "\n", w, dry, r->now_ns, r->total, r->available,
	    r->swap_total, r->swap_free, r->stall_us);
}

/* --- what came of it --- */

int trace_deed(char *line, size_t n, const struct deed *d)
{
	if (d->kind == DEED_WARN)
		return snprintf(line, n, "> %s %u %u\n", deed_name[d->kind], d->watch, d->signal);
	return snprintf(line, n, "> %s %u %u %u\n", deed_name[d->kind], d->watch, d->candidate, d->signal);
}

void trace_script(struct trace *t, const struct script *s)
{
	char line[LINE_BYTES];
	if (t->fd < 0)
		return;
	for (uint32_t i = 0; i < s->deeds; i++) {
		trace_deed(line, sizeof line, &s->deed[i]);
		put(t, "%s", line);
	}
	for (uint32_t i = 0; i < s->lines; i++)
		put(t, "> %s\n", s->line[i]);
}
