/* SPDX-License-Identifier: MIT */
/* mmap, munmap, mprotect, madvise, and using what was mapped. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/place.h"

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11 */
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#define MADV_GUARD_REMOVE 103
#endif

static const int protections[] = { PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
				   PROT_WRITE, PROT_READ, PROT_NONE, PROT_NONE, PROT_READ | PROT_EXEC,
				   PROT_READ | PROT_WRITE | PROT_EXEC };

static uint32_t is_of(int prot)
{
	return (prot & PROT_WRITE ? IS_WRITABLE : 0) | (prot & (PROT_READ | PROT_WRITE) ? IS_READABLE : 0);
}

/* --- mmap --- */

struct request {
	struct place at;
	int prot, flags, fd;
	off_t offset;
	uint32_t thing;
	bool may_write; /* the descriptor */
	uint64_t cost;	/* of the file, before the call, which may fill its holes */
};

/* Where: anywhere, at a hint, or fixed over whatever is there. */
static void where_roll(struct actor *a, struct dice *d, struct request *r)
{
	uint64_t kind = roll(d, 100);
	r->at = (struct place){ 0, bytes_roll(d) };
	if (kind < 35)
		return;
	r->at = kind < 97 ? place_any(a, d) : (struct place){ 0, 0 };
	if (kind < 75 && r->at.addr)
		r->flags |= MAP_FIXED;
	else if (kind < 85)
		r->flags |= MAP_FIXED_NOREPLACE;
	if (r->flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) && r->at.addr == 0)
		r->at = place_in_window(a, d);
	/* Where it fails the old mapping may be gone, and what others have mapped there meanwhile may look like it. */
	if (!a->alone && r->flags & MAP_FIXED && !place_is_in_window(a, r->at.addr, r->at.bytes))
		r->flags &= ~MAP_FIXED;
}

/* Extra flags that change nothing of the price. */
static int trimmings(struct dice *d, size_t bytes)
{
	int flags = 0;
	flags |= chance(d, 15) ? MAP_NORESERVE : 0;
	flags |= chance(d, 10) ? MAP_STACK : 0;
	flags |= chance(d, 10) && bytes <= 64 * PAGE_BYTES ? MAP_POPULATE : 0;
	return flags;
}

/* The price list: what the new mapping is. Asked before the call, which may fill holes. */
static struct run run_of(struct actor *a, const struct request *r)
{
	struct run run = { .is = IS_MAPPED | is_of(r->prot), .thing = NO_THING, .page = (uint64_t)r->offset >> PAGE_SHIFT };
	bool shared = (r->flags & MAP_TYPE) == MAP_SHARED || (r->flags & MAP_TYPE) == MAP_SHARED_VALIDATE;
	bool tmpfs = r->thing != NO_THING && a->model.thing[r->thing].kind == THING_TMPFS;
	run.thing = r->thing;
	if (shared || (r->flags & MAP_TYPE) == MAP_DROPPABLE || r->flags & MAP_HUGETLB)
		run.is |= IS_EXEMPT;
	else if (r->prot & PROT_WRITE)
		run.is |= IS_CHARGED;
	if (shared && !r->may_write)
		run.is |= IS_FIXED;
	if (tmpfs && ((shared && r->may_write) || thing_has_holes(r->fd)))
		run.is |= IS_HOLDING;
	return run;
}

/* As the kernel rounds it. */
static size_t length_of(const struct request *r)
{
	size_t unit = r->flags & MAP_HUGETLB ? (size_t)2 << 20 : PAGE_BYTES;
	return (r->at.bytes + unit - 1) & ~(unit - 1);
}

