/* SPDX-License-Identifier: MIT */
#include "shim/marks.h"

#include <sys/mman.h>

#include "shim/charge.h"
#include "shim/raw.h"
#include "shim/self.h"

/* Nodes are our own memory and are paid for like everything. Before the constructor
 * nothing is: it finds them in /proc/self/maps with the rest (shim/baseline.c). */
static void *marks_memory(size_t bytes)
{
	uint64_t pages = self.state == SELF_EARLY ? 0 : pages_of(bytes);
	if (charge_take(pages, CATEGORY_SOLVENT) != REASON_NONE)
		return NULL;
	long r = raw_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!raw_failed(r))
		return (void *)r;
	charge_give(pages, CATEGORY_SOLVENT);
	return NULL;
}

struct pagemap marks = { .memory = marks_memory };

/* Collects runs of one plane up to `end`; returns where it had to stop. */
static uintptr_t runs_collect(enum pagemap_plane plane, uintptr_t at, uintptr_t end, struct lifted *l)
{
	struct pagemap_run run;
	while (at < end && pagemap_next(&marks, plane, at, &run) && run.addr < end) {
		if (l->n[plane] == LIFT_RUNS)
			return run.addr;
		run.pages = min_u64(run.pages, (end - run.addr) >> PAGE_SHIFT);
		l->run[plane][l->n[plane]++] = run;
		at = run.addr + bytes_of(run.pages);
	}
	return end;
}

void marks_lift(uintptr_t addr, uint64_t pages, struct lifted *ret)
{
	uintptr_t end = addr + bytes_of(pages);
	ret->addr = addr;
	ret->n[PAGEMAP_CHARGED] = ret->n[PAGEMAP_EXEMPT] = 0;
	end = runs_collect(PAGEMAP_CHARGED, addr, end, ret);
	uintptr_t shorter = runs_collect(PAGEMAP_EXEMPT, addr, end, ret);
	if (shorter < end) {
		ret->n[PAGEMAP_CHARGED] = 0;
		end = runs_collect(PAGEMAP_CHARGED, addr, shorter, ret);
	}
	ret->pages = (end - addr) >> PAGE_SHIFT;
	ret->charged = pagemap_forget(&marks, addr, ret->pages);
}

void marks_lay(const struct lifted *l, uintptr_t to, uint64_t pages)
{
	for (int plane = 0; plane < PAGEMAP_PLANE_N; plane++)
		for (uint32_t i = 0; i < l->n[plane]; i++) {
			struct pagemap_run run = l->run[plane][i];
			uint64_t at = (run.addr - l->addr) >> PAGE_SHIFT;
			if (at < pages)
				pagemap_set(&marks, plane, to + bytes_of(at), min_u64(run.pages, pages - at));
		}
}

uint64_t marks_charged_from(const struct lifted *l, uint64_t from)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < l->n[PAGEMAP_CHARGED]; i++) {
		struct pagemap_run run = l->run[PAGEMAP_CHARGED][i];
		uint64_t at = (run.addr - l->addr) >> PAGE_SHIFT;
		sum += at >= from ? run.pages : at + run.pages > from ? at + run.pages - from : 0;
	}
	return sum;
}
