/* SPDX-License-Identifier: MIT */
/* Description: the first purge of a process takes no memory itself: in an account that is full to
 * the page, what is free in the heap still makes room.
 * Budget: 64M */
#include <sys/mman.h>

#include "tests/probes/probe.h"

enum { PIECES = 400, PIECE_BYTES = 40 << 10 };

static void fill(void)
{
	for (size_t bytes = 16 << 20; bytes >= 4096; bytes /= 2)
		while (figures().limit_bytes - figures().used_bytes >= bytes)
			check(mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

int main(void)
{
	static char *piece[PIECES];
	for (int i = 0; i < PIECES; i++)
		check((piece[i] = malloc(PIECE_BYTES)));
	for (int i = 0; i < PIECES; i += 2)
		free(piece[i]);
	fill();
	check(figures().refusals == 0);
	char *p = malloc(PIECES / 4 * PIECE_BYTES);
	check(p && figures().refusals == 0, "%zu bytes free", figures().limit_bytes - figures().used_bytes);
	free(p);
	return 0;
}
