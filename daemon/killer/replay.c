/* SPDX-License-Identifier: MIT */
#include "daemon/killer/replay.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/killer/trace.h"
#include "daemon/log.h"

#define LINE_BYTES 1024

static struct stage {
	struct config config;
	struct roll roll;
	struct ladder ladder[WATCHES];
	struct script script;
	uint32_t deeds, lines; /* of the script, that were met in the trace */
	unsigned long number;
	bool differs;
} stage;

/* --- the lines of a trace --- */

static bool watch_take(const char *line)
{
	uint32_t w;
	int at = 0;
	struct watch_policy p = { .line = 0 };
	if (sscanf(line, "watch %u %u %u %u %u %u %u %u %u %" SCNu64 " %u %" SCNu64 " %n", &w, &p.warn.pages, &p.warn.ppm,
		   &p.act.pages, &p.act.ppm, &p.swap_warn.pages, &p.swap_warn.ppm, &p.swap_act.pages, &p.swap_act.ppm,
		   &p.exhaustion_ns, &p.stall_ppm, &p.settle_ns, &at) < 12 || w >= WATCHES)
		return false;
	snprintf(p.group, sizeof p.group, "%s", line + at);
	stage.config.watch[w] = p;
	return true;
}

/* As killer.c:ladders_leave. */
static bool watches_take(const char *line)
{
	uint32_t n;
	int same;
	if (sscanf(line, "watches %u %d", &n, &same) != 2 || n > WATCHES)
		return false;
	for (uint32_t i = 0; !same && i < stage.roll.n; i++) {
		struct candidate *c = &stage.roll.candidate[i];
		c->phase = c->phase == PHASE_KILLED || c->phase == PHASE_RELEASED ? PHASE_STUCK : PHASE_ALIVE;
		c->victim = c->tried = c->freezer = 0;
	}
	for (uint32_t w = 0; !same && w < WATCHES; w++)
		stage.ladder[w] = (struct ladder){ .step = LADDER_REST };
	return true;
}

static bool rule_take(const char *line)
{
	uint32_t i, managed, borrower, action, unit, signal, order;
	struct rule r = { .line = 0 };
	if (sscanf(line, "rule %u %u %u %u %u %u %u %u %" SCNu64 " %" SCNu64 " %d %16s", &i, &managed, &borrower, &r.over, &action, &unit,
		   &signal, &order, &r.grace_ns, &r.deadline_ns, &r.line, r.comm) != 12 || i >= RULES ||
	    managed > MANAGED_NO || borrower > MANAGED_NO || action >= ACTION_N || unit >= UNIT_N || signal > 64 || order > ORDER_LAST)
		return false;
	r.managed = (uint8_t)managed;
	r.borrower = (uint8_t)borrower;
	r.action = (uint8_t)action;
	r.unit = (uint8_t)unit;
	r.signal = (uint8_t)signal;
	r.order = (uint8_t)order;
	stage.roll.rule[i] = r;
	return true;
}

static bool stake_take(const char *line)
{
	uint32_t i;
	struct stake s;
	if (sscanf(line, "stake %u %u %u %" SCNu64, &i, &s.guarantee, &s.shared, &s.rules) != 4 || i >= BOOKS_ACCOUNTS)
		return false;
	stage.roll.stake[i] = s;
	return true;
}

/* A place keeps what the ladder wrote there as long as it is the same process. */
static void row_place(uint32_t i, const struct candidate *given)
{
	struct candidate *c = &stage.roll.candidate[i];
	struct candidate now = *given;
	if (c->pid == now.pid && c->start_ticks == now.start_ticks) {
		now.phase = c->phase;
		now.tried = c->tried;
		now.victim = c->victim;
		now.freezer = c->freezer;
	}
	*c = now;
	stage.roll.n = i >= stage.roll.n ? i + 1 : stage.roll.n;
}

