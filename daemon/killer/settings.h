/* SPDX-License-Identifier: MIT */
/* From the words of a configuration to a watch or a rule. */
#pragma once

#include "daemon/config.h"
#include "daemon/value.h"

/* The values of one section, as written and found right; NULL: not given. */
struct values {
	const char *of[KEY_N];
};

/* NULL, or what is wrong with it as a whole and what to write instead; good until the next call.
 * `ret_key` is the key that should be looked at. */
const char *watch_fill(const struct values *v, struct watch_policy *ret, enum key *ret_key);
const char *rule_fill(const struct values *v, struct rule *ret, enum key *ret_key);

/* What is right and yet makes no sense: rules that nobody can reach, memory that is watched for
 * nothing. One sentence each; how many. */
uint32_t settings_doubt(const struct config *c, void (*doubt)(void *context, int line, const char *sentence),
			void *context);
