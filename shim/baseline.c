/* SPDX-License-Identifier: MIT */
/* Two sources, because neither says all: a module's writable segments from its program
 * headers (the part that RELRO made read-only again stays charged by the kernel, but
 * /proc/self/maps shows it like any read-only file), and everything else that is writable
 * and private from /proc/self/maps. Marking is idempotent, so they may overlap. */
#include "shim/baseline.h"

#include <fcntl.h>
#include <link.h>
#include <sys/resource.h>
#include <sys/mman.h>

#include "shim/map.h"
#include "shim/maps.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"

/* The kernel gives a program 132 KiB of stack and grows it as it is used, up to
 * RLIMIT_STACK. We pay for this much at once, so that ordinary programs never go beyond
 * what was paid for between two of our calls. */
#define STACK_BYTES ((uintptr_t)512 << 10)
#define STACK_STEP_BYTES ((uintptr_t)128 << 10)
#define STACK_MOST_BYTES ((uintptr_t)1 << 30) /* RLIMIT_STACK infinity */
/* So much below it the kernel puts nothing of its own accord (arch/x86/mm/mmap.c, SIZE_128M): a
 * limit that is raised later holds at once. */
#define STACK_GAP_BYTES ((uintptr_t)128 << 20)

struct stack_floor stack_floor;

static int module_find(struct dl_phdr_info *module, size_t size, void *context)
{
	(void)size, (void)context;
	for (int i = 0; i < module->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &module->dlpi_phdr[i];
		if (h->p_type == PT_LOAD && (h->p_flags & PF_W))
			map_found((void *)(module->dlpi_addr + h->p_vaddr), h->p_memsz, 0, CATEGORY_IMAGE);
	}
	return 0;
}

static void stack_found(uintptr_t start, uintptr_t end)
{
	struct rlimit limit = { 0 };
	raw_call4(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit);
	uint64_t now = min_u64(limit.rlim_cur, STACK_MOST_BYTES), later = min_u64(limit.rlim_max, STACK_GAP_BYTES);
	uintptr_t most = (uintptr_t)max_u64(now, later);
	uintptr_t paid = end - (end - start > STACK_BYTES ? end - start : STACK_BYTES);
	stack_floor.limit = end - most < paid ? end - most : paid;
	stack_floor.paid = paid;
	map_found((void *)paid, end - paid, 0, CATEGORY_STACK);
}

static void entry_find(const struct maps_entry *e)
{
	if (!e->writable || !e->private)
		return;
	if (e->kind == MAPS_STACK)
		stack_found(e->start, e->end);
	else
		map_found((void *)e->start, e->end - e->start, 0,
			  e->kind == MAPS_HEAP ? CATEGORY_MAP : CATEGORY_IMAGE);
}

static bool maps_find(void)
{
	struct maps m = { .have = 0 };
	struct maps_entry e;
	long fd = raw_call4(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	if (raw_failed(fd))
		return false;
	m.fd = (int)fd;
	while (maps_next(&m, &e))
		entry_find(&e);
	raw_call1(SYS_close, fd);
	return true;
}

bool baseline_find(void)
{
	struct pagemap_usage before, after;
	bool found;
	dl_iterate_phdr(module_find, NULL);
	/* Marking may take memory for the page map itself, which is to be found too. */
	pagemap_usage(&marks, &after);
	do {
		before = after;
		found = maps_find();
		pagemap_usage(&marks, &after);
	} while (found && after.block_bytes != before.block_bytes);
	return found;
}

void stack_pay(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	uintptr_t paid = (here - STACK_STEP_BYTES) & ~(PAGE_BYTES - 1), old = stack_floor.paid;
	if (paid < stack_floor.limit)
		paid = stack_floor.limit;
	stack_floor.paid = paid; /* before the charge, which asks again */
	if (map_found((void *)paid, old - paid, 0, CATEGORY_STACK) != REASON_NONE)
		stack_floor.paid = old;
}
