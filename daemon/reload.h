/* SPDX-License-Identifier: MIT */
/* A new configuration, read by a child of the helper: parsing allocates, and asking for a
 * user may take long or never end. What comes back is a fixed struct or a sentence. */
#pragma once

#include "daemon/config.h"
#include "daemon/helper.h"

#define RELOAD_PATIENCE_NS (30 * 1000000000ull)

struct reload {
	bool under_way;
	int fd;      /* where its result comes from */
	uint64_t since_ns;
	size_t got;
	struct reload_result {
		bool ok;
		char sentence[1024];
		struct config config;
	} result;
};

#define RELOAD_WORD "read"

/* What the helper's child does: reads the configuration `file`, and writes the result to `to`. */
void reload_task(const char *file, int to);

/* Has `file` read; one under way is given up. 0 or -errno. */
int reload_begin(struct reload *r, const struct helper *h, const char *file, uint64_t now_ns);

/* Something came. True when it was the last of it: `result` is whole, or says why not. */
bool reload_hear(struct reload *r);

/* Ends it, finished or not. */
void reload_end(struct reload *r);
