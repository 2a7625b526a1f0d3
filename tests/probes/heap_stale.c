/* SPDX-License-Identifier: MIT */
/* Description: jemalloc's tables may come to lie where a thread's stack was, which libc has
 * unmapped unseen and whose marks stand there still: what is written to is writable.
 * Budget: 256G */
#include "tests/probes/stacks.h"

enum { GIBS = 40 };

int main(void)
{
	char *block[GIBS];
	for (int i = 0; i < GIBS; i++) {
		stacks_come_and_go();
		block[i] = malloc(((size_t)1 << 30) + 4096);
		check(block[i], "the %d. GiB", i);
		block[i][0] = 1;
		check(charged_pages() >= kernel_pages(), "charged %ld, the kernel counts %ld", charged_pages(), kernel_pages());
	}
	for (int i = 0; i < GIBS; i++)
		free(block[i]);
	return 0;
}
