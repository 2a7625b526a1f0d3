/* SPDX-License-Identifier: MIT */
#include "tests/exact/compare.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/exact.h"
#include "tests/exact/kernel.h"

struct tally tally;

static struct kernel kernel;

/* --- what should be charged --- */

/* All runs of all actors, by address. */
static struct run runs[ACTORS * RUNS];
static uint32_t runs_n;

static void run_add(struct run run)
{
	uint32_t i = runs_n++;
	for (; i > 0 && runs[i - 1].start > run.start; i--)
		runs[i] = runs[i - 1];
	runs[i] = run;
}

static void runs_collect(void)
{
	runs_n = 0;
	for (unsigned a = 0; a < ACTORS; a++)
		for (uint32_t i = 0; i < actors[a].model.n; i++)
			run_add(actors[a].model.run[i]);
}

struct account {
	uint64_t expected; /* pages that must be charged */
	uint64_t over[OVER_N];
	uint64_t covered; /* of what is stale: something stands there that we do not see go either */
};

static uint64_t pages_between(uintptr_t start, uintptr_t end)
{
	return (end - start) >> PAGE_SHIFT;
}

/* Two that do not belong together: whose is it, how old, and what else is around? */
static _Noreturn void fail_known(const char *what, const struct mapping *m, const struct run *run, uintptr_t start, uintptr_t end)
{
	fail("%s: %#lx-%#lx, of the mapping %#lx-%#lx (%#x); the model has %#lx-%#lx (%#x, thing %d, page %lu)", what, start,
	     end, m->start, m->end, m->is, run->start, run->end, run->is, (int)run->thing, run->page);
}

/* A piece of a mapping that the model knows. */
static void count_known(struct account *a, const struct mapping *m, const struct run *run, uintptr_t start,
			uintptr_t end)
{
	uint64_t pages = pages_between(start, end);
	if (!(run->is & IS_CHARGED)) {
		if (m->is & MAPPING_ACCOUNTED)
			fail_known("UNDER: the kernel counts what should cost nothing", m, run, start, end);
		return;
	}
	a->expected += pages;
	if (m->is & MAPPING_ACCOUNTED)
		return;
	if (m->is & MAPPING_NORESERVE)
		a->over[OVER_NORESERVE] += pages;
	else if (!(m->is & MAPPING_WRITABLE))
		a->over[OVER_PROTECTED] += pages;
	else
		fail_known("UNEXPLAINED: charged, writable, and not counted by the kernel", m, run, start, end);
}

/* A piece of a mapping that is not: libraries, the heap, stacks, Solvent's own. The loader may
 * put one unseen where something was that was not copied into this process. */
static void count_other(struct account *a, const struct mapping *m, const struct run *left, uintptr_t start,
			uintptr_t end)
{
	if (m->is & MAPPING_ACCOUNTED)
		a->expected += pages_between(start, end);
	else if (left && left->is & IS_CHARGED)
		a->over[OVER_NO_COPY] += pages_between(start, end);
}

/* The model says that the kernel has nothing here. What was not copied into this process is
 * charged until something comes to stand there, or is looked for there and not found. */
static void count_absent(struct account *a, const struct run *run, uintptr_t start, uintptr_t end)
{
	if (run->is & IS_MAPPED)
		fail("the model is wrong: nothing is mapped at %#lx-%#lx", start, end);
	if (run->is & IS_CHARGED)
		a->over[OVER_NO_COPY] += pages_between(start, end);
}