static void mapped(struct actor *a, const struct request *r, struct run run, uintptr_t addr)
{
	struct model *m = &a->model;
	run.start = addr;
	run.end = addr + length_of(r);
	bool object = (run.is & IS_EXEMPT) && r->thing == NO_THING && (r->flags & MAP_TYPE) != MAP_DROPPABLE &&
		      !(r->flags & MAP_HUGETLB);
	if (object) { /* shared anonymous memory, or /dev/zero */
		run.thing = thing_new(m);
		if (run.thing == NO_THING)
			fail("the model has no room for another object");
		m->thing[run.thing].kind = THING_ANON;
		m->thing[run.thing].pages = pages_of(r->at.bytes);
		run.is |= IS_HOLDING;
		run.page = 0;
	}
	if (run.is & IS_HOLDING && !object) {
		struct thing *t = &m->thing[run.thing];
		t->pages = max_u64(t->pages, r->cost);
	}
	model_put(m, run);
}

/* With what it would hold, even if the kernel said then that the descriptor is not for writing;
 * at most, for the room there must have been when it was refused. */
static size_t asked_by(struct actor *a, const struct request *r)
{
	size_t length = r->at.bytes < SIZE_MAX / 2 ? r->at.bytes : SIZE_MAX / 2;
	bool tmpfs = r->thing != NO_THING && a->model.thing[r->thing].kind == THING_TMPFS;
	return length + (tmpfs ? bytes_of(r->cost) : 0);
}

static void request_do(struct actor *a, struct dice *d, struct request *r)
{
	bool raw = chance(d, 15);
	uint64_t before = books_refusals();
	struct run run = run_of(a, r);
	r->cost = thing_cost(r->fd);
	say(a, "%s(%#lx, %#zx, prot %d, flags %#x, fd %d, %#lx)", raw ? "syscall:mmap" : "mmap", r->at.addr,
	    r->at.bytes, r->prot, r->flags, r->fd, (long)r->offset);
	errno = 77;
	long p = raw ? syscall(SYS_mmap, r->at.addr, r->at.bytes, r->prot, r->flags, r->fd, r->offset) :
		       (long)mmap((void *)r->at.addr, r->at.bytes, r->prot, r->flags, r->fd, r->offset);
	say_result(a, p);
	if (p != -1)
		mapped(a, r, run, (uintptr_t)p);
	else if (errno == ENOMEM && was_refused(a, before, asked_by(a, r)))
		return;
	else if (r->flags & MAP_FIXED && r->at.addr % PAGE_BYTES == 0)
		model_look(&a->model, r->at.addr, r->at.addr + length_of(r));
}

static void map_private(struct actor *a, struct dice *d)
{
	struct request r = { .prot = PICK(d, protections), .flags = MAP_PRIVATE | MAP_ANONYMOUS, .fd = -1,
			     .thing = NO_THING, .may_write = true };
	where_roll(a, d, &r);
	r.flags |= trimmings(d, r.at.bytes);
	request_do(a, d, &r);
}

/* Kinds that the price list excepts, and that it refuses. */
static void map_special(struct actor *a, struct dice *d)
{
	static const int types[] = { MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, MAP_DROPPABLE | MAP_ANONYMOUS,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, MAP_ANONYMOUS,
				     MAP_PRIVATE | MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE };
	struct request r = { .prot = PICK(d, protections), .flags = PICK(d, types), .fd = -1, .thing = NO_THING,
			     .may_write = true };
	where_roll(a, d, &r);
	/* Rounded up it must not reach over what is not ours. */
	if (r.flags & MAP_HUGETLB && !place_is_in_window(a, r.at.addr, length_of(&r)))
		r.flags &= ~MAP_FIXED;
	request_do(a, d, &r);
}

/* Addresses only, as garbage collectors reserve them. */
static void map_reserve(struct actor *a, struct dice *d)
{
	struct request r = { .prot = PROT_NONE, .flags = MAP_PRIVATE | MAP_ANONYMOUS, .fd = -1, .thing = NO_THING,
			     .at = { 0, (size_t)1 << (30 + roll(d, 11)) }, .may_write = true };
	r.flags |= chance(d, 50) ? MAP_NORESERVE : 0;
	request_do(a, d, &r);
}