static bool row_take(const char *line)
{
	uint32_t i, account, watches, exempt, borrower;
	int adj, at = 0;
	struct candidate c = { .pid = 0 };
	if (sscanf(line,
		   "row %u %d %d %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %u %d %u %u %u %u %u %u %u %n", &i, &c.pid,
		   &c.parent, &c.start_ticks, &c.image, &c.cgroup, &c.rules, &c.user, &adj, &account, &watches, &exempt,
		   &borrower, &c.held, &c.shared, &c.cpu_s, &at) < 16 || i >= ROLL || account > BOOKS_ACCOUNTS || c.pid <= 0)
		return false;
	c.adj = (int16_t)adj;
	c.account = (uint16_t)account;
	c.watches = (uint16_t)watches;
	c.exempt = (uint8_t)exempt;
	c.borrower = borrower != 0;
	snprintf(c.comm, sizeof c.comm, "%s", line + at);
	row_place(i, &c);
	return true;
}

static bool free_take(const char *line)
{
	uint32_t i;
	struct roll *roll = &stage.roll;
	if (sscanf(line, "free %u", &i) != 1 || i >= ROLL)
		return false;
	roll->candidate[i] = (struct candidate){ .pid = 0 };
	while (roll->n > 0 && roll->candidate[roll->n - 1].pid == 0)
		roll->n--;
	return true;
}

/* --- deciding again --- */

static void differ(const char *have, const char *want)
{
	if (!stage.differs)
		log_error("line %lu differs: the trace has \"%s\", and now it is \"%s\"", stage.number, have, want);
	stage.differs = true;
}

/* The next of what was decided, as a trace has it; NULL: that was all. */
static const char *decision_next(void)
{
	static char line[LINE_BYTES];
	if (stage.deeds < stage.script.deeds)
		trace_deed(line, sizeof line, &stage.script.deed[stage.deeds++]);
	else if (stage.lines < stage.script.lines)
		snprintf(line, sizeof line, "> %s\n", stage.script.line[stage.lines++]);
	else
		return NULL;
	fputs(line, stdout);
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/* What was decided and does not stand in the trace. */
static void decisions_finish(void)
{
	for (const char *now; (now = decision_next()) != NULL;)
		differ("nothing", now);
}

static bool step_take(const char *line)
{
	uint32_t w;
	int dry;
	struct reading r;
	if (sscanf(line, "step %u %d %" SCNu64 " %u %u %u %u %" SCNu64, &w, &dry, &r.now_ns, &r.total, &r.available,
		   &r.swap_total, &r.swap_free, &r.stall_us) != 8 || w >= WATCHES)
		return false;
	script_clear(&stage.script);
	stage.deeds = stage.lines = 0;
	ladder_climb(&stage.ladder[w], &stage.roll, w, &stage.config.watch[w], &r, dry != 0, &stage.script);
	return true;
}

static bool decision_take(const char *line)
{
	const char *now = decision_next();
	if (!now || strcmp(now, line) != 0)
		differ(line, now ? now : "nothing");
	return true;
}

static bool line_take(const char *line)
{
	static const struct {
		const char *word;
		bool (*take)(const char *line);
	} kinds[] = { { "watches ", watches_take }, { "watch ", watch_take }, { "rule ", rule_take }, { "stake ", stake_take }, { "row ", row_take },
		      { "free ", free_take }, { "step ", step_take } };
	if (strncmp(line, "> ", 2) == 0)
		return decision_take(line);
	decisions_finish();
	puts(line);
	if (strcmp(line, "trace 2") == 0)
		return true;
	if (sscanf(line, "unmanaged %" SCNu64, &stage.roll.unmanaged_rules) == 1)
		return true;
	if (sscanf(line, "rules %u", &stage.roll.rules) == 1)
		return stage.roll.rules <= RULES;
	for (size_t i = 0; i < ARRAY_N(kinds); i++)
		if (strncmp(line, kinds[i].word, strlen(kinds[i].word)) == 0)
			return kinds[i].take(line);
	return false;
}

int replay(const char *file)
{
	char line[LINE_BYTES];
	FILE *f = fopen(file, "re");
	if (!f) {
		log_error("%s: %s", file, strerror(errno));
		return 2;
	}
	bool good = true;
	while (good && fgets(line, sizeof line, f)) {
		stage.number++;
		line[strcspn(line, "\n")] = '\0';
		good = line_take(line);
	}
	decisions_finish();
	if (!good || ferror(f))
		log_error("%s:%lu: this is no line of a trace", file, stage.number);
	fclose(f);
	return !good ? 2 : fflush(stdout) != 0 || stage.differs ? 1 : 0;
}
