/* SPDX-License-Identifier: MIT */
#pragma once

#include "reserve/price.h"

/* What a descriptor would put behind a mapping. */
struct behind {
	enum backing backing;
	bool may_write; /* it is open for writing */
	bool has_holes; /* with BACKING_TMPFS: the file has fewer pages than it is long */
	uint64_t dev, ino;
	uint64_t bytes; /* of a file: its length */
	uint64_t pages; /* the same, or what it has, if that is more */
	uint64_t unit;	/* pages; lengths of mappings are rounded up to it */
};

/* Asks no more than the price depends on: a private mapping of a file without holes costs
 * the same wherever it is. A descriptor that is none is a BACKING_FILE; the kernel will say
 * what it thinks of it. errno stays. */
void behind_find(int prot, int flags, int fd, struct behind *ret);

/* Has the file behind `fd`, found a moment ago, changed its size since? Then `b` says it anew. */
bool behind_has_changed(int fd, struct behind *b);

/* As behind_find for a file that is to change its size, BACKING_TMPFS or something else. */
bool behind_is_tmpfs(int fd, struct behind *ret);
bool behind_path_is_tmpfs(const char *path, struct behind *ret);