static void map_shared(struct actor *a, struct dice *d)
{
	struct request r = { .prot = PICK(d, protections), .flags = MAP_SHARED | MAP_ANONYMOUS, .fd = -1,
			     .thing = NO_THING, .may_write = true };
	where_roll(a, d, &r);
	r.flags |= trimmings(d, r.at.bytes);
	request_do(a, d, &r);
}

static void map_zero(struct actor *a, struct dice *d)
{
	struct request r = { .prot = PICK(d, protections), .flags = chance(d, 50) ? MAP_PRIVATE : MAP_SHARED,
			     .thing = NO_THING, .may_write = true };
	where_roll(a, d, &r);
	r.fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	request_do(a, d, &r);
	close(r.fd);
}

static uint32_t file_pick(struct actor *a, struct dice *d)
{
	uint32_t first = (uint32_t)roll(d, THINGS);
	for (uint32_t i = 0; i < THINGS; i++) {
		const struct thing *t = &a->model.thing[(first + i) % THINGS];
		if ((t->kind == THING_DISK || t->kind == THING_TMPFS) && t->fd >= 0)
			return (first + i) % THINGS;
	}
	return NO_THING;
}

static void map_file(struct actor *a, struct dice *d)
{
	static const int types[] = { MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED, MAP_SHARED, MAP_SHARED_VALIDATE };
	char path[32];
	struct request r = { .prot = PICK(d, protections), .flags = PICK(d, types), .thing = file_pick(a, d) };
	if (r.thing == NO_THING)
		return;
	where_roll(a, d, &r);
	r.flags |= trimmings(d, r.at.bytes);
	r.offset = chance(d, 70) ? 0 : (off_t)bytes_of(roll(d, 64)) + (chance(d, 5) ? 1 : 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", a->model.thing[r.thing].fd);
	r.may_write = chance(d, 75);
	r.fd = open(path, (r.may_write ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	request_do(a, d, &r);
	close(r.fd);
}

/* --- munmap --- */

static void unmap(struct actor *a, struct dice *d)
{
	struct place p = place_any(a, d);
	bool raw = chance(d, 15);
	say(a, "%s(%#lx, %#zx)", raw ? "syscall:munmap" : "munmap", p.addr, p.bytes);
	long r = raw ? syscall(SYS_munmap, p.addr, p.bytes) : munmap((void *)p.addr, p.bytes);
	say_result(a, r);
	if (r == 0)
		model_forget(&a->model, p.addr, p.addr + bytes_of(pages_of(p.bytes)));
}

/* --- mprotect --- */

#define PROTECT_MOST ((size_t)1 << 30)

static void protect(struct actor *a, struct dice *d)
{
	struct place p = place_any(a, d);
	int prot = PICK(d, protections);
	uint64_t kind = roll(d, 100), before = books_refusals();
	/* More than the machine has the kernel itself refuses, half way. */
	if (p.bytes > PROTECT_MOST && p.bytes < (size_t)1 << 46)
		p.bytes = PROTECT_MOST;
	/* Beside others nobody could say whether it was refused or stopped in the middle. */
	if (!a->alone)
		p.bytes = model_prefix(&a->model, p.addr, p.addr + bytes_of(pages_of(p.bytes)), true) - p.addr;
	say(a, "%s(%#lx, %#zx, %d)", kind < 80 ? "mprotect" : kind < 90 ? "syscall:mprotect" : "pkey_mprotect", p.addr,
	    p.bytes, prot);
	long r = kind < 80 ? mprotect((void *)p.addr, p.bytes, prot) :
		 kind < 90 ? syscall(SYS_mprotect, p.addr, p.bytes, prot) :
			     pkey_mprotect((void *)p.addr, p.bytes, prot, -1);
	say_result(a, r);
	uintptr_t end = p.addr + bytes_of(pages_of(p.bytes));
	if (r != 0 && (errno == EINVAL || end <= p.addr || (errno == ENOMEM && was_refused(a, before, p.bytes))))
		return;
	if (r != 0 && !a->alone)
		return;
	end = model_prefix(&a->model, p.addr, end, prot & PROT_WRITE);
	model_change(&a->model, p.addr, end, is_of(prot), IS_READABLE | IS_WRITABLE);
	if (prot & PROT_WRITE)
		model_pay(&a->model, p.addr, end);
}

/* --- madvise --- */

#define ADVISE_MOST ((size_t)16 << 20)

static void advise(struct actor *a, struct dice *d)
{
	static const struct {
		const char *name;
		int advice;
		uint32_t add, remove;
	} advices[] = {
		{ "DONTNEED", MADV_DONTNEED, 0, 0 },
		{ "FREE", MADV_FREE, 0, 0 },
		{ "REMOVE", MADV_REMOVE, 0, 0 },
		{ "COLD", MADV_COLD, 0, 0 },
		{ "DONTFORK", MADV_DONTFORK, IS_NO_COPY, 0 },
		{ "DOFORK", MADV_DOFORK, 0, IS_NO_COPY },
		{ "WIPEONFORK", MADV_WIPEONFORK, 0, 0 },
		{ "KEEPONFORK", MADV_KEEPONFORK, 0, 0 },
		{ "GUARD_INSTALL", MADV_GUARD_INSTALL, IS_GUARD, 0 },
		{ "GUARD_REMOVE", MADV_GUARD_REMOVE, 0, IS_GUARD },
	};
	struct place p = place_in_run(a, d);
	uint64_t i = roll(d, ARRAY_N(advices));
	const struct run *run = model_at(&a->model, p.addr);
	/* Guards take page tables, and to look at them later takes time. */
	if (!run || p.bytes > ADVISE_MOST)
		return;
	say(a, "madvise(%#lx, %#zx, %s)", p.addr, p.bytes, advices[i].name);
	long r = madvise((void *)p.addr, p.bytes, advices[i].advice);
	say_result(a, r);
	/* A guard may have been installed in part. */
	if (r == 0 || advices[i].add == IS_GUARD)
		model_change(&a->model, p.addr, p.addr + p.bytes, advices[i].add, advices[i].remove);
}

/* --- using it --- */

static bool page_is_there(const struct actor *a, const struct run *run, uint64_t page)
{
	const struct thing *t = run->thing == NO_THING ? NULL : &a->model.thing[run->thing];
	if (!t)
		return true;
	if (t->kind == THING_DISK || t->kind == THING_TMPFS)
		return t->fd >= 0 && run->page + page < thing_size(t->fd);
	return run->page + page < t->pages;
}

static void touch(struct actor *a, struct dice *d)
{
	struct place p = place_in_run(a, d);
	const struct run *run = model_at(&a->model, p.addr);
	uint32_t wanted = chance(d, 70) ? IS_WRITABLE : IS_READABLE;
	if (!run || !(run->is & IS_MAPPED) || !(run->is & wanted) || run->is & IS_GUARD)
		return;
	uint64_t page = (p.addr - run->start) >> PAGE_SHIFT, n = min_u64(p.bytes >> PAGE_SHIFT, 8);
	say(a, "%s %#lx, %lu pages", wanted == IS_WRITABLE ? "write" : "read", p.addr, n);
	for (uint64_t i = 0; i < n && page_is_there(a, run, page + i); i++) {
		volatile char *at = (volatile char *)p.addr + bytes_of(i);
		if (wanted == IS_WRITABLE)
			*at = 1;
		else
			(void)*at;
	}
}

const struct act acts_map[] = {
	{ "mmap private", 22, map_private, false },
	{ "mmap special", 3, map_special, false },
	{ "mmap addresses", 1, map_reserve, false },
	{ "mmap shared", 5, map_shared, false },
	{ "mmap /dev/zero", 3, map_zero, false },
	{ "mmap file", 10, map_file, false },
	{ "munmap", 18, unmap, false },
	{ "mprotect", 18, protect, false },
	{ "madvise", 8, advise, false },
	{ "touch", 10, touch, false },
	{ 0 },
};
