/* SPDX-License-Identifier: MIT */
#include "tests/exact/place.h"

uint64_t pages_roll(struct dice *d)
{
	uint64_t kind = roll(d, 100);
	return 1 + roll(d, kind < 75 ? 16 : kind < 93 ? 128 : kind < 99 ? 1024 : 32768);
}

size_t bytes_roll(struct dice *d)
{
	size_t bytes = bytes_of(pages_roll(d));
	return chance(d, 15) ? bytes - roll(d, PAGE_BYTES) : bytes;
}

bool place_is_in_window(const struct actor *a, uintptr_t addr, size_t bytes)
{
	size_t size = bytes_of(WINDOW_PAGES);
	return addr >= a->window && addr - a->window <= size && bytes <= size - (addr - a->window);
}

struct place place_in_window(struct actor *a, struct dice *d)
{
	uint64_t at = roll(d, WINDOW_PAGES), pages = min_u64(pages_roll(d), WINDOW_PAGES - at);
	size_t bytes = bytes_of(pages);
	return (struct place){ a->window + bytes_of(at), chance(d, 10) ? bytes - roll(d, PAGE_BYTES) : bytes };
}

/* In the window nobody else is. Elsewhere, where nothing was copied to a child, by now its heap may be,
 * or the shim's own tables. */
static bool run_is_ours(const struct actor *a, const struct run *run)
{
	return run->is & IS_MAPPED || place_is_in_window(a, run->start, run->end - run->start);
}

struct place place_in_run(struct actor *a, struct dice *d)
{
	struct model *m = &a->model;
	const struct run *run = m->n ? &m->run[roll(d, m->n)] : NULL;
	if (!run || !run_is_ours(a, run))
		return place_in_window(a, d);
	uint64_t pages = (run->end - run->start) >> PAGE_SHIFT;
	uint64_t at = chance(d, 60) ? 0 : roll(d, pages);
	uint64_t n = chance(d, 60) ? pages - at : 1 + roll(d, pages - at);
	return (struct place){ run->start + bytes_of(at), bytes_of(n) };
}

/* From one run in the window to another, with whatever is between them. */
static struct place place_across(struct actor *a, struct dice *d)
{
	struct place from = place_in_run(a, d), to = place_in_run(a, d);
	if (!place_is_in_window(a, from.addr, from.bytes) || !place_is_in_window(a, to.addr, to.bytes))
		return place_in_window(a, d);
	if (from.addr > to.addr)
		return (struct place){ to.addr, from.addr + from.bytes - to.addr };
	return (struct place){ from.addr, to.addr + to.bytes - from.addr };
}

/* Beyond the end of user space, no length, no page boundary. */
static struct place place_wrong(struct actor *a, struct dice *d)
{
	static const size_t lengths[] = { 0, SIZE_MAX, SIZE_MAX - 4095, (size_t)1 << 47, (size_t)1 << 63 };
	struct place p = place_in_window(a, d);
	switch (roll(d, 3)) {
	case 0:
		p.addr = a->window; /* nothing but the window before the hole that stops it */
		p.bytes = PICK(d, lengths);
		return p;
	case 1:
		p.addr += 1 + roll(d, PAGE_BYTES - 1);
		p.bytes = p.bytes > PAGE_BYTES ? p.bytes - PAGE_BYTES : 1;
		return p;
	default:
		p.addr = ((uintptr_t)1 << 47) - bytes_of(roll(d, 2));
		return p;
	}
}

struct place place_any(struct actor *a, struct dice *d)
{
	uint64_t kind = roll(d, 100);
	return kind < 30 ? place_in_window(a, d) :
	       kind < 75 ? place_in_run(a, d) :
	       kind < 95 ? place_across(a, d) :
			   place_wrong(a, d);
}
