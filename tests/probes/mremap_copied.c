/* SPDX-License-Identifier: MIT */
/* Description: a copy (MREMAP_DONTUNMAP) of a mapping part of which was writable once is paid for,
 * wherever that part is.
 * Budget: 64M */
#include <sys/mman.h>

#include "tests/probes/probe.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PAGES 8
#define BYTES ((size_t)4096)

int main(void)
{
	long begun = charged_pages();
	char *p = mmap(NULL, PAGES * BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	check(mprotect(p, 4 * BYTES, PROT_READ | PROT_WRITE) == 0 && mprotect(p, 4 * BYTES, PROT_READ) == 0);
	unsigned long refusals = figures().refusals;
	char *q = mremap(p, PAGES * BYTES, PAGES * BYTES, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
	if (q == MAP_FAILED) {
		check(errno != ENOMEM && figures().refusals == refusals);
		skip("they are two mappings here, or there is no MREMAP_DONTUNMAP");
	}
	check(mprotect(p, 4 * BYTES, PROT_READ | PROT_WRITE) == 0 && mprotect(q, 4 * BYTES, PROT_READ | PROT_WRITE) == 0);
	long charged = charged_pages();
	check(charged - begun >= 8, "%ld pages are charged for two times four", charged - begun);
	check(munmap(p, PAGES * BYTES) == 0 && munmap(q, PAGES * BYTES) == 0);
	check(charged_pages() == begun, "%ld pages were given back for what was not taken", begun - charged_pages());
	return 0;
}
