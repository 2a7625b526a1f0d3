/* SPDX-License-Identifier: MIT */
/* Copies of a small library of libc's with more data than it has, in a directory of their own for as
 * long as the probe runs. */
#pragma once

#include <dlfcn.h>
#include <link.h>

#include "tests/probes/bloated.h"

static char library_dir[] = "/tmp/solvent-dl-XXXXXX";
static char library_path[2][64];
static int libraries;

static inline void libraries_remove(void)
{
	while (libraries > 0)
		unlink(library_path[--libraries]);
	rmdir(library_dir);
}

/* Where one is to be. */
static inline const char *library_place(void)
{
	if (libraries == 0)
		check(mkdtemp(library_dir) != NULL && atexit(libraries_remove) == 0);
	char *path = library_path[libraries];
	snprintf(path, sizeof *library_path, "%s/bloated.%d.so", library_dir, libraries++);
	return path;
}

static inline void library_write(const char *path, size_t bytes)
{
	struct link_map *module;
	void *handle = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	if (!handle)
		skip("there is no libBrokenLocale.so.1 here: %s", dlerror());
	check(dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0);
	bloat(module->l_name, path, bytes);
	check(dlclose(handle) == 0);
}

static inline const char *library_make(size_t bytes)
{
	const char *path = library_place();
	library_write(path, bytes);
	return path;
}