/* Both lists are walked together: each step is a piece in which neither changes. */
static void count_all(struct account *a)
{
	uintptr_t at = 0;
	for (uint32_t i = 0, m = 0; i < runs_n || m < kernel.n;) {
		const struct run *run = i < runs_n ? &runs[i] : NULL;
		const struct mapping *map = m < kernel.n ? &kernel.mapping[m] : NULL;
		bool in_run = run && run->start <= at, in_map = map && map->start <= at;
		uintptr_t run_edge = !run ? UINTPTR_MAX : in_run ? run->end : run->start;
		uintptr_t map_edge = !map ? UINTPTR_MAX : in_map ? map->end : map->start;
		uintptr_t edge = run_edge < map_edge ? run_edge : map_edge;
		if (in_run && in_map && run->is & IS_MAPPED)
			count_known(a, map, run, at, edge);
		else if (in_map)
			count_other(a, map, in_run ? run : NULL, at, edge);
		else if (in_run)
			count_absent(a, run, at, edge);
		i += in_run && edge == run->end;
		m += in_map && edge == map->end;
		at = edge;
	}
}

/* --- stacks --- */

#define GUARD_PAGES 17 /* the largest guard that the test asks for, and its rounding */

/* The main thread's: so much is paid for from the start. */
static void count_stack(struct account *a)
{
	static uint64_t paid;
	for (uint32_t i = 0; i < kernel.n; i++) {
		const struct mapping *m = &kernel.mapping[i];
		uint64_t pages = pages_between(m->start, m->end);
		if (!(m->is & MAPPING_STACK))
			continue;
		paid = paid ? paid : max_u64(pages, STACK_ALLOWANCE_PAGES);
		if (paid > pages) {
			a->expected += paid - pages;
			a->over[OVER_STACK] += paid - pages;
		}
	}
}

/* Without access, and right below what is counted: the guard of a stack. */
static bool is_guard(const struct mapping *m, struct stack piece)
{
	return !(m->is & (MAPPING_ACCOUNTED | MAPPING_WRITABLE)) && piece.end == m->end &&
	       pages_between(piece.start, piece.end) <= GUARD_PAGES &&
	       m + 1 < kernel.mapping + kernel.n && m[1].start == m->end && m[1].is & MAPPING_ACCOUNTED;
}

/* How far from `start` on, at most to `end`, no actor has mapped anything, or one has. */
static uintptr_t edge_of_runs(uintptr_t start, uintptr_t end, bool *ret_is_known)
{
	*ret_is_known = false;
	for (uint32_t i = 0; i < runs_n; i++) {
		const struct run *r = &runs[i];
		if (r->end <= start || !(r->is & IS_MAPPED))
			continue;
		*ret_is_known = r->start <= start;
		uintptr_t edge = *ret_is_known ? r->end : r->start;
		return edge < end ? edge : end;
	}
	return end;
}

/* A piece of a stack that was a thread's, in which neither list changes: where it is not
 * counted by the kernel, and not somebody else's, it may be charged still. */
static void count_stack_piece(struct account *a, const struct mapping *m, struct stack piece)
{
	bool in = m && m->start <= piece.start;
	uint64_t pages = pages_between(piece.start, piece.end);
	if (in && is_guard(m, piece)) {
		a->over[OVER_GUARD] += pages;
	} else if (!in || !(m->is & (MAPPING_ACCOUNTED | MAPPING_WRITABLE))) {
		a->over[OVER_STALE] += pages;
		a->covered += in ? pages : 0;
	}
}

static void count_thread_stack(struct account *a, struct stack s)
{
	const struct mapping *m;
	bool is_known;
	for (uintptr_t at = s.start, edge; at < s.end; at = edge) {
		m = kernel_at(&kernel, at);
		edge = !m ? s.end : m->start <= at ? m->end : m->start;
		edge = edge_of_runs(at, edge < s.end ? edge : s.end, &is_known);
		if (!is_known)
			count_stack_piece(a, m, (struct stack){ at, edge });
	}
}

static void count_thread_stacks(struct account *a)
{
	for (unsigned i = 0; i < ACTORS; i++)
		for (uint32_t s = 0; s < actors[i].stacks; s++)
			count_thread_stack(a, actors[i].stack[s]);
}

/* --- shared objects --- */

/* What is wrong with one of them, if it stays so. */
static char wrong[160];

__attribute__((format(printf, 1, 2))) static void wrong_say(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	vsnprintf(wrong, sizeof wrong, format, list);
	va_end(list);
}

