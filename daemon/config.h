/* SPDX-License-Identifier: MIT */
/* What the administrator wants (solvent.conf(5)), as a fixed struct: it can be parsed by
 * another process and sent through a pipe, and keeping it allocates nothing. */
#pragma once

#include <sys/types.h>

#include "daemon/killer/rule.h"
#include "daemon/killer/watch.h"
#include "include/ledger.h"

#define CONFIG_ACCOUNTS 64u
#define CONFIG_USERS 16u
#define CONFIG_CGROUP_BYTES 256
#define CONFIG_COMMAND_BYTES 256
#define CONFIG_FILE_BYTES (1u << 20)
#define CONFIG_DEFAULT_POOL "90%"

/* What an account may have, in pages. The broker's own copy is the one that counts; the
 * ledger's header has another for members to read. */
struct policy {
	uint32_t limit; /* PAGES_MAX: infinity */
	uint32_t guarantee;
	uint32_t warn;
	uint32_t mode; /* enum account_mode */
	uint32_t fork_percent;
	uint32_t noreserve_free;
};

/* Who may join it, beside root and the broker's own user. */
struct admission {
	uint32_t users;
	bool everyone;
	uid_t user[CONFIG_USERS];
	char cgroup[CONFIG_CGROUP_BYTES]; /* empty: any */
};

/* Who hears that memory is getting short. */
struct warning {
	int32_t signal;	  /* to members that handle it; 0: none */
	char command[CONFIG_COMMAND_BYTES]; /* run by the shell; empty: none */
};

struct config_account {
	char name[ACCOUNT_NAME_BYTES];
	struct policy policy;
	struct admission admission;
	struct warning warning;
};

struct config {
	uint32_t pool; /* PAGES_MAX: infinity */
	uint32_t accounts;
	struct config_account account[CONFIG_ACCOUNTS];
	uint32_t watches, rules;
	struct watch_policy watch[WATCHES];
	struct rule rule[RULES];
};

/* Where a complaint goes: one whole sentence, "FILE:LINE: what is wrong; what to write". */
typedef void config_complain(void *context, const char *sentence);

/* Reads and checks `file` (any path that can be read; /dev/fd/N too). 0 and `ret`, or
 * -EINVAL after one complaint. Allocates, and asks the user database: at start, or in a
 * process of its own. */
int config_read(const char *file, config_complain *complain, void *context, struct config *ret);

/* What in it is right and makes no sense, a sentence each with its line, through `complain`. How
 * many. */
uint32_t config_doubt(const char *file, const struct config *c, config_complain *complain, void *context);

/* May that user join by name alone? The cgroup is the caller's to ask. */
bool admission_allows(const struct admission *a, uid_t uid);
