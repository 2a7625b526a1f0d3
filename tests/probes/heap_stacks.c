/* SPDX-License-Identifier: MIT */
/* Description: malloc is not refused for the stacks of threads that libc has unmapped and told nobody
 * about.
 * Budget: 64M */
#include "tests/probes/stacks.h"

#define STACKS_KEPT ((size_t)40 << 20) /* libc keeps so much of them */

int main(void)
{
	check(sem_init(&stacks_begun, 0, 0) == 0 && sem_init(&stacks_ended, 0, 0) == 0 && sem_init(&stacks_go, 0, 0) == 0);
	size_t before = figures().process_bytes;
	stacks_come_and_go();
	/* What would fit if they were known to be gone, and does not if they are not. */
	size_t bytes = figures().limit_bytes - before - STACKS_KEPT - (4u << 20);
	check(figures().used_bytes + bytes > figures().limit_bytes, "they are known to be gone");
	unsigned long refusals = figures().refusals;
	char *p = malloc(bytes);
	check(p != NULL && figures().refusals == refusals, "%zu bytes", bytes);
	p[bytes - 1] = 1;
	free(p);
	return 0;
}
