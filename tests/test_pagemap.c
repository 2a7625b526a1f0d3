/* SPDX-License-Identifier: MIT */
/* The page map against worked examples, against a byte for every page, and against a
 * memory hook that says no at every possible moment. */
#include "reserve/pagemap.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/random.h"

TestSuite(pagemap, .timeout = 60);

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)
#define PAGES(bytes) ((bytes) >> PAGE_SHIFT)
#define BASE (0x7full << 40) /* where mmap lives: the start of a table */
#define CHARGED PAGEMAP_CHARGED
#define EXEMPT PAGEMAP_EXEMPT
#define ALL_CHARGED(m) pagemap_count(m, CHARGED, 0, PAGEMAP_PAGES)
#define FIRST_NODES (2 * (64 + 512 * 8) + 3 * 64) /* a table and a gib */
#define LEAF_BYTES 128

/* The hook: blocks from the kernel, until it is told to refuse. */
static int hook_calls, hook_refuse_from = -1, hook_refuse_until;

static void *hook(size_t bytes)
{
	int call = __atomic_fetch_add(&hook_calls, 1, __ATOMIC_RELAXED);
	if (hook_refuse_from >= 0 && call >= hook_refuse_from && call < hook_refuse_until)
		return NULL;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void hook_refuse(int from, int until)
{
	hook_refuse_from = hook_calls + from;
	hook_refuse_until = until;
}

#define REFUSE_ALL() hook_refuse(0, INT32_MAX)

static struct pagemap *map_new(void)
{
	struct pagemap *m = calloc(1, sizeof(*m));
	m->memory = hook;
	return m;
}

static struct pagemap_usage usage_of(const struct pagemap *m)
{
	struct pagemap_usage u;
	pagemap_usage(m, &u);
	return u;
}

static bool next_run(const struct pagemap *m, enum pagemap_plane plane, uintptr_t from, struct pagemap_run *ret)
{
	return pagemap_next_within(m, plane, from, PAGEMAP_PAGES, ret);
}

Test(pagemap, counts_what_is_new_and_what_was_there)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE, 10), 10);
	cr_assert_eq(pagemap_set(m, CHARGED, BASE + 5 * PAGE_BYTES, 10), 5);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 100), 15);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE + 14 * PAGE_BYTES, 100), 1);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE + 3 * PAGE_BYTES, 4), 4);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE, 100), 11);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE, 100), 0);
	cr_assert_eq(ALL_CHARGED(m), 0);
}

Test(pagemap, rounds_an_address_down_to_its_page)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE + 123, 1), 1);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 1), 1);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE + PAGE_BYTES, 1), 0);
}

Test(pagemap, does_nothing_for_no_pages)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE, 0), 0);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE, 0), 0);
	cr_assert_eq(pagemap_unpaid(m, BASE, 0), 0);
	cr_assert_eq(hook_calls, 0);
}

Test(pagemap, keeps_the_planes_apart)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE, 8), 8);
	cr_assert_eq(pagemap_set(m, EXEMPT, BASE + 4 * PAGE_BYTES, 8), 8);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 100), 8);
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE, 100), 8);
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE, 6), 2);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 100), 8);
}

/* The two ways a mark gets there: in a leaf that was there, and as whole chunks. */
Test(pagemap, finds_what_is_exempt_in_any_gib)
{
	struct pagemap *m = map_new();
	struct pagemap_run run;
	pagemap_set(m, CHARGED, BASE + GIB - PAGE_BYTES, PAGES(3 * GIB));
	cr_assert_eq(pagemap_set(m, EXEMPT, BASE + GIB - PAGE_BYTES, 1), 1);
	cr_assert_eq(pagemap_set(m, EXEMPT, BASE + 73 * GIB, PAGES(2 * GIB)), PAGES(2 * GIB));
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE, PAGES(TIB)), PAGES(2 * GIB) + 1);
	cr_assert(next_run(m, EXEMPT, 0, &run) && run.addr == BASE + GIB - PAGE_BYTES && run.pages == 1);
	cr_assert(next_run(m, EXEMPT, BASE + GIB, &run) && run.addr == BASE + 73 * GIB && run.pages == PAGES(2 * GIB));
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE + 70 * GIB, PAGES(TIB)), PAGES(2 * GIB));
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE, PAGES(TIB)), 1);
	cr_assert(!next_run(m, EXEMPT, 0, &run));
}

