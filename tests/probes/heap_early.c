/* SPDX-License-Identifier: MIT */
/* Description: what is allocated before main belongs to the same heap, is charged, and can be
 * freed in main and after it. */
#include <malloc.h>

#include "tests/probes/probe.h"

static char *early, *late;

__attribute__((constructor(101))) static void before_main(void)
{
	early = malloc((size_t)6 << 20);
	if (early)
		memset(early, 7, (size_t)6 << 20);
}

__attribute__((destructor)) static void after_main(void)
{
	free(late);
	free(malloc(100));
}

int main(void)
{
	check(early && early[0] == 7 && early[((size_t)6 << 20) - 1] == 7);
	check(charged_pages() >= (6 << 20) / 4096);
	check(charged_pages() >= kernel_pages(), "%ld charged, the kernel counts %ld", charged_pages(),
	      kernel_pages());
	check(malloc_usable_size(early) >= (size_t)6 << 20);
	free(early);
	late = malloc(5000);
	check(late);
	return 0;
}
