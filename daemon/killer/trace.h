/* SPDX-License-Identifier: MIT */
/* Everything the ladder is given, written down, and what it decided: lines of numbers, so that the
 * same can be decided again, and compared, byte for byte (solventd --replay).
 *
 *   trace 2
 *   watches N SAME
 *   watch W warn-pages warn-ppm act-pages act-ppm swap-warn.. swap-act.. exhaustion stall-ppm settle group
 *   rules N
 *   rule I managed borrower over action unit signal order grace deadline line patterns
 *   stake I guarantee shared rules
 *   unmanaged rules
 *   row I pid parent start image cgroup rules user adj account watches exempt borrower held shared cpu comm
 *   free I
 *   step W dry now total available swap-total swap-free stall-us
 *   > what was to be done, or said
 *
 * Rows and stakes stand where they have changed since they were last written. */
#pragma once

#include "daemon/config.h"
#include "daemon/killer/ladder.h"

/* A recording fills a buffer, which is written out while memory is not short, and when it is full:
 * to write takes memory. */
#define TRACE_BYTES (1u << 20)

struct trace {
	int fd; /* -1: nothing is recorded */
	bool failed; /* and that was said */
	uint32_t used;
	uint32_t watches, n; /* as last written */
	struct roll written;
	char buffer[TRACE_BYTES];
};

/* Records to `fd` from now on. */
void trace_begin(struct trace *t, int fd);

/* A configuration is in force; `same`: it watches what the last one did, and ladders go on. */
void trace_config(struct trace *t, const struct config *c, bool same);

/* One step: before it is made, and what came of it. */
void trace_step(struct trace *t, const struct roll *roll, uint32_t w, bool dry, const struct reading *r);
void trace_script(struct trace *t, const struct script *s);

/* Writes out what there is. */
void trace_flush(struct trace *t);

/* One line of a script, as a trace has it; its length, as snprintf(3). */
int trace_deed(char *line, size_t n, const struct deed *d);
