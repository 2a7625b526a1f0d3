/* SPDX-License-Identifier: MIT */
/* The only file that knows elfutils. A refusal carries the end of a path and a build id;
 * the path is a hint, the build id is the truth: a file is used only if it has that id,
 * so a library that was upgraded since never lends its names to the old one's addresses.
 *
 * The names come from a ledger its members can write, so only regular files are opened. */
#include "cli/symbols.h"

#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/text.h"

/* One module looked for, found or not. */
struct known {
	struct known *next;
	uint8_t build_id[BUILD_ID_BYTES];
	Dwfl *dwfl;          /* NULL: not on this machine */
	Dwfl_Module *module;
};

static struct known *known_modules;

static char *debuginfo_path; /* NULL: the library's default */
static const Dwfl_Callbacks CALLBACKS = {
	.find_debuginfo = dwfl_standard_find_debuginfo,
	.debuginfo_path = &debuginfo_path,
};

static bool has_build_id(Dwfl_Module *module, const uint8_t *build_id)
{
	const unsigned char *found;
	GElf_Addr at;
	/* The id is known only once the file is read. */
	int n = dwfl_module_getelf(module, &at) ? dwfl_module_build_id(module, &found, &at) : -1;
	/* Longer ids are recorded cut; shorter ones padded with zeros. */
	return n > 0 && memcmp(found, build_id, n < BUILD_ID_BYTES ? (size_t)n : BUILD_ID_BYTES) == 0;
}

/* Consumes `fd`. True when the file is the module sought, which then stays open in `k`. */
static bool known_load(struct known *k, int fd)
{
	Dwfl *dwfl = dwfl_begin(&CALLBACKS);
	if (!dwfl) {
		close(fd);
		return false;
	}
	dwfl_report_begin(dwfl);
	/* Base 0 with the file's own addresses: an offset is then an address. On success
	 * the descriptor is the library's. */
	Dwfl_Module *module = dwfl_report_elf(dwfl, "module", "module", fd, 0, true);
	if (!module)
		close(fd);
	dwfl_report_end(dwfl, NULL, NULL);
	if (!module || !has_build_id(module, k->build_id)) {
		dwfl_end(dwfl);
		return false;
	}
	k->dwfl = dwfl;
	k->module = module;
	return true;
}

static bool try_file(struct known *k, const char *path)
{
	struct stat st;
	/* Files of /proc and its like have no size, and to read them may do something. */
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return false;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	return fd >= 0 && known_load(k, fd);
}

/* --- where to look --- */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);
	return m <= n && strcmp(text + n - m, end) == 0;
}

/* What `process` ("self" or a pid) has mapped under a path that ends in `name`. */
static bool try_mapped(struct known *k, const char *process, const char *name)
{
	char maps[64], *line = NULL;
	size_t room = 0;
	bool found = false;
	snprintf(maps, sizeof maps, "/proc/%s/maps", process);
	FILE *f = fopen(maps, "re");
	if (!f)
		return false;
	while (!found && getline(&line, &room, f) > 0) {
		char *path = strchr(line, '/');
		line[strcspn(line, "\n")] = '\0';
		found = path && ends_with(path, name) && try_file(k, path);
	}
	free(line);
	fclose(f);
	return found;
}

/* A path that was cut at its front: the first whole component on, below the usual roots. */
static bool try_cut_name(struct known *k, const char *name)
{
	static const char *const ROOTS[] = { "", "/usr", "/usr/lib", "/usr/local", "/opt" };
	const char *tail = strchr(name, '/');
	for (size_t i = 0; tail && i < ARRAY_N(ROOTS); i++) {
		char path[PATH_MAX];
		snprintf(path, sizeof path, "%s%s", ROOTS[i], tail);
		if (try_file(k, path))
			return true;
	}
	return false;
}

/* gdb's layout: /usr/lib/debug/.build-id/ab/cdef....debug */
static bool try_debug_tree(struct known *k)
{
	char path[PATH_MAX];
	int at = snprintf(path, sizeof path, "/usr/lib/debug/.build-id/%02x/", k->build_id[0]);
	for (size_t i = 1; i < BUILD_ID_BYTES; i++)
		at += snprintf(path + at, sizeof path - (size_t)at, "%02x", k->build_id[i]);
	snprintf(path + at, sizeof path - (size_t)at, ".debug");
	return try_file(k, path);
}

static void known_search(struct known *k, const struct refusal_module *module, int32_t pid)
{
	char name[sizeof module->name + 1], process[16];
	snprintf(name, sizeof name, "%.*s", (int)sizeof module->name, module->name);
	snprintf(process, sizeof process, "%d", pid);
	if (name[0] == '/' && try_file(k, name))
		return;
	if (name[0] && (try_mapped(k, process, name) || try_mapped(k, "self", name) || try_cut_name(k, name)))
		return;
	try_debug_tree(k);
}

static struct known *known_get(const struct refusal_module *module, int32_t pid)
{
	for (struct known *k = known_modules; k; k = k->next)
		if (memcmp(k->build_id, module->build_id, sizeof k->build_id) == 0)
			return k;
	struct known *k = calloc(1, sizeof *k);
	if (!k)
		return NULL;
	memcpy(k->build_id, module->build_id, sizeof k->build_id);
	known_search(k, module, pid);
	k->next = known_modules;
	known_modules = k;
	return k;
}

static void symbol_fill(Dwfl_Module *module, uint64_t offset, struct symbol *s)
{
	/* A return address may be the first byte of the next function: the call is before it. */
	Dwarf_Addr address = offset ? offset - 1 : 0;
	GElf_Off into = 0;
	GElf_Sym sym;
	const char *function = dwfl_module_addrinfo(module, address, &into, &sym, NULL, NULL, NULL);
	if (function) {
		snprintf(s->function, sizeof s->function, "%s", text_clean(function, strlen(function)).s);
		s->into = into + (offset - address);
	}
	Dwfl_Line *line = dwfl_module_getsrc(module, address);
	const char *source = line ? dwfl_lineinfo(line, NULL, &s->line, NULL, NULL, NULL) : NULL;
	if (source)
		snprintf(s->source, sizeof s->source, "%s", text_clean(source, strlen(source)).s);
}

bool symbols_find(const struct refusal_module *module, int32_t pid, uint64_t offset, struct symbol *ret)
{
	static const uint8_t NONE[BUILD_ID_BYTES];
	if (memcmp(module->build_id, NONE, sizeof NONE) == 0)
		return false;
	struct known *k = known_get(module, pid);
	if (!k || !k->module)
		return false;
	*ret = (struct symbol){ 0 };
	symbol_fill(k->module, offset, ret);
	return true;
}

void symbols_close(void)
{
	while (known_modules) {
		struct known *k = known_modules;
		known_modules = k->next;
		if (k->dwfl)
			dwfl_end(k->dwfl);
		free(k);
	}
}
