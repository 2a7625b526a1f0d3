/* SPDX-License-Identifier: MIT */
/* A price can only be asked of a file, and callers give names. Where this search and the
 * real one disagree (hardware-specific directories, ld.so.cache), the price is asked of
 * another file or of none, and what comes after, the settlement, is right all the same. */
#include "shim/search.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/raw.h"

/* "dir/name"; an empty dir is the current one (execvp(3)). */
static bool path_join(const char *dir, size_t dir_length, const char *name, char *ret, size_t n)
{
	size_t length = strlen(name), slash = dir_length != 0;
	if (dir_length + slash + length + 1 > n)
		return false;
	memcpy(ret, dir, dir_length);
	if (slash)
		ret[dir_length] = '/';
	memcpy(ret + dir_length + slash, name, length + 1);
	return true;
}

static bool path_is_there(const char *path, int mode)
{
	return !raw_failed(raw_call4(SYS_faccessat, AT_FDCWD, path, mode, 0));
}

/* --- programs --- */

bool search_program(const char *file, char *ret_path, size_t path_bytes)
{
	if (strchr(file, '/'))
		return path_join("", 0, file, ret_path, path_bytes);
	const char *dir = getenv("PATH");
	if (!dir)
		dir = "/bin:/usr/bin"; /* confstr(3), _CS_PATH */
	for (;;) {
		size_t length = strcspn(dir, ":");
		if (path_join(dir, length, file, ret_path, path_bytes) && path_is_there(ret_path, X_OK))
			return true;
		if (dir[length] == '\0')
			return false;
		dir += length + 1;
	}
}

/* --- libraries --- */

/* The loader's own list of places for one module, RPATH, LD_LIBRARY_PATH, RUNPATH and the
 * default ones, in order and with $ORIGIN resolved (dlinfo(3)). On the stack: where there is no
 * memory for it, the library may be there all the same. */
#define PLACES_BYTES ((size_t)8 << 10)

union places {
	Dl_serinfo info;
	char room[PLACES_BYTES];
};

/* False: it does not say, or there are too many. */
static bool places_of(const void *address, union places *ret)
{
	Dl_info info;
	struct link_map *module;
	Dl_serinfo size;
	if (!dladdr1(address, &info, (void **)&module, RTLD_DL_LINKMAP) ||
	    dlinfo(module, RTLD_DI_SERINFOSIZE, &size) != 0 || size.dls_size > sizeof *ret)
		return false;
	ret->info.dls_size = size.dls_size;
	ret->info.dls_cnt = size.dls_cnt;
	return dlinfo(module, RTLD_DI_SERINFO, &ret->info) == 0;
}

static bool places_are_equal(const Dl_serinfo *a, const Dl_serinfo *b)
{
	if (a->dls_cnt != b->dls_cnt)
		return false;
	for (unsigned int i = 0; i < a->dls_cnt; i++)
		if (strcmp(a->dls_serpath[i].dls_name, b->dls_serpath[i].dls_name) != 0)
			return false;
	return true;
}

bool search_is_ours(const void *caller)
{
	union places theirs, ours;
	return places_of(caller, &theirs) && places_of((const void *)search_is_ours, &ours) &&
	       places_are_equal(&theirs.info, &ours.info);
}

bool search_library(const void *caller, const char *name, char *ret_path, size_t path_bytes)
{
	union places places;
	bool found = false;
	unsigned int n = places_of(caller, &places) ? places.info.dls_cnt : 0;
	for (unsigned int i = 0; !found && i < n; i++) {
		const char *dir = places.info.dls_serpath[i].dls_name;
		found = path_join(dir, strlen(dir), name, ret_path, path_bytes) &&
			path_is_there(ret_path, R_OK);
	}
	return found;
}