Test(pagemap, pays_for_what_is_neither_charged_nor_exempt)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_unpaid(m, BASE, 4096), 4096, "nothing was ever marked here");
	pagemap_set(m, CHARGED, BASE, 1000);
	pagemap_set(m, EXEMPT, BASE + 2000 * PAGE_BYTES, 1000);
	cr_assert_eq(pagemap_unpaid(m, BASE, 4096), 2096);
	cr_assert_eq(pagemap_pay(m, BASE, 4096), 2096);
	cr_assert_eq(pagemap_unpaid(m, BASE, 4096), 0);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 4096), 3096);
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE, 4096), 1000);
	cr_assert_eq(pagemap_pay(m, BASE, 4096), 0);
}

Test(pagemap, forgets_both_planes_and_says_what_was_charged)
{
	struct pagemap *m = map_new();
	pagemap_set(m, CHARGED, BASE, 700);
	pagemap_set(m, EXEMPT, BASE + 700 * PAGE_BYTES, 700);
	cr_assert_eq(pagemap_forget(m, BASE, PAGES(4 * GIB)), 700);
	cr_assert_eq(pagemap_count(m, EXEMPT, 0, PAGEMAP_PAGES), 0);
	cr_assert_eq(ALL_CHARGED(m), 0);
}

Test(pagemap, marks_a_gibibyte_without_a_leaf)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE, PAGES(GIB)), PAGES(GIB));
	cr_assert_eq(usage_of(m).node_bytes, FIRST_NODES);
	cr_assert_eq(usage_of(m).block_bytes, PAGEMAP_BLOCK_BYTES);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE + MIB, PAGES(GIB) - PAGES(2 * MIB)), PAGES(GIB) - 512);
	cr_assert_eq(usage_of(m).node_bytes, FIRST_NODES + 2 * LEAF_BYTES);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE, 256), 256);
	cr_assert_eq(ALL_CHARGED(m), 512);
}

Test(pagemap, needs_no_leaf_when_nothing_changes)
{
	struct pagemap *m = map_new();
	pagemap_set(m, CHARGED, BASE, PAGES(4 * MIB));
	REFUSE_ALL();
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE + PAGE_BYTES, 7), 0);
	cr_assert_eq(pagemap_count(m, CHARGED, BASE + PAGE_BYTES, 7), 7);
	cr_assert_eq(pagemap_forget(m, BASE + 4 * MIB + PAGE_BYTES, 7), 0);
	cr_assert_eq(usage_of(m).node_bytes, FIRST_NODES);
}

Test(pagemap, asks_no_memory_for_an_empty_tebibyte)
{
	struct pagemap *m = map_new();
	cr_assert_eq(pagemap_forget(m, BASE, PAGES(TIB)), 0);
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE, PAGES(TIB)), 0);
	cr_assert_eq(pagemap_count(m, CHARGED, 0, PAGEMAP_PAGES), 0);
	cr_assert_eq(pagemap_unpaid(m, 0, PAGEMAP_PAGES), PAGEMAP_PAGES);
	cr_assert_eq(hook_calls, 0);
}

Test(pagemap, ends_where_user_space_ends)
{
	struct pagemap *m = map_new();
	uintptr_t end = 1ull << PAGEMAP_ADDRESS_BITS;
	cr_assert_eq(pagemap_set(m, CHARGED, end - 2 * PAGE_BYTES, 2), 2);
	cr_assert_eq(pagemap_set(m, CHARGED, end - 2 * PAGE_BYTES, 3), -ENOMEM);
	cr_assert_eq(pagemap_set(m, CHARGED, end, 1), -ENOMEM);
	cr_assert_eq(pagemap_prepare(m, UINTPTR_MAX, 1), -ENOMEM);
	cr_assert_eq(pagemap_pay(m, 0, UINT64_MAX), -ENOMEM);
	cr_assert_eq(pagemap_unpaid(m, end - 2 * PAGE_BYTES, 100), 0);
	cr_assert_eq(pagemap_unpaid(m, end, UINT64_MAX), 0);
	cr_assert_eq(pagemap_clear(m, CHARGED, end - PAGE_BYTES, UINT64_MAX), 1);
	cr_assert_eq(pagemap_clear(m, CHARGED, UINTPTR_MAX, UINT64_MAX), 0);
	cr_assert_eq(ALL_CHARGED(m), 1);
}

