/* SPDX-License-Identifier: MIT */
/* Description: an account that only observes refuses nothing, and counts what it would have.
 * Budget: 32M
 * Options: --mode observe */
#include "tests/probes/probe.h"

int main(void)
{
	char *p[8];
	check(figures().observe == 1);
	for (int i = 0; i < 8; i++) {
		errno = 77;
		p[i] = malloc((size_t)16 << 20);
		check(p[i] && errno == 77, "block %d", i);
		p[i][0] = 1;
	}
	check(figures().refusals == 0, "something was refused");
	check(figures().used_bytes > figures().limit_bytes + ((size_t)64 << 20), "the charge is not counted");
	for (int i = 0; i < 8; i++)
		free(p[i]);
	check(figures().used_bytes < figures().limit_bytes);
	return 0;
}
