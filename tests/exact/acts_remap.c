/* SPDX-License-Identifier: MIT */
/* mremap in all its forms. Where it fails the kernel may have done half of it (the place it
 * was to go to is unmapped; of several mappings some have moved): the model then looks. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/place.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

struct remap {
	uintptr_t old, to;
	size_t old_bytes, new_bytes;
	int flags;
};

static size_t rounded(size_t bytes)
{
	return (bytes + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1); /* as the kernel does: may become 0 */
}

static struct remap remap_roll(struct actor *a, struct dice *d)
{
	struct place from = place_any(a, d), to = place_in_window(a, d);
	struct remap r = { .old = from.addr, .old_bytes = from.bytes, .new_bytes = from.bytes,
			   .to = a->window + bytes_of(roll(d, WINDOW_PAGES)),
			   .flags = chance(d, 85) ? MREMAP_MAYMOVE : 0 };
	if (chance(d, 35))
		r.new_bytes = chance(d, 50) ? bytes_roll(d) : from.bytes / 2;
	if (chance(d, 5))
		r.old_bytes = 0;
	if (chance(d, 30))
		r.flags |= MREMAP_FIXED;
	if (chance(d, 12))
		r.flags |= MREMAP_DONTUNMAP;
	/* Where it stops half way with both places mapped, nobody can tell how far it came. */
	const struct run *first = model_at(&a->model, r.old);
	if (r.flags & MREMAP_FIXED && (!first || first->end < r.old + rounded(r.old_bytes)))
		r.flags &= ~MREMAP_DONTUNMAP;
	/* Onto what is there already, as a rule, so that something is replaced. */
	if (chance(d, 50))
		r.to = to.addr;
	if (chance(d, 4))
		r.to += 1 + roll(d, 4095);
	size_t room = a->window + bytes_of(WINDOW_PAGES) - r.to;
	if (r.flags & MREMAP_FIXED && rounded(r.new_bytes) > room)
		r.new_bytes = bytes_of(room >> PAGE_SHIFT);
	/* Without MREMAP_FIXED it is a wish, but one that is met. */
	if (!(r.flags & MREMAP_FIXED) && rounded(r.new_bytes) > room)
		r.to = 0;
	/* Where that fails half way, what others have mapped meanwhile may look like what was there. One page
	 * moves or does not. */
	bool own_place = place_is_in_window(a, r.old, r.old_bytes);
	if (!a->alone && r.flags & MREMAP_FIXED && !own_place && rounded(r.old_bytes) >= rounded(r.new_bytes))
		r.old_bytes = r.new_bytes = PAGE_BYTES;
	/* Shrinking unmaps all of the old range that is beyond. */
	if (rounded(r.old_bytes) > rounded(r.new_bytes) && !own_place && r.old_bytes != from.bytes)
		r.old_bytes = from.bytes;
	return r;
}

/* --- success --- */

static void grown(struct model *m, uintptr_t start, uintptr_t end)
{
	const struct run *last = model_at(m, start - 1);
	if (!last || start >= end)
		return;
	struct run run = *last;
	run.page += (start - run.start) >> PAGE_SHIFT;
	run.start = start;
	run.end = end;
	run.is &= ~(uint32_t)IS_GUARD;
	model_put(m, run);
}

/* Another view of what is shared. */
static void duplicated(struct model *m, const struct remap *r, uintptr_t at)
{
	const struct run *first = model_at(m, r->old);
	if (!first)
		fail("mremap duplicated what the model does not know");
	struct run run = *first;
	run.page += (r->old - run.start) >> PAGE_SHIFT;
	run.start = at;
	run.end = at + rounded(r->new_bytes);
	run.is &= ~(uint32_t)IS_GUARD;
	model_put(m, run);
}