Test(pagemap, walks_runs_over_every_kind_of_boundary)
{
	static const struct {
		uint64_t at, bytes;
	} runs[] = {
		{ 64 * KIB, 4 * KIB },                           /* one page */
		{ BASE - 3 * MIB, 6 * MIB },                     /* a table and a chunk boundary */
		{ BASE + 10 * MIB, 2 * MIB },                    /* a chunk */
		{ BASE + 12 * MIB + 4 * KIB, 252 * KIB },        /* to a word's end */
		{ BASE + GIB, 2 * GIB },                         /* gibs */
		{ BASE + 4 * GIB - 4 * KIB, 2 * GIB + 8 * KIB }, /* gibs, and a page on either side */
		{ (1ull << 47) - 4 * KIB, 4 * KIB },             /* the last page */
	};
	struct pagemap *m = map_new();
	for (size_t i = 0; i < ARRAY_N(runs); i++)
		pagemap_set(m, EXEMPT, runs[i].at, PAGES(runs[i].bytes));
	uintptr_t at = 0;
	struct pagemap_run run;
	for (size_t i = 0; i < ARRAY_N(runs); i++, at = run.addr + bytes_of(run.pages)) {
		cr_assert(next_run(m, EXEMPT, at, &run), "run %zu", i);
		cr_assert_eq(run.addr, runs[i].at, "run %zu begins at %lx", i, run.addr);
		cr_assert_eq(run.pages, PAGES(runs[i].bytes), "run %zu has %lu pages", i, run.pages);
	}
	cr_assert_not(next_run(m, EXEMPT, at, &run));
	cr_assert_not(next_run(m, CHARGED, 0, &run));
	cr_assert(next_run(m, EXEMPT, BASE + MIB, &run));
	cr_assert_eq(run.addr, BASE + MIB, "a run is cut where the search begins");
	cr_assert_eq(run.pages, 512);
	cr_assert(pagemap_next_within(m, EXEMPT, BASE + 5 * MIB, PAGES(5 * MIB) + 300, &run));
	cr_assert_eq(run.addr, BASE + 10 * MIB);
	cr_assert_eq(run.pages, 300, "and where it ends");
	cr_assert_not(pagemap_next_within(m, EXEMPT, BASE + 5 * MIB, PAGES(5 * MIB), &run));
	cr_assert_not(pagemap_next_within(m, EXEMPT, BASE + 10 * MIB, 0, &run));
}

/* --- when memory says no --- */

/* Uses up the one block that there is, but for what is kept; whole chunks first, so that
 * some can be split later. */
static struct pagemap *map_new_full(enum pagemap_plane plane)
{
	struct pagemap *m = map_new();
	pagemap_set(m, plane, BASE, PAGES(256 * MIB));
	REFUSE_ALL();
	uintptr_t at = BASE + GIB / 2;
	while (pagemap_set(m, CHARGED, at, 1) == 1)
		at += 2 * MIB;
	for (at = BASE + GIB; pagemap_set(m, CHARGED, at, PAGES(GIB)) > 0; at += GIB)
		;
	pagemap_clear(m, CHARGED, BASE + GIB / 2, PAGES(TIB));
	return m;
}

Test(pagemap, a_refused_set_changes_nothing)
{
	struct pagemap *m = map_new();
	REFUSE_ALL();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE, 1), -ENOMEM);
	cr_assert_eq(pagemap_prepare(m, BASE, 1), -ENOMEM);
	cr_assert_eq(ALL_CHARGED(m), 0);
	m = map_new_full(CHARGED);
	uint64_t before = ALL_CHARGED(m);
	cr_assert_eq(pagemap_set(m, CHARGED, BASE + GIB - PAGE_BYTES, PAGES(40 * GIB)), -ENOMEM);
	cr_assert_eq(pagemap_pay(m, BASE + GIB - PAGE_BYTES, PAGES(40 * GIB)), -ENOMEM);
	cr_assert_eq(ALL_CHARGED(m), before);
}

