/* SPDX-License-Identifier: MIT */
/* Each complaint names the value as it was written and says what would do; line and file
 * are put in front of it by the caller, who knows them. */
#include "daemon/value.h"

#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/config.h"
#include "reserve/size.h"

const char *const key_name[KEY_N] = {
	"limit", "guarantee", "warn", "mode", "fork", "noreserve", "cgroup", "warn-signal",
	"warn-command", "users",
	"cgroup", "warn", "act", "swap-warn", "swap-act", "exhaustion", "stall", "settle",
	"match-account", "match-user", "match-cgroup", "match-exe", "match-comm", "match-oom-score-adj",
	"managed", "unmanaged", "borrower", "over", "action", "order", "unit", "signal", "grace", "deadline",
};

const struct section_kind section_kind[SECTION_N] = {
	[SECTION_ACCOUNT] = { "account", KEY_LIMIT, KEY_WATCH_CGROUP,
			      "in an account write limit, guarantee, warn, mode, fork, noreserve, cgroup, warn-signal, "
			      "warn-command or users, "
			      "then = and a value" },
	[SECTION_WATCH] = { "watch", KEY_WATCH_CGROUP, KEY_MATCH_ACCOUNT,
			    "in a watch write cgroup, warn, act, swap-warn, swap-act, exhaustion, stall or settle, "
			    "then = and a value" },
	[SECTION_RULE] = { "rule", KEY_MATCH_ACCOUNT, KEY_N,
			   "in a rule write match-account, match-user, match-cgroup, match-exe, match-comm, "
			   "match-oom-score-adj, managed, unmanaged, borrower, over, action, order, unit, signal, grace or "
			   "deadline, then = and a value" },
};

const char *value_complaint(const char *format, ...)
{
	static char sentence[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(sentence, sizeof sentence, format, arguments);
	va_end(arguments);
	return sentence;
}

const char *value_size_wrong(enum key key, const char *value)
{
	uint64_t bytes;
	int error = size_parse(value, SIZE_MAX_BYTES, &bytes);
	if (error == -ERANGE)
		return value_complaint("%s = \"%s\" is larger than any machine; write infinity for no bound", key_name[key], value);
	if (error)
		return value_complaint("%s = \"%s\" is not a size; write a number with K, M, G or T, a percentage, or infinity",
			     key_name[key], value);
	if (key == KEY_LIMIT && bytes == 0)
		return value_complaint("limit = \"%s\" would refuse everything; write a size above 0", value);
	if (key == KEY_GUARANTEE && bytes == SIZE_INFINITY)
		return value_complaint("guarantee = infinity cannot be kept; write a size or a percentage");
	return NULL;
}

static const char *word_wrong(enum key key, const char *value, const char *one, const char *two)
{
	if (strcmp(value, one) == 0 || strcmp(value, two) == 0)
		return NULL;
	return value_complaint("%s = \"%s\" is not known; write %s or %s", key_name[key], value, one, two);
}

static const char *fork_wrong(const char *value)
{
	uint32_t percent;
	if (strcmp(value, "strict") == 0 || value_percent(value, &percent) == 0)
		return NULL;
	return value_complaint("fork = \"%s\" is not known; write strict, or a percentage from 1%% to 100%%", value);
}

const char *value_cgroup_wrong(const char *value)
{
	if (value[0] != '/')
		return value_complaint("cgroup = \"%s\" is not a path; write it as in /proc/PID/cgroup, from / on", value);
	if (strlen(value) >= CONFIG_CGROUP_BYTES)
		return value_complaint("this cgroup's path is too long; write at most %d bytes", CONFIG_CGROUP_BYTES - 1);
	return NULL;
}

const char *value_user_wrong(const char *value, unsigned n)
{
	uid_t uid;
	if (n > CONFIG_USERS)
		return value_complaint("these are more than %u users; write \"*\" for everyone, and cgroup to choose among them",
			     CONFIG_USERS);
	if (strcmp(value, "*") == 0 || value_user(value, &uid))
		return NULL;
	return value_complaint("no user is called \"%s\"; write a user's name, a number, or \"*\" for everyone", value);
}

static const char *command_wrong(const char *value)
{
	if (strlen(value) >= CONFIG_COMMAND_BYTES || strchr(value, '\n'))
		return value_complaint("warn-command is too long, or has more than a line; write at most %d bytes",
				       CONFIG_COMMAND_BYTES - 1);
	return NULL;
}

const char *value_wrong(enum key key, const char *value, unsigned n)
{
	switch (key) {
	case KEY_MODE:
		return word_wrong(key, value, "enforce", "observe");
	case KEY_FORK:
		return fork_wrong(value);
	case KEY_NORESERVE:
		return word_wrong(key, value, "charge", "free");
	case KEY_CGROUP:
		return value_cgroup_wrong(value);
	case KEY_WARN_SIGNAL:
		return value_signal(value) ? NULL : value_complaint("warn-signal = \"%s\" is none; write USR1, or another's "
								    "name", value);
	case KEY_WARN_COMMAND:
		return command_wrong(value);
	case KEY_USERS:
		return value_user_wrong(value, n);
	default:
		return key < KEY_WATCH_CGROUP ? value_size_wrong(key, value) : value_killer_wrong(key, value);
	}
}

const char *value_name_wrong(const char *name)
{
	if (name[0] == '\0')
		return value_complaint("this account's name is empty; write account \"NAME\" { ... }");
	if (strlen(name) >= ACCOUNT_NAME_BYTES)
		return value_complaint("account \"%.20s...\" has too long a name; write at most %d bytes", name,
			     ACCOUNT_NAME_BYTES - 1);
	for (const char *c = name; *c; c++) {
		bool inside = c > name && c[1] != '\0' && c[1] != '/';
		if ((*c == '/' && !inside) || (unsigned char)*c < ' ' || *c == 0x7f)
			return value_complaint("this account's name holds a control character, or a slash that is not between two "
					       "parts of it; write letters, digits, . _ and -");
	}
	return NULL;
}

uint32_t value_pages(const char *value, uint64_t whole_bytes)
{
	uint64_t bytes = 0;
	size_parse(value, whole_bytes, &bytes);
	return (uint32_t)min_u64(pages_of(bytes), PAGES_MAX);
}

int value_percent(const char *value, uint32_t *ret)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || strcmp(end, "%") != 0 || n < 1 || n > 100)
		return -EINVAL;
	*ret = (uint32_t)n;
	return 0;
}

static bool is_number(const char *value, uid_t *ret)
{
	char *end;
	errno = 0;
	unsigned long n = strtoul(value, &end, 10);
	if (value[0] < '0' || value[0] > '9' || *end || errno || n >= UINT32_MAX)
		return false;
	*ret = (uid_t)n;
	return true;
}

bool value_user(const char *value, uid_t *ret)
{
	if (is_number(value, ret))
		return true;
	const struct passwd *user = getpwnam(value);
	if (user)
		*ret = user->pw_uid;
	return user != NULL;
}