/* What it may be charged at most. Beside threads that fork: what it grew to, as long as some child
 * held it. And what was written to a file, or allocated beyond its end, before it was charged, is found
 * when a call looks at it, done or not. */
static uint64_t object_most(const struct thing *t)
{
	struct stat st;
	uint64_t most = options.threads != 0 ? max_u64(t->most, t->pages) : t->pages;
	if (t->foreign)
		return INT64_MAX;
	if (t->kind != THING_TMPFS || !t->written)
		return most;
	if (t->fd < 0 || fstat(t->fd, &st) != 0)
		return INT64_MAX;
	uint64_t has = pages_of((uint64_t)st.st_blocks * 512); /* beyond its end, too */
	return max_u64(most, max_u64(has, pages_of((uint64_t)st.st_size)));
}

static void object_check(const struct actor *a, uint32_t thing, struct account *account)
{
	const struct thing *t = &a->model.thing[thing];
	struct stat st;
	bool held = thing_is_held(&a->model, thing), file = t->kind == THING_TMPFS;
	bool exists = held || (t->kind == THING_SYSV && !t->removed);
	int64_t pages = file ? books_object(OBJECT_FILE, t->dev, t->ino) :
			       books_object(OBJECT_SYSV, (uint64_t)t->shmid, 0);
	if (exists && (pages < (int64_t)t->pages || pages > (int64_t)object_most(t)))
		wrong_say("%u's %s (fd %d, id %d) is charged %ld pages, not %lu", a->number, file ? "file" : "segment", t->fd,
			  t->shmid, (long)pages, t->pages);
	if (!exists && !t->foreign && pages >= 0)
		wrong_say("%u's %s (fd %d, id %d) is charged %ld pages, and nobody holds it", a->number,
			  file ? "file" : "segment", t->fd, t->shmid, (long)pages);
	if (!exists || !file || t->fd < 0 || fstat(t->fd, &st) != 0)
		return;
	int64_t blocks = st.st_blocks / (int64_t)(PAGE_BYTES / 512);
	if (blocks > pages && !t->written)
		fail("UNDER: a file in memory has %ld pages, its object %ld", (long)blocks, (long)pages);
	account->over[OVER_HOLES] += pages > blocks ? (uint64_t)(pages - blocks) : 0;
}

/* Where a child may hold less than its parent, no less than it holds. */
static void anonymous_check(void)
{
	uint64_t pages = 0, charged_pages;
	uint32_t n = 0, charged = books_objects(OBJECT_ANON, &charged_pages);
	for (unsigned a = 0; a < ACTORS; a++)
		for (uint32_t i = 0; i < THINGS; i++) {
			const struct thing *t = &actors[a].model.thing[i];
			if (t->kind != THING_ANON || !thing_is_held(&actors[a].model, i))
				continue;
			pages += t->pages;
			n++;
		}
	bool child = actors[0].depth > 0;
	if (child ? charged < n || charged_pages < pages : charged != n || charged_pages != pages)
		wrong_say("of shared anonymous memory %u objects are charged %lu pages, not %u %lu", charged,
			  charged_pages, n, pages);
}

/* What died children held is given back when the broker has noticed. */
static void objects_check(struct account *account)
{
	for (int tries = 0; tries < 20000; tries++) {
		bool settled = books_others() == 0;
		wrong[0] = '\0';
		account->over[OVER_HOLES] = 0;
		for (unsigned a = 0; a < ACTORS; a++)
			for (uint32_t i = 0; i < THINGS; i++)
				if (actors[a].model.thing[i].kind == THING_TMPFS || actors[a].model.thing[i].kind == THING_SYSV)
					object_check(&actors[a], i, account);
		anonymous_check();
		if (!wrong[0] || settled)
			break;
		usleep(500);
	}
	if (wrong[0])
		fail("OBJECT: %s", wrong);
}

/* --- the verdict --- */

static const char *const over_names[OVER_N] = { "noreserve", "protected", "no copy", "stack", "guard", "stale",
						"holes" };