Test(pagemap, what_was_prepared_cannot_fail)
{
	struct pagemap *m = map_new();
	uintptr_t at = BASE - MIB - PAGE_BYTES;
	cr_assert_eq(pagemap_prepare(m, at, PAGES(3 * GIB)), 0);
	cr_assert_eq(ALL_CHARGED(m), 0);
	REFUSE_ALL();
	cr_assert_eq(pagemap_set(m, EXEMPT, at, PAGES(3 * GIB)), PAGES(3 * GIB));
	cr_assert_eq(pagemap_set(m, CHARGED, at, PAGES(3 * GIB)), PAGES(3 * GIB));
}

Test(pagemap, has_in_stock_what_any_place_may_need)
{
	struct pagemap *m = map_new();
	for (int i = 0; i < 3; i++) {
		uintptr_t at = BASE - (2 * i + 1) * TIB - 3 * PAGE_BYTES;
		hook_refuse(0, 0);
		cr_assert_eq(pagemap_stock(m, 2, PAGES(GIB)), 0);
		REFUSE_ALL();
		cr_assert_eq(pagemap_set(m, CHARGED, at, 7), 7, "place %d", i);
		cr_assert_eq(pagemap_set(m, EXEMPT, at + GIB - 7 * PAGE_BYTES, 7), 7, "place %d", i);
	}
	cr_assert_eq(pagemap_stock(m, 100000, PAGES(GIB)), -ENOMEM);
}

/* In each of five blocks a little is left that no gib fits in: together it would be room for four. */
static struct pagemap *map_new_crumbled(void)
{
	struct pagemap *m = map_new();
	uintptr_t gib = BASE, leaf = BASE;
	for (int block = 0; block < 5; block++) {
		int gibs = block == 0 ? 12 : 13, leaves = block == 0 ? 12 : 11; /* the first has the table */
		for (int i = 0; i < gibs; i++, gib += GIB)
			cr_assert_eq(pagemap_set(m, CHARGED, gib, PAGES(GIB)), PAGES(GIB));
		for (int i = 0; i < leaves; i++, leaf += 2 * MIB)
			cr_assert_eq(pagemap_set(m, CHARGED, leaf, 1), 0);
		cr_assert_eq(usage_of(m).block_bytes, (block + 1) * PAGEMAP_BLOCK_BYTES);
	}
	return m;
}

Test(pagemap, does_not_take_for_stock_what_no_node_fits_in)
{
	struct pagemap *m = map_new_crumbled();
	uintptr_t elsewhere = BASE - TIB - 3 * PAGE_BYTES;
	REFUSE_ALL();
	cr_assert_eq(pagemap_set(m, CHARGED, BASE + 400 * GIB, 1), -ENOMEM, "there is room for a gib");
	cr_assert_eq(pagemap_stock(m, 1, 1), -ENOMEM);
	hook_refuse(0, 0);
	cr_assert_eq(pagemap_stock(m, 1, 7), 0);
	REFUSE_ALL();
	cr_assert_eq(pagemap_set(m, CHARGED, elsewhere, 7), 7);
}

Test(pagemap, keeps_room_to_clear_when_memory_says_no)
{
	struct pagemap *m = map_new_full(CHARGED);
	uint64_t charged = PAGES(256 * MIB);
	for (int i = 0; i < 32; i++)
		cr_assert_eq(pagemap_clear(m, CHARGED, BASE + i * 2 * MIB + PAGE_BYTES, 3), 3, "chunk %d", i);
	charged -= 32 * 3;
	cr_assert_eq(usage_of(m).stranded, 0);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE + 32 * 2 * MIB + PAGE_BYTES, 3), 0, "no room is left");
	cr_assert_eq(usage_of(m).stranded, 3);
	cr_assert_eq(ALL_CHARGED(m), charged);
	hook_refuse(0, 0);
	cr_assert_eq(pagemap_clear(m, CHARGED, BASE + 32 * 2 * MIB + PAGE_BYTES, 3), 3, "forgotten again later");
}

Test(pagemap, exempt_marks_go_whole_when_they_cannot_be_split)
{
	struct pagemap *m = map_new_full(EXEMPT);
	for (int i = 0; i < 32; i++)
		pagemap_clear(m, EXEMPT, BASE + i * 2 * MIB, 1);
	cr_assert_eq(pagemap_clear(m, EXEMPT, BASE + 64 * MIB, 1), 1);
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE + 64 * MIB, 512), 0, "never exempt by accident");
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE + 66 * MIB, 512), 512);
	cr_assert_eq(pagemap_forget(m, BASE + 66 * MIB, 1), 0);
	cr_assert_eq(pagemap_count(m, EXEMPT, BASE + 66 * MIB, 512), 0);
	cr_assert_eq(usage_of(m).stranded, 0);
}

