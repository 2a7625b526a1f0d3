/* SPDX-License-Identifier: MIT */
/* The broker's door. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct listener {
	int fd;
	int dir;            /* of a socket file; -1: abstract, or not ours to remove */
	const char *name;   /* in that directory */
	uint64_t inode;     /* of the file we made */
};

/* Listens at a path or '@name'. A socket file nobody listens on is replaced. `path` must
 * outlive it. 0, or -errno after a sentence in the log. */
int listener_open(const char *path, struct listener *ret);

/* Takes a socket that is listening already. */
void listener_take(int fd, struct listener *ret);

/* Stops listening, and removes the file if it is still the one we made. */
void listener_close(struct listener *l);
