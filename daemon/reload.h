/* SPDX-License-Identifier: MIT */
/* A new configuration, read by a process of its own: parsing allocates, and asking for a
 * user may take long or never end. What comes back is a fixed struct or a sentence. */
#pragma once

#include "daemon/config.h"

#define RELOAD_PATIENCE_NS (30 * 1000000000ull)

struct reload {
	int32_t pid; /* 0: none under way */
	int fd;      /* where its result comes from */
	uint64_t since_ns;
	size_t got;
	struct reload_result {
		bool ok;
		char sentence[1024];
		struct config config;
	} result;
};

/* Starts reading `file`; one under way is given up. 0 or -errno. */
int reload_begin(struct reload *r, const char *file, uint64_t now_ns);

/* Something came. True when it was the last of it: `result` is whole, or says why not. */
bool reload_hear(struct reload *r);

/* Ends it, finished or not. */
void reload_end(struct reload *r);