/* One operation somewhere in 200 GiB. `purse` is what a shim would have charged: it must
 * equal the marks. */
static void act_at_random(struct pagemap *m, uint64_t *seed, int64_t *purse, int row)
{
	uintptr_t at = BASE + random_next(seed) % 200 * GIB + random_next(seed) % 8 * MIB;
	uint64_t pages = random_next(seed) % 3 ? PAGES(4 * MIB) : random_next(seed) % 600 + 1;
	uint64_t before = pagemap_count(m, CHARGED, at, pages), got;
	uint64_t unpaid = pagemap_unpaid(m, at, pages);
	int64_t set;
	switch (random_next(seed) % 5) {
	case 0:
	case 1:
		set = pagemap_set(m, CHARGED, at, pages);
		cr_assert(set == -ENOMEM || set == (int64_t)(pages - before), "row %d", row);
		*purse += set < 0 ? 0 : set;
		break;
	case 2:
		set = pagemap_pay(m, at, pages);
		cr_assert(set == -ENOMEM || set == (int64_t)unpaid, "row %d", row);
		*purse += set < 0 ? 0 : set;
		break;
	case 3:
		got = pagemap_clear(m, CHARGED, at, pages);
		cr_assert_eq(got + pagemap_count(m, CHARGED, at, pages), before, "row %d", row);
		*purse -= (int64_t)got;
		break;
	default:
		pagemap_set(m, EXEMPT, at, pages);
		got = pagemap_forget(m, at, pages);
		cr_assert_eq(got + pagemap_count(m, CHARGED, at, pages), before, "row %d", row);
		cr_assert_eq(pagemap_count(m, EXEMPT, at, pages), 0, "row %d", row);
		*purse -= (int64_t)got;
	}
}

/* Plays the same operations with a hook that refuses the calls [from, until). Returns how
 * often the hook was called. */
static int play(int from, int until, int row)
{
	struct pagemap *m = map_new();
	uint64_t seed = 0x9e3779b97f4a7c15;
	int64_t purse = 0;
	hook_calls = 0;
	hook_refuse_from = from;
	hook_refuse_until = until;
	for (int n = 0; n < 4000; n++)
		act_at_random(m, &seed, &purse, row);
	int calls = hook_calls;
	cr_assert_eq(ALL_CHARGED(m), (uint64_t)purse, "row %d", row);
	hook_refuse_until = 0;
	cr_assert_eq(pagemap_forget(m, 0, PAGEMAP_PAGES), (uint64_t)purse, "row %d", row);
	free(m);
	return calls;
}

/* Once, three times or for ever, from the first call on, from the second... */
Test(pagemap, survives_a_refusal_at_every_call)
{
	static const int refusals[] = { 1, 3, INT32_MAX / 2 };
	int row = 0, calls = play(0, 0, row);
	cr_assert(calls > 10, "only %d calls: there is little to refuse", calls);
	for (int from = 0; from < calls; from++)
		for (size_t i = 0; i < ARRAY_N(refusals); i++)
			cr_assert(play(from, from + refusals[i], ++row) > from);
}

/* --- against a byte for every page --- */

#define WINDOW_PAGES (8 * 512 * 512ull)
#define WINDOW (BASE - 4 * GIB) /* half of it in another table */

struct model {
	uint8_t page[2][WINDOW_PAGES];
};

static uint64_t model_count(const struct model *o, int plane, uint64_t at, uint64_t pages)
{
	uint64_t n = 0;
	for (uint64_t i = at; i < at + pages; i++)
		n += o->page[plane][i];
	return n;
}

static uint64_t model_fill(struct model *o, int plane, uint64_t at, uint64_t pages, bool marked)
{
	uint64_t n = model_count(o, plane, at, pages);
	memset(&o->page[plane][at], marked, pages);
	return marked ? pages - n : n;
}

static uint64_t model_pay(struct model *o, uint64_t at, uint64_t pages, bool change)
{
	uint64_t n = 0;
	for (uint64_t i = at; i < at + pages; i++) {
		bool unpaid = !o->page[CHARGED][i] && !o->page[EXEMPT][i];
		n += unpaid;
		if (change)
			o->page[CHARGED][i] |= unpaid;
	}
	return n;
}

