/* SPDX-License-Identifier: MIT */
/* Description: a heap that is freed in pieces, every other one, does not run out of mappings
 * (vm.max_map_count) while there is budget: pieces are then given back without a mapping of
 * their own, and what is given back is uncharged all the same.
 * Budget: 3G */
#include <malloc.h>

#include "tests/probes/probe.h"

#define PIECES 140000
#define PIECE ((size_t)16 << 10)
#define MARKED 32 /* two neighbours of so many are written to, lest this takes memory */

static char *piece[PIECES];

static long maps_lines(void)
{
	static char buffer[1 << 16];
	long lines = 0, n;
	int fd = open("/proc/self/maps", O_RDONLY);
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (long i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	return lines;
}

static long max_map_count(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		skip("vm.max_map_count cannot be read");
	close(fd);
	return atol(text);
}

static void take(int i)
{
	piece[i] = malloc(PIECE);
	check(piece[i], "piece %d, %ld mappings, %ld pages", i, maps_lines(), charged_pages());
	if (i % MARKED <= 1)
		piece[i][0] = (char)i;
}

int main(void)
{
	long max = max_map_count();
	if (max > 3 * PIECES / 2)
		skip("vm.max_map_count is %ld: too many to run out of", max);
	for (int i = 0; i < PIECES; i++)
		take(i);
	long full = charged_pages();
	for (int i = 0; i < PIECES; i += 2)
		free(piece[i]);
	malloc_trim(0);
	long half = charged_pages(), maps = maps_lines();
	check(maps < max * 3 / 4, "%ld mappings of %ld", maps, max);
	check(half < full * 6 / 10, "%ld pages of %ld are still charged", half, full);
	for (int round = 0; round < 3; round++) {
		for (int i = 2 * round; i < PIECES; i += 16)
			take(i);
		for (int i = 2 * round; i < PIECES; i += 16)
			free(piece[i]);
		malloc_trim(0);
		check(maps_lines() < max * 3 / 4, "%ld mappings of %ld in round %d", maps_lines(), max, round);
	}
	for (int i = 0; i < PIECES; i += 2)
		take(i);
	for (int i = 0; i < PIECES; i++) {
		check(i % MARKED > 1 || piece[i][0] == (char)i, "piece %d has somebody else's byte", i);
		free(piece[i]);
	}
	malloc_trim(0);
	check(charged_pages() < full / 10, "%ld pages stay charged", charged_pages());
	check(figures().refusals == 0);
	return 0;
}
