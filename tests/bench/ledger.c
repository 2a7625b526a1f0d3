/* SPDX-License-Identifier: MIT */
/* What the ledger's own steps cost, without a kernel or a heap in the way.
 *
 * usage: ledger STEP...    a line "STEP NANOSECONDS" for each; without any: their names
 *
 * bare-*     two compare-and-swaps of a word, as little as a charge and an uncharge can be
 * charge-*   the same of a purse: one page is taken, and given back
 * *-1        by one thread; *-2: by each of two at once, on the same word
 * *-apart    by each of two processes of one account at once, each on the purse of its slot */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reserve/pagemap.h"
#include "reserve/purse.h"
#include "tests/bench/stopwatch.h"

static struct ledger *ledger; /* shared with children */
static struct purse *purse;   /* this process's */

/* --- charges --- */

static void bare(uint64_t n)
{
	uint64_t *word = &purse->word;
	while (n-- > 0) {
		uint64_t seen = __atomic_load_n(word, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(word, &seen, seen + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			;
		seen = __atomic_load_n(word, __ATOMIC_RELAXED);
		while (!__atomic_compare_exchange_n(word, &seen, seen - 1, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			;
	}
}

static void charge(uint64_t n)
{
	while (n-- > 0) {
		if (!purse_take(purse, 1))
			abort();
		purse_give(purse, 1);
	}
}

static void pin(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof set, &set);
}

/* One goes on beside what is timed, on the other processor. */
static bool stop;
static stopwatch_work beside;

static void *beside_main(void *unused)
{
	pin(0);
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
		beside(1000);
	return unused;
}

static double timed_beside(stopwatch_work work)
{
	pthread_t t;
	beside = work;
	stop = false;
	pthread_create(&t, NULL, beside_main, NULL);
	double ns = stopwatch(work);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	return ns;
}

static double timed_apart(stopwatch_work work)
{
	pid_t pid = fork();
	if (pid == 0) {
		pin(0);
		purse = &ledger->slot[1].purse;
		for (;;)
			work(1000);
	}
	double ns = stopwatch(work);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ns;
}

/* --- the page map --- */

static void *memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return p == MAP_FAILED ? NULL : p;
}

static struct pagemap map = { .memory = memory };

static void mark(uint64_t n, uint64_t pages)
{
	while (n-- > 0) {
		if (pagemap_set(&map, PAGEMAP_CHARGED, 1ull << 40 | 5 << PAGE_SHIFT, pages) != (int64_t)pages)
			abort();
		pagemap_forget(&map, 1ull << 40 | 5 << PAGE_SHIFT, pages);
	}
}

static void mark_page(uint64_t n) { mark(n, 1); }
static void mark_2m(uint64_t n) { mark(n, 512); }
static void mark_1g(uint64_t n) { mark(n, 1 << 18); }
static void mark_1t(uint64_t n) { mark(n, 1 << 28); }

static void look_1t(uint64_t n)
{
	while (n-- > 0)
		if (pagemap_count(&map, PAGEMAP_CHARGED, 1ull << 42, 1 << 28) != 0)
			abort();
}

/* --- */

static const struct {
	const char *name;
	double (*timed)(stopwatch_work work);
	stopwatch_work work;
} steps[] = {
	{ "bare-1", stopwatch, bare },
	{ "charge-1", stopwatch, charge },
	{ "bare-2", timed_beside, bare },
	{ "charge-2", timed_beside, charge },
	{ "charge-apart", timed_apart, charge },
	{ "mark-page", stopwatch, mark_page },
	{ "mark-2m", stopwatch, mark_2m },
	{ "mark-1g", stopwatch, mark_1g },
	{ "mark-1t", stopwatch, mark_1t },
	{ "look-1t-empty", stopwatch, look_1t },
};

static void prepare(void)
{
	pin((int)sysconf(_SC_NPROCESSORS_ONLN) - 1);
	ledger = mmap(NULL, sizeof *ledger, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ledger == MAP_FAILED)
		abort();
	ledger->slot[0].purse.word = ledger->slot[1].purse.word = PURSE(1000, 0);
	purse = &ledger->slot[0].purse;
}

static void run(const char *name)
{
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		if (strcmp(steps[i].name, name) == 0) {
			printf("%s %.2f\n", name, steps[i].timed(steps[i].work));
			return;
		}
	fprintf(stderr, "ledger: no step named %s\n", name);
	exit(2);
}

int main(int argc, char **argv)
{
	prepare();
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	for (size_t i = 0; argc == 1 && i < sizeof steps / sizeof *steps; i++)
		puts(steps[i].name);
	return 0;
}
