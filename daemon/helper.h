/* SPDX-License-Identifier: MIT */
/* A process forked from the broker before it gives up allocating for good, that does what
 * allocates: reading a configuration. Each task is a child of it; it ends with the broker. */
#pragma once

#include <stdint.h>

#define HELPER_TEXT_BYTES 4096

struct helper {
	int32_t pid; /* 0: none */
	int fd;	     /* -1: none */
};

/* What a task's child does; it has the text, and a descriptor or -1, and nothing else that the
 * broker holds but the root of /proc. */
typedef void helper_task(const char *text, int fd);

/* Starts it. 0 or -errno. */
int helper_start(struct helper *h, helper_task *task);

/* Has it start a child with that text and descriptor (-1: none), which stay the caller's. Does not
 * wait. 0; -ENOTCONN: there is no helper (any more); or -errno. */
int helper_ask(const struct helper *h, const char *text, int fd);

/* Ends it. */
void helper_end(struct helper *h);
