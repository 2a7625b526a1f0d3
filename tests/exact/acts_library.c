/* SPDX-License-Identifier: MIT */
/* dlopen and dlclose of the libraries that lie beside this program: a small one, and one with
 * some megabytes of data. */
#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include "tests/exact/exact.h"

static const char *library_path(const char *name)
{
	static __thread char path[512];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 64);
	path[n > 0 ? n : 0] = '\0';
	char *slash = strrchr(path, '/');
	if (slash)
		strcpy(slash + 1, name);
	return path;
}

static void library(struct actor *a, struct dice *d)
{
	static const char *const names[LIBRARIES] = { "small.so", "large.so", "libresolv.so.2", "no-such-library.so" };
	uint64_t i = roll(d, LIBRARIES);
	if (a->library[i]) {
		say(a, "dlclose(%s)", names[i]);
		if (dlclose(a->library[i]) != 0)
			fail("dlclose failed");
		a->library[i] = NULL;
		return;
	}
	say(a, "dlopen(%s)", names[i]);
	a->library[i] = dlopen(i == 2 ? names[i] : library_path(names[i]), chance(d, 50) ? RTLD_NOW : RTLD_LAZY);
}

const struct act acts_library[] = {
	{ "dlopen", 4, library, false },
	{ 0 },
};
