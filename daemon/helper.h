/* SPDX-License-Identifier: MIT */
/* A process forked from the broker before it gives up allocating for good, that does what
 * allocates, or what may take its time. It ends with the broker. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HELPER_TEXT_BYTES 4096

struct helper {
	int32_t pid; /* 0: none */
	int fd;	     /* -1: none */
};

/* What it can be asked to do. The task has what follows the word, a descriptor or -1, and nothing
 * else that the broker holds but the root of /proc. */
struct helper_task {
	const char *word;
	bool forks; /* in a child of its own */
	void (*run)(const char *text, int fd);
};

/* Starts it; the last task has no word. 0 or -errno. */
int helper_start(struct helper *h, const struct helper_task *tasks);

/* Asks for a task with that text and descriptor (-1: none), which stay the caller's. Does not
 * wait. 0; -ENOTCONN: there is no helper (any more); or -errno. */
int helper_ask(const struct helper *h, const char *word, const char *text, int fd);

/* Ends it. */
void helper_end(struct helper *h);
