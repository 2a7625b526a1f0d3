/* SPDX-License-Identifier: MIT */
/* What may stand behind each key of a configuration. */
#pragma once

#include <sys/types.h>

#include "include/base.h"

enum key { KEY_LIMIT, KEY_GUARANTEE, KEY_WARN, KEY_MODE, KEY_FORK, KEY_NORESERVE, KEY_CGROUP, KEY_USERS, KEY_N };

extern const char *const key_name[KEY_N];

/* NULL, or what is wrong with `value` and what to write instead; good until the next call.
 * `n` is how many the list has so far (users). */
const char *value_wrong(enum key key, const char *value, unsigned n);

/* The same for an account's name. */
const char *value_name_wrong(const char *name);

/* --- of values that are not wrong --- */

/* Pages, rounded up; PAGES_MAX for all that a purse cannot hold. A percentage is of
 * `whole_bytes`; 0 when that is 0. */
uint32_t value_pages(const char *value, uint64_t whole_bytes);

/* A percentage from 1 to 100; 0 or -EINVAL. */
int value_percent(const char *value, uint32_t *ret);

/* The uid of a name or a number. May ask the user database. */
bool value_user(const char *value, uid_t *ret);
