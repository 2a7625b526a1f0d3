/* SPDX-License-Identifier: MIT */
/* What the ledger's own steps cost, without a kernel or a heap in the way.
 *
 * usage: ledger STEP...       a line "STEP NANOSECONDS" for each; without any: their names
 *        ledger turns STEP    a batch of it for each line that is read (tests/bench/turns.py)
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
#include <sys/prctl.h>
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
static bool goes_on;
static pthread_t thread;
static pid_t child;

static void *thread_main(void *work) __attribute__((noreturn));
static void *thread_main(void *work)
{
	pin(0);
	for (;;) {
		(*(stopwatch_work *)work)(1000);
		__atomic_store_n(&goes_on, true, __ATOMIC_RELAXED);
		pthread_testcancel();
	}
}

static void thread_begin(stopwatch_work work)
{
	static stopwatch_work its;
	its = work;
	goes_on = false;
	pthread_create(&thread, NULL, thread_main, &its);
	while (!__atomic_load_n(&goes_on, __ATOMIC_RELAXED))
		;
}

static void thread_end(stopwatch_work work)
{
	(void)work;
	pthread_cancel(thread);
	pthread_join(thread, NULL);
}

static void child_begin(stopwatch_work work)
{
	child = fork();
	if (child != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	pin(0);
	purse = &ledger->slot[1].purse;
	for (;;)
		work(1000);
}

static void child_end(stopwatch_work work)
{
	(void)work;
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
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

static const struct step {
	const char *name;
	stopwatch_work work;
	stopwatch_company begin, end;
} steps[] = {
	{ "bare-1", bare, stopwatch_alone, stopwatch_alone },
	{ "charge-1", charge, stopwatch_alone, stopwatch_alone },
	{ "bare-2", bare, thread_begin, thread_end },
	{ "charge-2", charge, thread_begin, thread_end },
	{ "charge-apart", charge, child_begin, child_end },
	{ "mark-page", mark_page, stopwatch_alone, stopwatch_alone },
	{ "mark-2m", mark_2m, stopwatch_alone, stopwatch_alone },
	{ "mark-1g", mark_1g, stopwatch_alone, stopwatch_alone },
	{ "mark-1t", mark_1t, stopwatch_alone, stopwatch_alone },
	{ "look-1t-empty", look_1t, stopwatch_alone, stopwatch_alone },
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

static const struct step *step_of(const char *name)
{
	for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
		if (strcmp(steps[i].name, name) == 0)
			return &steps[i];
	fprintf(stderr, "ledger: no step named %s\n", name);
	exit(2);
}

static void run(const struct step *s)
{
	s->begin(s->work);
	printf("%s %.2f\n", s->name, stopwatch(s->work));
	s->end(s->work);
}

int main(int argc, char **argv)
{
	prepare();
	if (argc == 3 && strcmp(argv[1], "turns") == 0) {
		const struct step *s = step_of(argv[2]);
		stopwatch_turns(s->work, s->begin, s->end);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		run(step_of(argv[i]));
	for (size_t i = 0; argc == 1 && i < sizeof steps / sizeof *steps; i++)
		puts(steps[i].name);
	return 0;
}
