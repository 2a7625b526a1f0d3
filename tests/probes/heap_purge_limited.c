/* SPDX-License-Identifier: MIT */
/* Description: where the kernel says no before us (RLIMIT_DATA), an allocation that failed leaves
 * nothing more behind the second time, what is free in the heap makes room there, too, and no refusal is recorded.
 * Budget: 256M */
#include <sys/resource.h>

#include "tests/probes/probe.h"

enum { PIECES = 400, PIECE_BYTES = 40 << 10, FAILURES = 300 };

/* Pages of addresses, and of data as the limit counts them. */
static void statm(long *ret_size, long *ret_data)
{
	FILE *f = fopen("/proc/self/statm", "r");
	check(f && fscanf(f, "%ld %*d %*d %*d %*d %ld", ret_size, ret_data) == 2);
	fclose(f);
}

static void fail(void)
{
	for (int i = 0; i < FAILURES; i++)
		check(malloc((size_t)(20 + i % 30) << 20) == NULL && errno == ENOMEM);
}

int main(void)
{
	static char *piece[PIECES];
	long size, data, size_after, data_after;
	for (int i = 0; i < PIECES; i++)
		check((piece[i] = malloc(PIECE_BYTES)));
	for (int i = 0; i < PIECES; i += 2)
		free(piece[i]);
	statm(&size, &data);
	struct rlimit most = { (size_t)data * 4096 + (1 << 20), RLIM_INFINITY };
	check(setrlimit(RLIMIT_DATA, &most) == 0);
	char *p = malloc(PIECES / 4 * PIECE_BYTES);
	check(p != NULL, "half of what is free");
	free(p);

	fail();
	statm(&size, &data);
	long charged = charged_pages();
	fail();
	statm(&size_after, &data_after);
	check(size_after == size, "%ld pages of addresses more", size_after - size);
	check(charged_pages() == charged, "%ld pages charged", charged_pages() - charged);
	check(figures().refusals == 0);
	for (int i = 1; i < PIECES; i += 2)
		free(piece[i]);
	check((p = malloc(PIECES / 2 * PIECE_BYTES)) != NULL);
	free(p);
	return 0;
}