/* Mostly a few pages, often some chunks, rarely gibibytes; on a boundary or beside one. */
static void range_at_random(uint64_t *seed, uint64_t *ret_at, uint64_t *ret_pages)
{
	static const struct {
		uint32_t up_to; /* of 1000 */
		uint64_t step, most;
	} scales[] = { { 600, 1, 64 }, { 900, 64, 16 }, { 985, 512, 6 }, { 1000, 512 * 512, 3 } };
	uint64_t dice = random_next(seed) % 1000;
	size_t s = 0;
	while (dice >= scales[s].up_to)
		s++;
	uint64_t at = random_next(seed) % (WINDOW_PAGES / scales[s].step) * scales[s].step;
	uint64_t pages = (random_next(seed) % scales[s].most + 1) * scales[s].step;
	if (random_next(seed) % 2) {
		at += random_next(seed) % 3;
		pages -= random_next(seed) % 2;
	}
	*ret_at = min_u64(at, WINDOW_PAGES - 1);
	*ret_pages = min_u64(pages, WINDOW_PAGES - *ret_at);
}

static void compare_at_random(struct pagemap *m, struct model *o, uint64_t *seed, int row)
{
	uint64_t at, pages, got, want;
	range_at_random(seed, &at, &pages);
	uintptr_t addr = WINDOW + bytes_of(at);
	enum pagemap_plane plane = random_next(seed) % 2;
	int op = (int)(random_next(seed) % 7);
	switch (op) {
	case 0:
	case 1:
		got = (uint64_t)pagemap_set(m, plane, addr, pages);
		want = model_fill(o, plane, at, pages, true);
		break;
	case 2:
		got = pagemap_clear(m, plane, addr, pages);
		want = model_fill(o, plane, at, pages, false);
		break;
	case 3:
		got = pagemap_count(m, plane, addr, pages);
		want = model_count(o, plane, at, pages);
		break;
	case 4:
		got = pagemap_forget(m, addr, pages);
		model_fill(o, EXEMPT, at, pages, false);
		want = model_fill(o, CHARGED, at, pages, false);
		break;
	case 5:
		got = pagemap_unpaid(m, addr, pages);
		want = model_pay(o, at, pages, false);
		break;
	default:
		got = (uint64_t)pagemap_pay(m, addr, pages);
		want = model_pay(o, at, pages, true);
	}
	cr_assert_eq(got, want, "row %d: op %d, plane %d, page %lu of the window, %lu pages: %lu, not %lu", row, op,
		     plane, at, pages, got, want);
}

static void compare_runs(const struct pagemap *m, const struct model *o)
{
	struct pagemap_run run;
	for (int plane = 0; plane < 2; plane++) {
		uint64_t page = 0;
		for (uintptr_t at = 0; next_run(m, plane, at, &run); at = run.addr + bytes_of(run.pages)) {
			uint64_t first = PAGES(run.addr - WINDOW);
			cr_assert_eq(model_count(o, plane, page, first - page), 0, "nothing was passed over");
			cr_assert_eq(model_count(o, plane, first, run.pages), run.pages);
			cr_assert(first + run.pages == WINDOW_PAGES || !o->page[plane][first + run.pages]);
			page = first + run.pages;
		}
		cr_assert_eq(model_count(o, plane, page, WINDOW_PAGES - page), 0);
	}
}

Test(pagemap, agrees_with_a_byte_for_every_page)
{
	struct pagemap *m = map_new();
	struct model *o = calloc(1, sizeof(*o));
	uint64_t seed = 20240229;
	for (int row = 0; row < 200000; row++) {
		compare_at_random(m, o, &seed, row);
		if (row % 20000 == 0)
			compare_runs(m, o);
	}
	compare_runs(m, o);
	cr_assert_eq(ALL_CHARGED(m), model_count(o, CHARGED, 0, WINDOW_PAGES));
	cr_assert_eq(pagemap_count(m, EXEMPT, 0, PAGEMAP_PAGES), model_count(o, EXEMPT, 0, WINDOW_PAGES));
	cr_assert_eq(usage_of(m).stranded, 0);
	free(o);
}

/* --- fork --- */

