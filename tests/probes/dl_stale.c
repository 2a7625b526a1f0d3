/* SPDX-License-Identifier: MIT */
/* Description: a library that the loader puts where a thread's stack was, which libc has unmapped
 * unseen, is not charged for its text.
 * Budget: 256M */
#include <dlfcn.h>
#include <sys/mman.h>

#include "tests/probes/stacks.h"

#define PAGES_OVER 120 /* of the main stack, and guard pages */

/* A refusal: before it, everything that can be given back is. */
static void ask_too_much(void)
{
	check(mmap(NULL, (size_t)1 << 40, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

/* So that there is no other hole above the stacks'. */
static void holes_fill(void)
{
	for (int i = 0; i < 100; i++)
		check(mmap(NULL, 256 << 10, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

int main(void)
{
	holes_fill();
	stacks_come_and_go();
	ask_too_much(); /* loads what is loaded at the first one, too */
	for (int i = 0; i < 5; i++) {
		stacks_come_and_go();
		void *library = dlopen("libstdc++.so.6", RTLD_NOW);
		if (!library)
			skip("libstdc++.so.6 is not installed");
		ask_too_much();
		check(charged_pages() <= kernel_pages() + PAGES_OVER, "charged %ld, the kernel counts %ld", charged_pages(),
		      kernel_pages());
		dlclose(library);
	}
	return 0;
}