static void remapped(struct model *m, const struct remap *r, uintptr_t at)
{
	size_t old_bytes = rounded(r->old_bytes), new_bytes = rounded(r->new_bytes);
	size_t common = min_u64(old_bytes, new_bytes);
	if (old_bytes == 0) {
		duplicated(m, r, at);
		return;
	}
	/* Equal lengths may have holes, over which what was there stays (Linux 6.17). */
	if (r->flags & MREMAP_FIXED && old_bytes != new_bytes)
		model_forget(m, at, at + new_bytes);
	model_forget(m, r->old + common, r->old + old_bytes);
	if (at != r->old)
		model_move(m, r->old, at, common, r->flags & MREMAP_DONTUNMAP);
	grown(m, at + common, at + new_bytes);
}

/* --- failure --- */

static bool page_is_mapped(uintptr_t page)
{
	return msync((void *)page, PAGE_BYTES, MS_ASYNC) == 0;
}

#define LOOKED_AT_BYTES (2 * bytes_of(WINDOW_PAGES)) /* page by page; more cannot have moved */

/* What is no longer mapped at the source while something is at its destination has moved;
 * what is no longer mapped at either is gone. */
static void half_done(struct model *m, const struct remap *r)
{
	size_t new_bytes = rounded(r->new_bytes), old_bytes = rounded(r->old_bytes);
	bool fixed = r->flags & MREMAP_FIXED && r->to % PAGE_BYTES == 0;
	for (size_t at = 0; at < old_bytes && at < LOOKED_AT_BYTES; at += PAGE_BYTES) {
		struct run *run = model_at(m, r->old + at);
		if (!run || !(run->is & IS_MAPPED) || page_is_mapped(r->old + at))
			continue;
		if (fixed && at < new_bytes && page_is_mapped(r->to + at))
			model_move(m, r->old + at, r->to + at, PAGE_BYTES, false);
		else
			model_forget(m, r->old + at, r->old + at + PAGE_BYTES);
	}
	if (old_bytes > LOOKED_AT_BYTES && r->old + old_bytes > r->old)
		model_look(m, r->old + LOOKED_AT_BYTES, r->old + old_bytes);
	for (size_t at = 0; fixed && at < new_bytes && at < LOOKED_AT_BYTES; at += PAGE_BYTES)
		if (!page_is_mapped(r->to + at))
			model_forget(m, r->to + at, r->to + at + PAGE_BYTES);
	if (fixed && new_bytes > LOOKED_AT_BYTES && r->to + new_bytes > r->to)
		model_look(m, r->to + LOOKED_AT_BYTES, r->to + new_bytes);
}

/* Nobody can tell a copy from what it was to replace, so there may be a charge for both until
 * they go (docs/solvent.7). */
static void copy_drop(struct actor *a, const struct remap *r)
{
	uintptr_t end = r->to + rounded(r->new_bytes);
	say(a, "munmap(%#lx, %#lx), as it may be a copy", r->to, end - r->to);
	int result = munmap((void *)r->to, end - r->to);
	say_result(a, result);
	model_forget(&a->model, r->to, end);
}

static void failed(struct actor *a, const struct remap *r)
{
	int keep = MREMAP_FIXED | MREMAP_DONTUNMAP;
	half_done(&a->model, r);
	if ((r->flags & keep) == keep && place_is_in_window(a, r->to, rounded(r->new_bytes)))
		copy_drop(a, r);
}

static void remap(struct actor *a, struct dice *d)
{
	struct remap r = remap_roll(a, d);
	bool raw = chance(d, 15);
	uint64_t before = books_refusals();
	say(a, "%s(%#lx, %#zx, %#zx, %d, %#lx)", raw ? "syscall:mremap" : "mremap", r.old, r.old_bytes, r.new_bytes,
	    r.flags, r.to);
	long at = raw ? syscall(SYS_mremap, r.old, r.old_bytes, r.new_bytes, r.flags, r.to) :
			(long)mremap((void *)r.old, r.old_bytes, r.new_bytes, r.flags, (void *)r.to);
	say_result(a, at);
	if (at != -1)
		remapped(&a->model, &r, (uintptr_t)at);
	else if (errno != EINVAL && !(errno == ENOMEM && was_refused(a, before, r.new_bytes + r.old_bytes)))
		failed(a, &r);
}

const struct act acts_remap[] = {
	{ "mremap", 22, remap, false },
	{ 0 },
};
