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
 * default ones, in order and with $ORIGIN resolved (dlinfo(3)). NULL: it does not say. */
static Dl_serinfo *places_of(const void *address)
{
	Dl_info info;
	struct link_map *module;
	Dl_serinfo size;
	if (!dladdr1(address, &info, (void **)&module, RTLD_DL_LINKMAP) ||
	    dlinfo(module, RTLD_DI_SERINFOSIZE, &size) != 0)
		return NULL;
	Dl_serinfo *places = malloc(size.dls_size);
	if (!places)
		return NULL;
	places->dls_size = size.dls_size;
	places->dls_cnt = size.dls_cnt;
	if (dlinfo(module, RTLD_DI_SERINFO, places) == 0)
		return places;
	free(places);
	return NULL;
}

static bool places_are_equal(const Dl_serinfo *a, const Dl_serinfo *b)
{
	if (!a || !b || a->dls_cnt != b->dls_cnt)
		return false;
	for (unsigned int i = 0; i < a->dls_cnt; i++)
		if (strcmp(a->dls_serpath[i].dls_name, b->dls_serpath[i].dls_name) != 0)
			return false;
	return true;
}

bool search_is_ours(const void *caller)
{
	Dl_serinfo *theirs = places_of(caller), *ours = places_of((const void *)search_is_ours);
	bool equal = places_are_equal(theirs, ours);
	free(theirs);
	free(ours);
	return equal;
}

bool search_library(const void *caller, const char *name, char *ret_path, size_t path_bytes)
{
	Dl_serinfo *places = places_of(caller);
	bool found = false;
	for (unsigned int i = 0; places && !found && i < places->dls_cnt; i++) {
		const char *dir = places->dls_serpath[i].dls_name;
		found = path_join(dir, strlen(dir), name, ret_path, path_bytes) &&
			path_is_there(ret_path, R_OK);
	}
	free(places);
	return found;
}
