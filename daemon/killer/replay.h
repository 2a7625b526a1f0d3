/* SPDX-License-Identifier: MIT */
/* Decides again what was decided in a trace. */
#pragma once

/* Reads the trace and writes it to stdout with the decisions made anew. 0: they are the same, byte for
 * byte; 1: they are not, which is said on stderr with the line; 2: it cannot be read. */
int replay(const char *file);