static void account_say(const struct account *a, uint64_t charge)
{
	char line[512];
	int n = snprintf(line, sizeof line, "    charged %lu, counted %lu, expected %lu", charge, kernel.accounted,
			 a->expected);
	for (int i = 0; i < OVER_N; i++)
		if (a->over[i])
			n += snprintf(line + n, sizeof line - (size_t)n, ", %s %lu", over_names[i], a->over[i]);
	line[n++] = '\n';
	if (write(2, line, (size_t)n) != n)
		_exit(1);
}

static void tally_add(const struct account *a)
{
	tally.checks++;
	for (int i = 0; i < OVER_N; i++) {
		tally.over[i].checks += a->over[i] != 0;
		tally.over[i].most = max_u64(tally.over[i].most, a->over[i]);
	}
}

static void kernel_read_or_fail(void)
{
	int error = kernel_read(&kernel);
	if (error || kernel_data(&kernel) != kernel.data)
		fail("smaps cannot be read (%d), or says %lu private writable pages and statm %lu", error,
		     kernel_data(&kernel), kernel.data);
}

/* What statm counts and nobody is charged for. */
static uint64_t uncosted(void)
{
	uint64_t pages = 0;
	for (uint32_t i = 0; i < kernel.n; i++) {
		uint32_t is = kernel.mapping[i].is;
		if (is & (MAPPING_DROPPABLE | MAPPING_HUGE) && (is & (MAPPING_WRITABLE | MAPPING_SHARED)) == MAPPING_WRITABLE)
			pages += pages_between(kernel.mapping[i].start, kernel.mapping[i].end);
	}
	return pages;
}

static void count(struct account *ret)
{
	*ret = (struct account){ 0 };
	kernel_read_or_fail();
	runs_collect();
	count_all(ret);
	count_stack(ret);
	count_thread_stacks(ret);
	if (options.verbose)
		account_say(ret, books_charge());
}

/* A request that no account can meet: before it is refused, whatever can be given back is. */
static void ask_too_much(void)
{
	if (mmap(NULL, (size_t)1 << 45, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		fail("32 TiB were not refused");
}

/* What may be charged or not. */
static uint64_t maybe(const struct account *a)
{
	return a->over[OVER_GUARD] + a->over[OVER_NO_COPY] + a->covered;
}

/* So many pages are charged that may be or not: which those are. */
static void maybe_settle(struct account *a, uint64_t pages)
{
	a->over[OVER_NO_COPY] = min_u64(a->over[OVER_NO_COPY], pages);
	a->over[OVER_GUARD] = min_u64(a->over[OVER_GUARD], pages - a->over[OVER_NO_COPY]);
	a->over[OVER_STALE] = pages - a->over[OVER_NO_COPY] - a->over[OVER_GUARD];
}

static void verdict(struct account *a)
{
	/* Where a stack may be gone and not noticed yet, it is noticed now. */
	if (books_charge() > a->expected + maybe(a)) {
		ask_too_much();
		count(a);
	}
	uint64_t charge = books_charge();
	bool good = charge >= kernel.accounted && charge + uncosted() >= kernel.data && charge >= a->expected &&
		    charge - a->expected <= maybe(a);
	if (!good) {
		account_say(a, charge);
		fail("%s: %ld pages", charge < a->expected ? "UNDER" : "UNEXPLAINED",
		     (long)(charge < a->expected ? a->expected - charge : charge - a->expected - maybe(a)));
	}
	maybe_settle(a, charge - a->expected);
}

void compare_or_fail(const char *when)
{
	struct account a;
	exact_when = when;
	count(&a);
	verdict(&a);
	objects_check(&a);
	tally_add(&a);
}

void compare_roughly_or_fail(const char *when)
{
	exact_when = when;
	kernel_read_or_fail();
	if (books_charge() < kernel.accounted)
		fail("UNDER: charged %lu, counted %lu", books_charge(), kernel.accounted);
	tally.checks++;
}
