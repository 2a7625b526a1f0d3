/* SPDX-License-Identifier: MIT */
/* A small library of libc's with more data than it has, in a directory of its own for as long as
 * the probe runs. */
#pragma once

#include <dlfcn.h>
#include <link.h>

#include "tests/probes/bloated.h"

static char library_dir[] = "/tmp/solvent-dl-XXXXXX";
static char library_path[64];

static inline void library_remove(void)
{
	unlink(library_path);
	rmdir(library_dir);
}

static inline void library_make(size_t bytes)
{
	struct link_map *module;
	void *handle = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	if (!handle)
		skip("there is no libBrokenLocale.so.1 here: %s", dlerror());
	check(mkdtemp(library_dir) != NULL && atexit(library_remove) == 0);
	check(dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0);
	snprintf(library_path, sizeof library_path, "%s/bloated.so", library_dir);
	bloat(module->l_name, library_path, bytes);
	check(dlclose(handle) == 0);
}
