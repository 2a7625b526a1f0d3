/* SPDX-License-Identifier: MIT */
/* The broker from its options to its exit status. */
#pragma once

#include <stdbool.h>

struct options {
	const char *socket; /* path or @name */
	const char *state;  /* NULL: a private broker without one */
	const char *config;
	bool foreground;
	bool check;
	bool until_empty;
	bool dry_run;       /* nobody is killed */
	const char *record; /* a trace is written there; NULL: none */
	int ready_fd; /* a byte is written there when it listens; -1: nobody waits */
};

/* Reads the configuration and says what it thinks of it. The exit status. */
int start_check(const struct options *o);

/* Runs the broker. In the background, the first process returns 0 when it listens. The
 * exit status. */
int start(const struct options *o);
