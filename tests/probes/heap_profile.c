/* SPDX-License-Identifier: MIT */
/* Description: jemalloc's heap profile, which whoever hunts a leak turns on by MALLOC_CONF, works: its
 * samples are drawn as often as it says, and show where they were taken. For its arithmetic and its
 * call chains no library is loaded. */
#include <dlfcn.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/probes/probe.h"

extern int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size) __attribute__((weak));

enum { BLOCKS = 2048, BLOCK_BYTES = 1 << 14 };

static void no_library_came_along(void)
{
	check(dlopen("libm.so.6", RTLD_NOW | RTLD_NOLOAD) == NULL);
	check(dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_NOLOAD) == NULL);
}

/* Its header: "heap_v2/<bytes a sample>", then "  t*: <sampled>: <bytes> [...". And the line of a call
 * chain: "@ 0x... 0x...". */
static void profile_read(int fd, unsigned *ret_sampled, unsigned *ret_deepest)
{
	static char text[1 << 16];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	const char *total = strstr(text, "t*: ");
	*ret_sampled = total ? (unsigned)atoi(total + 4) : 0;
	*ret_deepest = 0;
	for (const char *chain = text; (chain = strstr(chain, "\n@ ")) != NULL;) {
		unsigned deep = 0;
		for (chain += 3; *chain && *chain != '\n'; chain++)
			deep += chain[0] == 'x';
		*ret_deepest = deep > *ret_deepest ? deep : *ret_deepest;
	}
}

/* Of blocks as large as a sample is on average 1 - 1/e are sampled: 1,294 of 2,048, give or take 22. */
int main(int argc, char **argv)
{
	static char *block[BLOCKS];
	unsigned sampled, deepest;
	char path[64];
	const char *file = path;
	(void)argc;
	if (!getenv("MALLOC_CONF")) {
		no_library_came_along();
		setenv("MALLOC_CONF", "prof:true,lg_prof_sample:14,prof_prefix:", 1);
		execv("/proc/self/exe", argv);
	}
	if (!mallctl)
		return 77;
	for (int i = 0; i < BLOCKS; i++)
		block[i] = malloc(BLOCK_BYTES);
	int fd = memfd_create("profile", 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	check(mallctl("prof.dump", NULL, NULL, &file, sizeof file) == 0);
	profile_read(fd, &sampled, &deepest);
	printf("%u of %d sampled, %u calls deep\n", sampled, BLOCKS, deepest);
	check(sampled > 1150 && sampled < 1450);
	check(deepest >= 2);
	for (int i = 0; i < BLOCKS; i++)
		free(block[i]);
	return 0;
}
