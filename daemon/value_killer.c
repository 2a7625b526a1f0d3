/* SPDX-License-Identifier: MIT */
/* What may stand behind the keys of watch and rule. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "daemon/value.h"
#include "reserve/size.h"

#define DURATION_MOST_NS (3600 * 1000000000ull)

/* --- durations, thresholds, words --- */

int value_duration(const char *value, uint64_t *ret_ns)
{
	static const struct {
		const char *unit;
		uint64_t ns;
	} units[] = { { "ms", 1000000 }, { "s", 1000000000 }, { "m", 60 * 1000000000ull } };
	char *end;
	unsigned long n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || n > 3600000)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_N(units); i++)
		if (strcmp(end, units[i].unit) == 0) {
			*ret_ns = n * units[i].ns;
			return *ret_ns <= DURATION_MOST_NS ? 0 : -EINVAL;
		}
	return -EINVAL;
}

struct threshold value_threshold(const char *value)
{
	uint64_t size = 0;
	if (strchr(value, '%')) {
		size_parse(value, 1000000, &size);
		return (struct threshold){ .ppm = (uint32_t)size };
	}
	size_parse(value, 0, &size);
	return (struct threshold){ .pages = (uint32_t)min_u64(pages_of(size), PAGES_MAX) };
}

int value_signal(const char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);
	if (value[0] >= '0' && value[0] <= '9')
		return *end == '\0' && n > 0 && n < (unsigned long)SIGRTMIN ? (int)n : 0;
	const char *name = strncmp(value, "SIG", 3) == 0 ? value + 3 : value;
	for (int s = 1; s < SIGRTMIN; s++) {
		const char *abbreviation = sigabbrev_np(s);
		if (abbreviation && strcmp(name, abbreviation) == 0)
			return s;
	}
	return 0;
}

int value_order(const char *value, uint8_t *ret)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);
	bool first = strcmp(value, "first") == 0, last = strcmp(value, "last") == 0;
	bool number = value[0] >= '0' && value[0] <= '9' && *end == '\0' && n <= ORDER_LAST;
	*ret = (uint8_t)(first ? ORDER_FIRST : last ? ORDER_LAST : n);
	return first || last || number ? 0 : -EINVAL;
}

int value_word(const char *value, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(value, words[i]) == 0)
			return i;
	return -1;
}

/* --- what is wrong --- */

static const char *threshold_wrong(enum key key, const char *value)
{
	uint64_t bytes;
	int error = size_parse(value, 1000000, &bytes);
	if (error || bytes == SIZE_INFINITY)
		return value_complaint("%s = \"%s\" is not an amount of memory; write a size (512M) or a percentage",
				       key_name[key], value);
	if (bytes == 0 && key == KEY_ACT)
		return value_complaint("act = \"%s\" never comes: nothing is left to act with; write more", value);
	if (strchr(value, '%') && bytes >= 1000000 && key <= KEY_ACT)
		return value_complaint("%s = \"%s\" is always the case; write less", key_name[key], value);
	return NULL;
}

static const char *duration_wrong(enum key key, const char *value)
{
	uint64_t ns;
	if (value_duration(value, &ns) == 0)
		return NULL;
	return value_complaint("%s = \"%s\" is not a time; write a whole number and ms, s or m, at most 60m", key_name[key],
			       value);
}

static const char *stall_wrong(const char *value)
{
	uint32_t percent;
	if (value_percent(value, &percent) == 0)
		return NULL;
	return value_complaint("stall = \"%s\" is no part of the time; write a percentage from 1%% to 100%%", value);
}

static const char *pattern_wrong(enum key key, const char *value)
{
	size_t most = key == KEY_MATCH_ACCOUNT ? ACCOUNT_NAME_BYTES - 1 : RULE_PATTERN_BYTES - 1;
	if (value[0] == '\0')
		return value_complaint("%s is empty; leave it out to match everything", key_name[key]);
	if (strlen(value) > most)
		return value_complaint("%s is too long; write at most %zu bytes", key_name[key], most);
	if ((key == KEY_MATCH_EXE || key == KEY_MATCH_CGROUP) && value[0] != '/' && value[0] != '*')
		return value_complaint("%s = \"%s\" is not a path; write it from / on", key_name[key], value);
	return NULL;
}

static const char *adj_wrong(const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);
	if (value[0] != '\0' && *end == '\0' && n >= -1000 && n <= 1000)
		return NULL;
	return value_complaint("match-oom-score-adj = \"%s\" is not one; write a number from -1000 to 1000", value);
}

static const char *truth_wrong(enum key key, const char *value)
{
	if (strcmp(value, "true") == 0 || strcmp(value, "false") == 0)
		return NULL;
	return value_complaint("%s = \"%s\" is not known; write true or false", key_name[key], value);
}

static const char *words_wrong(enum key key, const char *value, const char *const *words, int n)
{
	char list[128] = "";
	if (value_word(value, words, n) >= 0)
		return NULL;
	for (int i = 0; i < n; i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i == 0 ? "" : i == n - 1 ? " or " : ", ",
			 words[i]);
	return value_complaint("%s = \"%s\" is not known; write %s", key_name[key], value, list);
}

static const char *rule_wrong(enum key key, const char *value)
{
	uint8_t order;
	switch (key) {
	case KEY_MATCH_USER:
		return strcmp(value, "*") == 0 ? NULL : value_user_wrong(value, 1);
	case KEY_MATCH_ADJ:
		return adj_wrong(value);
	case KEY_MANAGED:
	case KEY_UNMANAGED:
	case KEY_BORROWER:
		return truth_wrong(key, value);
	case KEY_OVER:
		return strchr(value, '%') || strcmp(value, "infinity") == 0 ?
			       value_complaint("over = \"%s\" is not a size; write a number with K, M, G or T", value) :
			       value_size_wrong(key, value);
	case KEY_ACTION:
		return words_wrong(key, value, action_name, ACTION_N);
	case KEY_ORDER:
		return value_order(value, &order) == 0 ?
			       NULL : value_complaint("order = \"%s\" is not known; write first, last, or a number from 0 to "
						      "100", value);
	case KEY_UNIT:
		return words_wrong(key, value, unit_name, UNIT_N);
	case KEY_SIGNAL:
		return value_signal(value) ? NULL : value_complaint("signal = \"%s\" is none; write TERM, or another's name",
								    value);
	default:
		return pattern_wrong(key, value);
	}
}

const char *value_killer_wrong(enum key key, const char *value)
{
	switch (key) {
	case KEY_WATCH_CGROUP:
		return value_cgroup_wrong(value);
	case KEY_WATCH_WARN:
	case KEY_ACT:
	case KEY_SWAP_WARN:
	case KEY_SWAP_ACT:
		return threshold_wrong(key, value);
	case KEY_STALL:
		return stall_wrong(value);
	case KEY_EXHAUSTION:
	case KEY_SETTLE:
	case KEY_GRACE:
	case KEY_DEADLINE:
		return duration_wrong(key, value);
	default:
		return rule_wrong(key, value);
	}
}
