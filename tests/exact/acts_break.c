/* SPDX-License-Identifier: MIT */
/* brk and sbrk. What is above the break that the test began with is in the model, and may be
 * protected, unmapped and mapped over like anything else. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/place.h"

#define BREAK_MOST ((size_t)8 << 20)

static uintptr_t page_up(uintptr_t addr)
{
	return (addr + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

static void break_moved(struct actor *a, uintptr_t from, uintptr_t to)
{
	struct run run = { page_up(from), page_up(to), IS_MAPPED | IS_CHARGED | IS_READABLE | IS_WRITABLE, NO_THING,
			   0 };
	if (run.end > run.start)
		model_put(&a->model, run);
	else
		model_forget(&a->model, run.end, run.start);
}

/* By the system call itself, which answers with the break. */
static uintptr_t break_now(void)
{
	return (uintptr_t)syscall(SYS_brk, 0L);
}

static intptr_t increment_roll(struct actor *a, struct dice *d, uintptr_t now)
{
	static const intptr_t wrong[] = { INTPTR_MAX, INTPTR_MIN, (intptr_t)1 << 46, -((intptr_t)1 << 46) };
	uint64_t kind = roll(d, 100);
	intptr_t above = (intptr_t)(now - a->break_start), step = (intptr_t)bytes_roll(d);
	if (kind < 4)
		return PICK(d, wrong);
	if (kind < 50 && (size_t)(above + step) < BREAK_MOST)
		return step;
	return step > above ? -above : -step;
}

static void move_break(struct actor *a, struct dice *d)
{
	uintptr_t now = break_now();
	if (a->break_start == 0)
		a->break_start = now;
	intptr_t by = increment_roll(a, d, now);
	uint64_t kind = roll(d, 3), before = books_refusals();
	say(a, "%s(%+ld) at %#lx", kind == 0 ? "sbrk" : kind == 1 ? "brk" : "syscall:brk", (long)by, now);
	long r = kind == 0 ? (long)sbrk(by) :
		 kind == 1 ? brk((void *)(now + (uintptr_t)by)) :
			     syscall(SYS_brk, now + (uintptr_t)by);
	int error = errno;
	say_result(a, r);
	uintptr_t then = break_now();
	/* A shrinking that the kernel refuses is no failure to libc. */
	if (kind == 0 && r != -1 && ((uintptr_t)r != now || (then != now + (uintptr_t)by && then != now)))
		fail("sbrk moved the break from %#lx to %#lx and said %#lx", now, then, r);
	if (r == -1 && then != now)
		fail("a break that was refused moved from %#lx to %#lx", now, then);
	if (r == -1 && error == ENOMEM)
		was_refused(a, before, (size_t)by);
	break_moved(a, now, then);
}

/* Several threads, one break: each gets a piece of its own, if it gets one. */
static void share_break(struct actor *a, struct dice *d)
{
	intptr_t by = (intptr_t)bytes_of(1 + roll(d, 8));
	say(a, "sbrk(%+ld)", (long)by);
	long r = (long)sbrk(by);
	say_result(a, r);
	/* The page it begins in may be somebody's who has unmapped it. */
	if (r != -1)
		*(volatile char *)((r + (long)PAGE_BYTES - 1) & -(long)PAGE_BYTES) = 1;
}

static void act_break(struct actor *a, struct dice *d)
{
	if (a->alone)
		move_break(a, d);
	else
		share_break(a, d);
}

const struct act acts_break[] = {
	{ "brk", 8, act_break, false },
	{ 0 },
};