struct toggler {
	struct pagemap *map;
	bool stop;
	uint64_t turns;
};

#define TOGGLED (BASE + MIB) /* a part of a chunk, whole chunks, a part again */
#define TOGGLED_PAGES 2048

static void *toggle(void *arg)
{
	struct toggler *t = arg;
	while (!__atomic_load_n(&t->stop, __ATOMIC_RELAXED)) {
		pagemap_set(t->map, CHARGED, TOGGLED, TOGGLED_PAGES);
		pagemap_forget(t->map, TOGGLED, TOGGLED_PAGES);
		/* New leaves and gibs, too. */
		pagemap_set(t->map, CHARGED, BASE + GIB + t->turns % 4096 * 2 * MIB, 1);
		__atomic_fetch_add(&t->turns, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* What the child must find; a number that says what it did not, as its exit status. */
static int child_check(struct pagemap *m)
{
	if (pagemap_count(m, CHARGED, BASE, PAGES(MIB)) != PAGES(MIB))
		return 1; /* the neighbour in the chunk that is being toggled */
	pagemap_forget(m, TOGGLED, TOGGLED_PAGES);
	if (pagemap_count(m, CHARGED, TOGGLED, TOGGLED_PAGES))
		return 2;
	if (pagemap_set(m, CHARGED, TOGGLED, TOGGLED_PAGES) != TOGGLED_PAGES)
		return 3;
	if (pagemap_clear(m, CHARGED, TOGGLED, TOGGLED_PAGES) != TOGGLED_PAGES)
		return 4;
	pagemap_forget(m, BASE + GIB, PAGES(16 * GIB));
	if (pagemap_set(m, CHARGED, BASE + GIB, PAGES(9 * GIB)) != (int64_t)PAGES(9 * GIB))
		return 5;
	if (ALL_CHARGED(m) != PAGES(9 * GIB) + PAGES(MIB))
		return 6;
	return 0;
}

Test(pagemap, a_fork_in_the_middle_leaves_a_usable_map)
{
	struct toggler t = { .map = map_new() };
	pthread_t thread;
	pagemap_set(t.map, CHARGED, BASE, PAGES(MIB));
	cr_assert_eq(pthread_create(&thread, NULL, toggle, &t), 0);
	while (__atomic_load_n(&t.turns, __ATOMIC_RELAXED) == 0)
		;
	for (int i = 0; i < 300; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(child_check(t.map));
		int status = -1;
		cr_assert_eq(waitpid(child, &status, 0), child);
		cr_assert_eq(status, 0, "fork %d: exit status %d", i, WEXITSTATUS(status));
	}
	__atomic_store_n(&t.stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
}

/* --- signals --- */

static struct pagemap *signalled;
static volatile uint64_t signals, signals_wrong;

/* The odd pages of TOGGLED, while the even ones are being worked on. */
static void on_signal(int number)
{
	(void)number;
	uintptr_t at = TOGGLED + bytes_of(signals % (TOGGLED_PAGES / 2) * 2 + 1);
	bool wrong = pagemap_pay(signalled, at, 1) != 1 || pagemap_count(signalled, CHARGED, at, 1) != 1 ||
		     pagemap_forget(signalled, at, 1) != 1;
	signals_wrong += wrong;
	signals++;
}

Test(pagemap, a_signal_in_the_middle_finds_and_leaves_it_exact)
{
	uint64_t charged = 0, wrong = 0;
	signalled = map_new();
	signal(SIGALRM, on_signal);
	struct itimerval often = { { 0, 50 }, { 0, 50 } }, never = { 0 };
	setitimer(ITIMER_REAL, &often, NULL);
	for (uint64_t i = 0; signals < 2000; i++) {
		uintptr_t at = TOGGLED + bytes_of(i % (TOGGLED_PAGES / 2) * 2);
		bool set = i / (TOGGLED_PAGES / 2) % 2 == 0;
		uint64_t n = set ? (uint64_t)pagemap_set(signalled, CHARGED, at, 1) : pagemap_forget(signalled, at, 1);
		wrong += n != 1;
		charged += set ? 1 : -1ull;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	cr_assert_eq(wrong + signals_wrong, 0, "%lu here, %lu in the handler", wrong, signals_wrong);
	cr_assert_eq(ALL_CHARGED(signalled), charged);
}
