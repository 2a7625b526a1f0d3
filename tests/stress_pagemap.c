/* SPDX-License-Identifier: MIT */
/* Four threads on one page map. No page is anybody else's, but words, chunks, gibs and the
 * making of all their nodes are shared in three ways: pages dealt out in turn, chunks dealt
 * out in turn (whole ones beside split ones), and gibibytes nobody has touched yet. Every
 * answer must be exact, and so must the sum. Plain main, so that it runs under
 * -fsanitize=thread. Exits 0 when all was exact. The number of turns may be given. */
#include "reserve/pagemap.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/random.h"

#define THREADS 4
#define BASE (0x7full << 40)
#define GIB (1ull << 30)
#define CHUNK (2ull << 20)
#define OWN_PAGES 1024 /* of each thread, dealt out in turn */
#define OWN_CHUNKS 128

static void *memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static struct pagemap map = { .memory = memory };
static unsigned long turns = 200000;
static pthread_barrier_t start;

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t seed;
	uint64_t charged; /* by this thread, as the map answered */
	uint64_t wrong;
	bool page[OWN_PAGES];
	uint16_t chunk[OWN_CHUNKS]; /* pages charged at its front */
};

static void expect(struct worker *w, uint64_t got, uint64_t want)
{
	w->wrong += got != want;
}

static void turn_page(struct worker *w)
{
	uint64_t i = random_next(&w->seed) % OWN_PAGES;
	uintptr_t at = BASE + bytes_of(i * THREADS + w->number);
	if (w->page[i])
		expect(w, pagemap_forget(&map, at, 1), 1);
	else
		expect(w, (uint64_t)pagemap_pay(&map, at, 1), 1);
	w->charged += w->page[i] ? -1ull : 1ull;
	w->page[i] = !w->page[i];
}

/* To another number of pages, of which some are none and many are all. */
static void turn_chunk(struct worker *w)
{
	uint64_t i = random_next(&w->seed) % OWN_CHUNKS;
	uintptr_t at = BASE + GIB + (i * THREADS + w->number) * CHUNK;
	uint64_t before = w->chunk[i], after = random_next(&w->seed) % 768;
	after = after > 512 ? 512 : after < 128 ? 0 : after;
	expect(w, pagemap_count(&map, PAGEMAP_CHARGED, at, 512), before);
	if (after > before)
		expect(w, (uint64_t)pagemap_set(&map, PAGEMAP_CHARGED, at, after), after - before);
	else
		expect(w, pagemap_clear(&map, PAGEMAP_CHARGED, at + bytes_of(after), 512 - after), before - after);
	w->charged += after - before;
	w->chunk[i] = (uint16_t)after;
}

/* A page at a place of its own in a chunk that no thread may have seen, for ever; all
 * threads go through the chunks in the same order, so that they meet there. */
static void turn_new(struct worker *w, uint64_t turn)
{
	uintptr_t at = BASE + 2 * GIB + turn * CHUNK * 37;
	if (turn % 4 || at >= BASE + 400 * GIB)
		return;
	expect(w, (uint64_t)pagemap_set(&map, PAGEMAP_CHARGED, at + bytes_of(w->number), 1), 1);
	w->charged++;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	pthread_barrier_wait(&start);
	for (unsigned long turn = 0; turn < turns; turn++) {
		turn_page(w);
		turn_chunk(w);
		turn_new(w, turn);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker workers[THREADS];
	uint64_t charged = 0, wrong = 0;
	if (argc > 1)
		turns = strtoul(argv[1], NULL, 10);
	pthread_barrier_init(&start, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .number = i, .seed = 0x9e3779b97f4a7c15 * (i + 1) };
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			return 1;
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		charged += workers[i].charged;
		wrong += workers[i].wrong;
	}
	uint64_t counted = pagemap_count(&map, PAGEMAP_CHARGED, 0, PAGEMAP_PAGES);
	struct pagemap_usage usage;
	pagemap_usage(&map, &usage);
	printf("%lu turns of %d threads: %lu wrong answers, %lu pages charged, %lu counted, %lu stranded, "
	       "%lu of %lu bytes of nodes\n",
	       turns, THREADS, wrong, charged, counted, usage.stranded, usage.node_bytes, usage.block_bytes);
	bool whole = pagemap_forget(&map, 0, PAGEMAP_PAGES) == charged;
	return wrong || charged != counted || usage.stranded || !whole;
}
