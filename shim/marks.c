/* SPDX-License-Identifier: MIT */
#include "shim/marks.h"

#include <errno.h>
#include <sys/mman.h>

#include "shim/charge.h"
#include "shim/raw.h"
#include "shim/self.h"

static __thread __attribute__((tls_model("initial-exec"))) struct pagemap_run kept_out;

struct pagemap_run marks_keep_out(struct pagemap_run range)
{
	struct pagemap_run last = kept_out;
	kept_out = range;
	return last;
}

static bool is_kept_out(uintptr_t at, size_t bytes)
{
	return at < kept_out.addr + bytes_of(kept_out.pages) && at + bytes > kept_out.addr;
}

static long map_near(uintptr_t hint, size_t bytes)
{
	return raw_mmap((void *)hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* What is free may be free because it is to be filled in a moment (munmap, then MAP_FIXED). Then
 * below it, ever further. */
static long map_elsewhere(size_t bytes)
{
	for (uint64_t below = bytes_of(pages_of(bytes)); below < kept_out.addr; below *= 2) {
		long r = map_near(kept_out.addr - below, bytes);
		if (raw_failed(r) || !is_kept_out((uintptr_t)r, bytes))
			return r;
		raw_munmap((void *)r, bytes);
	}
	return -ENOMEM;
}

long marks_map(size_t bytes)
{
	long r = map_near(0, bytes);
	if (likely(raw_failed(r) || !is_kept_out((uintptr_t)r, bytes)))
		return r;
	raw_munmap((void *)r, bytes);
	return map_elsewhere(bytes);
}

void *marks_own_memory(size_t bytes, uint64_t *ret_paid)
{
	uint64_t pages = pages_of(bytes);
	if (charge_take(pages, CATEGORY_SOLVENT) != REASON_NONE)
		return NULL;
	long r = marks_map(bytes);
	uint64_t charged = raw_failed(r) ? pages : pagemap_count(&marks, PAGEMAP_CHARGED, (uintptr_t)r, pages);
	charge_give(charged, CATEGORY_SOLVENT);
	*ret_paid = pages - charged;
	return raw_failed(r) ? NULL : (void *)r;
}

/* Nodes are our own memory, too. Before the constructor nothing is charged for them: it finds
 * them in /proc/self/maps with the rest (shim/baseline.c). */
static void *marks_memory(size_t bytes)
{
	uint64_t paid;
	if (self.state != SELF_EARLY)
		return marks_own_memory(bytes, &paid);
	long r = marks_map(bytes);
	return raw_failed(r) ? NULL : (void *)r;
}

struct pagemap marks = { .memory = marks_memory };

/* Collects runs of one plane up to `end`, at most `most`; returns where it had to stop. */
static uintptr_t runs_collect(enum pagemap_plane plane, uintptr_t at, uintptr_t end, uint32_t most,
			      struct lifted *l)
{
	struct pagemap_run run;
	while (at < end && pagemap_next_within(&marks, plane, at, (end - at) >> PAGE_SHIFT, &run)) {
		if (l->n[plane] == most)
			return run.addr;
		l->run[plane][l->n[plane]++] = run;
		at = run.addr + bytes_of(run.pages);
	}
	return end;
}

static void lift_begin(uintptr_t addr, struct lifted *l)
{
	l->addr = addr;
	l->more_bytes = 0;
	for (int plane = 0; plane < PAGEMAP_PLANE_N; plane++) {
		l->n[plane] = 0;
		l->run[plane] = l->few[plane];
	}
}

void marks_lift(uintptr_t addr, uint64_t pages, struct lifted *ret)
{
	uintptr_t end = addr + bytes_of(pages);
	lift_begin(addr, ret);
	end = runs_collect(PAGEMAP_CHARGED, addr, end, LIFT_RUNS, ret);
	uintptr_t shorter = runs_collect(PAGEMAP_EXEMPT, addr, end, LIFT_RUNS, ret);
	if (shorter < end) {
		ret->n[PAGEMAP_CHARGED] = 0;
		end = runs_collect(PAGEMAP_CHARGED, addr, shorter, LIFT_RUNS, ret);
	}
	ret->pages = (end - addr) >> PAGE_SHIFT;
	ret->charged = pagemap_forget(&marks, addr, ret->pages);
}

/* --- more runs than fit --- */

static uint32_t runs_count(enum pagemap_plane plane, uintptr_t at, uintptr_t end)
{
	struct pagemap_run run;
	uint32_t n = 0;
	for (; at < end && pagemap_next_within(&marks, plane, at, (end - at) >> PAGE_SHIFT, &run); n++)
		at = run.addr + bytes_of(run.pages);
	return n;
}

static bool more_make(struct lifted *l, uint32_t charged, uint32_t exempt)
{
	size_t bytes = ((size_t)charged + exempt) * sizeof(struct pagemap_run);
	struct pagemap_run *more = marks_own_memory(bytes, &l->more_paid);
	if (!more)
		return false;
	l->more_bytes = bytes;
	l->run[PAGEMAP_CHARGED] = more;
	l->run[PAGEMAP_EXEMPT] = more + charged;
	return true;
}

bool marks_lift_whole(uintptr_t addr, uint64_t pages, struct lifted *ret)
{
	uintptr_t end = addr + bytes_of(pages);
	marks_lift(addr, pages, ret);
	if (ret->pages == pages)
		return true;
	marks_lay(ret, 0, ret->pages, addr);
	lift_begin(addr, ret);
	if (!more_make(ret, runs_count(PAGEMAP_CHARGED, addr, end), runs_count(PAGEMAP_EXEMPT, addr, end)))
		return false;
	runs_collect(PAGEMAP_CHARGED, addr, end, UINT32_MAX, ret);
	runs_collect(PAGEMAP_EXEMPT, addr, end, UINT32_MAX, ret);
	ret->pages = pages;
	ret->charged = pagemap_forget(&marks, addr, pages);
	return true;
}

void marks_drop(struct lifted *l)
{
	if (l->more_bytes == 0)
		return;
	raw_munmap(l->run[PAGEMAP_CHARGED], l->more_bytes);
	charge_give(l->more_paid, CATEGORY_SOLVENT);
	l->more_bytes = 0;
}

/* --- laying --- */

static uint64_t run_lay(enum pagemap_plane plane, uintptr_t to, uint64_t pages)
{
	int64_t fresh = pagemap_set(&marks, plane, to, pages);
	return fresh < 0 ? pages : (uint64_t)fresh;
}

uint64_t marks_lay(const struct lifted *l, uint64_t from, uint64_t end, uintptr_t to)
{
	uint64_t laid[PAGEMAP_PLANE_N] = { 0 };
	for (int plane = 0; plane < PAGEMAP_PLANE_N; plane++)
		for (uint32_t i = 0; i < l->n[plane]; i++) {
			uint64_t at = (l->run[plane][i].addr - l->addr) >> PAGE_SHIFT;
			uint64_t stop = min_u64(at + l->run[plane][i].pages, end);
			at = max_u64(at, from);
			if (at < stop)
				laid[plane] += run_lay(plane, to + bytes_of(at - from), stop - at);
		}
	return laid[PAGEMAP_CHARGED];
}

bool marks_lay_prepare(const struct lifted *l)
{
	uint64_t runs = (uint64_t)l->n[PAGEMAP_CHARGED] + l->n[PAGEMAP_EXEMPT];
	return runs == 0 || pagemap_stock(&marks, runs, l->pages) == 0;
}
