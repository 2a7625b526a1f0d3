/* SPDX-License-Identifier: MIT */
/* Description: the main stack is paid for also where its limit was raised after the start, as compilers
 * do.
 * Budget: 256M */
#include <alloca.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/probes/probe.h"

#define DEEP ((size_t)32 << 20)

/* Downwards, page by page, as a recursion would. */
static __attribute__((noinline)) long charged_deep(void)
{
	volatile char *p = alloca(DEEP);
	for (size_t at = DEEP; at >= 4096; at -= 4096)
		p[at - 1] = 1;
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(page != MAP_FAILED);
	return charged_pages();
}

int main(void)
{
	struct rlimit limit;
	check(getrlimit(RLIMIT_STACK, &limit) == 0);
	if (limit.rlim_max < 2 * DEEP || limit.rlim_cur > DEEP)
		skip("the limit of the stack cannot be raised from a usual one here");
	limit.rlim_cur = 2 * DEEP;
	check(setrlimit(RLIMIT_STACK, &limit) == 0);
	long before = charged_pages(), deep = charged_deep();
	check(deep - before >= (long)(DEEP / 4096) - 2048, "%ld pages more", deep - before);
	check(deep >= kernel_pages(), "%ld pages under", kernel_pages() - deep);
	return 0;
}
