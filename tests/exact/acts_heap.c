/* SPDX-License-Identifier: MIT */
/* malloc and its family. What the heap commits is not in the model: there the charge must be
 * the kernel's count. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "tests/exact/exact.h"

static size_t size_roll(struct dice *d)
{
	uint64_t kind = roll(d, 100);
	return 1 + roll(d, kind < 50 ? 512 : kind < 80 ? 16384 : kind < 97 ? 1 << 19 : 1 << 24);
}

static void *allocate(struct dice *d, size_t bytes, const char **ret_name)
{
	void *p = NULL;
	switch (roll(d, 5)) {
	case 0:
		*ret_name = "calloc";
		return calloc(1 + bytes / 16, 16);
	case 1:
		*ret_name = "aligned_alloc";
		return aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
	case 2:
		*ret_name = "posix_memalign";
		return posix_memalign(&p, 64 << roll(d, 10), bytes) == 0 ? p : NULL;
	default:
		*ret_name = "malloc";
		return malloc(bytes);
	}
}

static void block(struct actor *a, struct dice *d)
{
	void **at = &a->block[roll(d, BLOCKS)];
	size_t bytes = size_roll(d);
	const char *name = "realloc";
	if (*at && chance(d, 60)) {
		say(a, "free(%p)", *at);
		free(*at);
		*at = NULL;
		return;
	}
	void *p = *at ? realloc(*at, bytes) : allocate(d, bytes, &name);
	say(a, "%s: %zu bytes at %p", name, bytes, p);
	if (p) {
		memset(p, 1, bytes < 256 ? bytes : 256);
		*at = p;
	}
}

static void trim(struct actor *a, struct dice *d)
{
	(void)d;
	say(a, "malloc_trim(0)");
	malloc_trim(0);
}

const struct act acts_heap[] = {
	{ "malloc", 14, block, false },
	{ "malloc_trim", 1, trim, false },
	{ 0 },
};
