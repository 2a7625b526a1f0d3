/* SPDX-License-Identifier: MIT */
/* What may stand behind each key of a configuration. */
#pragma once

#include <sys/types.h>

#include "daemon/killer/watch.h"

/* Those of one section stand together. */
enum key {
	KEY_LIMIT, KEY_GUARANTEE, KEY_WARN, KEY_MODE, KEY_FORK, KEY_NORESERVE, KEY_CGROUP,
	KEY_WARN_SIGNAL, KEY_WARN_COMMAND, KEY_USERS,
	KEY_WATCH_CGROUP, KEY_WATCH_WARN, KEY_ACT, KEY_SWAP_WARN, KEY_SWAP_ACT, KEY_EXHAUSTION, KEY_STALL, KEY_SETTLE,
	KEY_MATCH_ACCOUNT, KEY_MATCH_USER, KEY_MATCH_CGROUP, KEY_MATCH_EXE, KEY_MATCH_COMM, KEY_MATCH_ADJ,
	KEY_MANAGED, KEY_UNMANAGED, KEY_BORROWER, KEY_OVER, KEY_ACTION, KEY_ORDER, KEY_UNIT, KEY_SIGNAL, KEY_GRACE, KEY_DEADLINE,
	KEY_N
};

extern const char *const key_name[KEY_N];

/* The sections there may be many of. */
enum section { SECTION_ACCOUNT, SECTION_WATCH, SECTION_RULE, SECTION_N };

struct section_kind {
	const char *name;
	enum key first, end; /* its keys */
	const char *hint;    /* what may be written in it */
};

extern const struct section_kind section_kind[SECTION_N];

/* NULL, or what is wrong with `value` and what to write instead; good until the next call.
 * `n` is how many the list has so far (users). */
const char *value_wrong(enum key key, const char *value, unsigned n);

/* The same for an account's name. */
const char *value_name_wrong(const char *name);

/* A sentence for the two above; good until the next. */
const char *value_complaint(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Parts of value_wrong. */
const char *value_size_wrong(enum key key, const char *value);
const char *value_cgroup_wrong(const char *value);
const char *value_user_wrong(const char *value, unsigned n);

/* value_wrong for the keys of watch and rule (daemon/value_killer.c). */
const char *value_killer_wrong(enum key key, const char *value);

/* --- of values that are not wrong --- */

/* Pages, rounded up; PAGES_MAX for all that a purse cannot hold. A percentage is of
 * `whole_bytes`; 0 when that is 0. */
uint32_t value_pages(const char *value, uint64_t whole_bytes);

/* A percentage from 1 to 100; 0 or -EINVAL. */
int value_percent(const char *value, uint32_t *ret);

/* The uid of a name or a number. May ask the user database. */
bool value_user(const char *value, uid_t *ret);

/* "500ms", "2s", "1m" in nanoseconds; 0 or -EINVAL. */
int value_duration(const char *value, uint64_t *ret_ns);

/* A size, or a percentage of what is known later. */
struct threshold value_threshold(const char *value);

/* A signal by its name, with SIG or without, or its number; 0: there is none. */
int value_signal(const char *value);

/* first, last, or a number; 0 or -EINVAL. */
int value_order(const char *value, uint8_t *ret);

/* Which of `n` words; -1: none. */
int value_word(const char *value, const char *const *words, int n);
