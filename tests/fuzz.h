/* SPDX-License-Identifier: MIT */
/* What the fuzzers have in common. An input is a feed of bytes that a fuzzer takes its
 * decisions from; when it is used up, everything is 0. `make fuzz` links them with
 * libFuzzer, `make check` with a main() that replays tests/corpus (tests/fuzz_main.c). */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);

/* A property. Not assert(3): it must hold in every build. */
#define must(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: must be: %s\n", __FILE__, __LINE__, #condition);   \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* How many descriptors are open; some more, always the same. */
__attribute__((unused)) static unsigned descriptors(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

struct feed {
	const uint8_t *at, *end;
};

__attribute__((unused)) static inline struct feed feed_of(const uint8_t *input, size_t n)
{
	return (struct feed){ input, input + n };
}

__attribute__((unused)) static inline bool feed_is_empty(const struct feed *f)
{
	return f->at == f->end;
}

__attribute__((unused)) static inline void feed_bytes(struct feed *f, void *to, size_t n)
{
	size_t there = (size_t)(f->end - f->at), some = n < there ? n : there;
	memset(to, 0, n);
	if (some > 0)
		memcpy(to, f->at, some);
	f->at += some;
}

__attribute__((unused)) static inline uint64_t feed_number(struct feed *f, size_t bytes)
{
	uint64_t number = 0;
	feed_bytes(f, &number, bytes < sizeof number ? bytes : sizeof number);
	return number;
}

__attribute__((unused)) static inline uint8_t feed_byte(struct feed *f)
{
	return (uint8_t)feed_number(f, 1);
}
