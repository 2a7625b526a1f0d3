/* SPDX-License-Identifier: MIT */
/* From an address to the file it was mapped from. The loader's list of modules is behind a
 * lock that a refused thread may not wait for (dl_iterate_phdr(3): a callback that allocates
 * would meet itself), so the loader is asked by _dl_find_object, which takes none, and the
 * rest is read from the module's own headers in memory. */
#include "shim/origin.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/auxv.h>

#include "shim/raw.h"

static bool object_find(uintptr_t address, struct dl_find_object *ret)
{
	return _dl_find_object((void *)address, ret) == 0;
}

bool origin_is_ours(uintptr_t address)
{
	struct dl_find_object its, ours;
	return object_find(address, &its) && object_find((uintptr_t)origin_is_ours, &ours) &&
	       its.dlfo_map_start == ours.dlfo_map_start;
}

bool origin_is_loader(uintptr_t address)
{
	struct dl_find_object its;
	return object_find(address, &its) && (uintptr_t)its.dlfo_map_start == getauxval(AT_BASE);
}

/* --- the name --- */

static void name_copy(struct refusal_module *m, const char *path)
{
	size_t length = strlen(path), room = sizeof m->name - 1;
	memcpy(m->name, length > room ? path + length - room : path, length > room ? room : length);
}

/* The loader calls the program itself "". */
static void program_name(struct refusal_module *m)
{
	char path[1024];
	long n = raw_call3(SYS_readlink, "/proc/self/exe", path, sizeof path);
	bool whole = n > 0 && (size_t)n < sizeof path;
	if (whole)
		path[n] = '\0';
	const char *given = (const char *)getauxval(AT_EXECFN);
	name_copy(m, whole ? path : given ? given : "");
}

/* --- the build id --- */

struct span {
	uintptr_t start, end;
};

static bool span_has(struct span s, uintptr_t at, size_t bytes)
{
	return at >= s.start && at <= s.end && bytes <= s.end - at;
}

/* ELF notes are a name and a description, each padded to four bytes. */
static bool note_find_build_id(uintptr_t at, uintptr_t end, uint8_t *ret_id)
{
	while (end - at >= sizeof(ElfW(Nhdr))) {
		const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
		size_t name = (note->n_namesz + 3ul) & ~3ul, all = name + ((note->n_descsz + 3ul) & ~3ul);
		at += sizeof *note;
		if (all > end - at)
			return false;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp((void *)at, "GNU", 4) == 0) {
			size_t n = note->n_descsz < BUILD_ID_BYTES ? note->n_descsz : BUILD_ID_BYTES;
			memcpy(ret_id, (void *)(at + name), n);
			return true;
		}
		at += all;
	}
	return false;
}

/* The file's first page is the mapping's first page, and the program headers are in it. */
static void build_id_find(struct span module, uintptr_t bias, uint8_t *ret_id)
{
	const ElfW(Ehdr) *e = (const ElfW(Ehdr) *)module.start;
	if (!span_has(module, module.start, PAGE_BYTES) || memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 ||
	    e->e_phentsize != sizeof(ElfW(Phdr)) || e->e_phoff > PAGE_BYTES ||
	    e->e_phnum > (PAGE_BYTES - e->e_phoff) / sizeof(ElfW(Phdr)))
		return;
	const ElfW(Phdr) *h = (const ElfW(Phdr) *)(module.start + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++)
		if (h[i].p_type == PT_NOTE && span_has(module, bias + h[i].p_vaddr, h[i].p_memsz) &&
		    note_find_build_id(bias + h[i].p_vaddr, bias + h[i].p_vaddr + h[i].p_memsz, ret_id))
			return;
}

/* --- the record --- */

static void module_describe(const struct dl_find_object *o, struct refusal_module *m)
{
	struct span module = { (uintptr_t)o->dlfo_map_start, (uintptr_t)o->dlfo_map_end };
	const struct link_map *map = o->dlfo_link_map;
	if (map->l_name && *map->l_name)
		name_copy(m, map->l_name);
	else
		program_name(m);
	build_id_find(module, map->l_addr, m->build_id);
}

/* The module's place in the record, described if it is new there; REFUSAL_NO_MODULE when
 * there is no more room. */
static uint8_t module_place(struct refusal *r, const void **known, const struct dl_find_object *o)
{
	for (uint8_t i = 0; i < REFUSAL_MODULES; i++) {
		if (known[i] == o->dlfo_map_start)
			return i;
		if (known[i])
			continue;
		known[i] = o->dlfo_map_start;
		module_describe(o, &r->modules[i]);
		return i;
	}
	return REFUSAL_NO_MODULE;
}

void origin_fill(struct refusal *r, const uintptr_t *frames, int n)
{
	const void *known[REFUSAL_MODULES] = { NULL };
	struct dl_find_object o;
	r->frames = (uint16_t)n;
	for (int i = 0; i < n; i++) {
		r->offset[i] = frames[i];
		r->module[i] = REFUSAL_NO_MODULE;
		/* The call is before the return address, which may be another function's. */
		if (!object_find(frames[i] - 1, &o))
			continue;
		r->module[i] = module_place(r, known, &o);
		if (r->module[i] != REFUSAL_NO_MODULE)
			r->offset[i] -= o.dlfo_link_map->l_addr;
	}
}
