/* SPDX-License-Identifier: MIT */
/* /proc/PID/maps (proc(5)), a mapping at a time: raw system calls, no stdio, no heap. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum maps_kind {
	MAPS_OTHER,
	MAPS_HEAP,  /* "[heap]": the break's */
	MAPS_STACK, /* "[stack]": the main thread's */
};

struct maps_entry {
	uintptr_t start, end;
	bool writable;
	bool private;
	enum maps_kind kind;
};

/* A file that is read from where it stands. Set `fd`, and all else to 0. */
struct maps {
	int fd; /* the caller's to close */
	size_t have, at;
	char buffer[4096];
};

/* The next mapping; false at the end. Lines that are not of that form are passed over. */
bool maps_next(struct maps *m, struct maps_entry *ret);
