/* SPDX-License-Identifier: MIT */
/* LD_PRELOAD is shared with others (allocators, tracers): ours goes in front, theirs stay. */
#include "cli/preload.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ld.so(8): "a list of additional, user-specified, ELF shared objects", split at either. */
#define SEPARATORS ": "

static int join(const char *directory, size_t n, const char *name, char ret_path[PATH_MAX])
{
	char path[PATH_MAX];
	if (snprintf(path, sizeof path, "%.*s/%s", (int)n, directory, name) >= (int)sizeof path ||
	    access(path, R_OK) != 0)
		return -ENOENT;
	memcpy(ret_path, path, sizeof path);
	return 0;
}

int preload_locate(const char *name, const char *directory, char ret_path[PATH_MAX])
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n > 0) {
		self[n] = '\0';
		if (join(self, (size_t)(strrchr(self, '/') - self), name, ret_path) == 0)
			return 0;
	}
	return join(directory, strlen(directory), name, ret_path);
}

bool preload_can_name(const char *library)
{
	return library[strcspn(library, SEPARATORS)] == '\0';
}

/* Is the entry of `n` bytes a copy of our library, wherever it lies? */
static bool is_ours(const char *entry, size_t n)
{
	size_t name = strlen(PRELOAD_LIBRARY);
	return n >= name && memcmp(entry + n - name, PRELOAD_LIBRARY, name) == 0 &&
	       (n == name || entry[n - name - 1] == '/');
}

char *preload_value(const char *library, const char *old)
{
	size_t room = (library ? strlen(library) : 0) + (old ? strlen(old) : 0) + 2, at = 0;
	char *value = malloc(room);
	if (!value)
		return NULL;
	*value = '\0';
	if (library)
		at += (size_t)snprintf(value, room, "%s", library);
	for (const char *entry = old; entry && *entry;) {
		size_t n = strcspn(entry, SEPARATORS);
		if (n && !is_ours(entry, n))
			at += (size_t)snprintf(value + at, room - at, "%s%.*s", at ? ":" : "", (int)n, entry);
		entry += n + (entry[n] != '\0');
	}
	return value;
}
