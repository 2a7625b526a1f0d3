/* SPDX-License-Identifier: MIT */
/* One sequence. Alone, or with threads: then these make calls of their own between two
 * barriers, and at the barrier everything is compared and the main thread makes one call. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/compare.h"
#include "tests/exact/exact.h"

#define GIB ((uintptr_t)1 << 30)
#define WINDOWS ((uintptr_t)1 << 44)
#define ACTOR_STACK_BYTES ((size_t)512 << 10)

struct options options = { .seed = 1, .steps = 1000, .tally = -1 };
struct actor actors[ACTORS];
const char *exact_when = "at the start";

static const char *only; /* one character a step; NULL: all are done */
static uint64_t only_n;

/* --- saying --- */

static void line_write(const char *format, va_list list)
{
	char line[512];
	int n = vsnprintf(line, sizeof line - 1, format, list);
	n = n < (int)sizeof line - 1 ? n : (int)sizeof line - 2;
	line[n++] = '\n';
	if (write(2, line, (size_t)n) != n)
		_exit(1);
}

void say(struct actor *a, const char *format, ...)
{
	char full[400];
	va_list list;
	__atomic_fetch_add(&tally.calls, 1, __ATOMIC_RELAXED);
	if (options.verbose) {
		snprintf(full, sizeof full, "  %*s%u.%lu %s", (int)a->depth * 4, "", a->number, a->step, format);
		va_start(list, format);
		line_write(full, list);
		va_end(list);
	}
	errno = 77;
}

static void say_plain(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	line_write(format, list);
	va_end(list);
}

void say_result(struct actor *a, long result)
{
	int error = errno;
	if (options.verbose && result == -1)
		say_plain("      %*s= -1 %s", (int)a->depth * 4, "", strerrorname_np(error));
	else if (options.verbose && result != 0)
		say_plain("      %*s= %#lx", (int)a->depth * 4, "", result);
	if (result != -1 && error != 77)
		fail("a call succeeded and touched errno: %d", error);
	errno = error;
}

void say_error(struct actor *a, int error)
{
	if (options.verbose && error)
		say_plain("      %*s: %s", (int)a->depth * 4, "", strerrorname_np(error));
}

void fail(const char *format, ...)
{
	va_list list;
	va_start(list, format);
	line_write(format, list);
	va_end(list);
	for (unsigned i = 0; i < ACTORS; i++)
		shared_clean(&actors[i]);
	say_plain("FAIL %s, step %lu, pid %d", exact_when, actors[0].step, getpid());
	_exit(1);
}

bool was_refused(struct actor *a, uint64_t before, uint64_t bytes)
{
	uint64_t limit = books()->header.limit;
	const struct refusal *r = books_last_refusal(before);
	if (books_refusals() == before)
		return false;
	__atomic_fetch_add(&tally.refused, 1, __ATOMIC_RELAXED);
	if (options.verbose)
		say_plain("      %*srefused", (int)a->depth * 4, "");
	if (a->alone && a->depth == 0 && r && (r->reason == REASON_LIMIT || r->reason == REASON_POOL) &&
	    books_others() == 0 && bytes < SIZE_MAX / 2 && books_used() + pages_of(bytes) <= limit)
		fail("REFUSED %lu pages with %lu of %lu in use (%lu pages were asked for, with %u in use)", pages_of(bytes),
		     books_used(), limit, pages_of(r->bytes), r->used);
	/* Where others are at it, it may have been one of theirs, and the kernel that failed ours. */
	return a->alone;
}

/* --- the tally --- */

void tally_start(void)
{
	memset(&tally, 0, sizeof tally);
}

void tally_write(void)
{
	if (options.tally >= 0 && write(options.tally, &tally, sizeof tally) != sizeof tally)
		fail("the tally cannot be written");
}

/* --- playing --- */

static const struct act *const all_acts[] = { acts_map,	   acts_remap,	acts_break,   acts_shared,
					      acts_heap,   acts_thread,	acts_process, acts_library };

static uint64_t weights(void)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < ARRAY_N(all_acts); i++)
		for (const struct act *act = all_acts[i]; act->name; act++)
			sum += act->weight;
	return sum;
}

static const struct act *act_pick(struct dice *d)
{
	uint64_t at = roll(d, weights());
	for (size_t i = 0; i < ARRAY_N(all_acts); i++)
		for (const struct act *act = all_acts[i]; act->name; act++) {
			if (at < act->weight)
				return act;
			at -= act->weight;
		}
	return all_acts[0];
}

/* Where there is too much already, less. */
static void make_room(struct actor *a, struct dice *d)
{
	struct model *m = &a->model;
	while (m->n > RUNS_WANTED) {
		struct run run = m->run[roll(d, m->n)];
		say(a, "munmap(%#lx, %#zx), to make room", run.start, run.end - run.start);
		int r = munmap((void *)run.start, run.end - run.start);
		say_result(a, r);
		model_forget(m, run.start, run.end);
		things_settle(m);
	}
}

static void step(struct actor *a, uint64_t number)
{
	struct dice d = { .seed = options.seed * 16 + a->number, .step = number };
	a->step = number;
	const struct act *act = act_pick(&d);
	if (act->lonely && !a->alone)
		return;
	if (a->alone)
		exact_when = act->name;
	make_room(a, &d);
	act->run(a, &d);
	things_settle(&a->model);
	if (a->alone)
		compare_or_fail(act->name);
}

void play(struct actor *a, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		if (!only || (i < only_n && only[i] == '1'))
			step(a, i);
}

/* --- together --- */

static pthread_barrier_t quiet, busy;

static void *actor_main(void *arg)
{
	struct actor *a = arg;
	thread_remember(a, ACTOR_STACK_BYTES, PAGE_BYTES);
	for (uint64_t at = 0; at < options.steps; at += STEPS_TOGETHER) {
		pthread_barrier_wait(&busy);
		play(a, at, at + STEPS_TOGETHER);
		pthread_barrier_wait(&quiet);
	}
	pthread_barrier_wait(&busy); /* ending is a call, too: not while others compare */
	return NULL;
}

static void together(void)
{
	pthread_t id[ACTORS];
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, ACTOR_STACK_BYTES);
	pthread_barrier_init(&quiet, NULL, options.threads + 1);
	pthread_barrier_init(&busy, NULL, options.threads + 1);
	for (unsigned i = 1; i <= options.threads; i++)
		if (pthread_create(&id[i], &attr, actor_main, &actors[i]) != 0)
			fail("no thread");
	for (uint64_t at = 0; at < options.steps; at += STEPS_TOGETHER) {
		pthread_barrier_wait(&busy);
		pthread_barrier_wait(&quiet);
		compare_or_fail("at a barrier");
		tally.barriers++;
		play(&actors[0], at, at + 1);
	}
	pthread_barrier_wait(&busy);
	for (unsigned i = 1; i <= options.threads; i++)
		pthread_join(id[i], NULL);
}

/* --- starting --- */

static void only_read(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		fail("%s cannot be read", path);
	static char text[1 << 20];
	ssize_t n = read(fd, text, sizeof text);
	close(fd);
	only = text;
	only_n = n > 0 ? (uint64_t)n : 0;
}

static void options_read(int argc, char **argv)
{
	int option;
	while ((option = getopt(argc, argv, "s:n:t:o:w:qv")) != -1)
		switch (option) {
		case 's':
			options.seed = strtoul(optarg, NULL, 10);
			break;
		case 'n':
			options.steps = strtoul(optarg, NULL, 10);
			break;
		case 't':
			options.threads = (unsigned)atoi(optarg);
			break;
		case 'o':
			options.only = optarg;
			break;
		case 'w':
			options.tally = atoi(optarg);
			break;
		case 'q':
			break;
		case 'v':
			options.verbose = true;
			break;
		default:
			fail("exact [-s SEED] [-n STEPS] [-t THREADS] [-o FILE] [-w FD] [-q|-v]");
		}
	if (options.threads >= ACTORS)
		fail("at most %d threads", ACTORS - 1);
}

/* The same addresses each time, so that a sequence can be played again. */
static void addresses_fix(char **argv)
{
	int now = personality(0xffffffff);
	if (now & ADDR_NO_RANDOMIZE)
		return;
	personality((unsigned long)now | ADDR_NO_RANDOMIZE);
	execv("/proc/self/exe", argv);
}

static void actors_start(void)
{
	for (unsigned i = 0; i < ACTORS; i++) {
		model_start(&actors[i].model);
		actors[i].number = i;
		actors[i].alone = i == 0;
		/* The middle lies on a border between two GiB, for the page map's sake. */
		actors[i].window = WINDOWS + (4 * i + 1) * GIB - bytes_of(WINDOW_PAGES / 2);
	}
}

int main(int argc, char **argv)
{
	bool verify = argc == 2 && strcmp(argv[1], "verify") == 0;
	if (!verify) {
		options_read(argc, argv);
		addresses_fix(argv);
	}
	if (!books())
		fail("this process is in no account");
	actors_start();
	if (verify) {
		actors[0].depth = 1; /* somebody started us, and holds objects of its own */
		compare_or_fail("in a new program");
		return 0;
	}
	if (options.only)
		only_read(options.only);
	/* What the first of anything makes is made before it is counted. */
	compare_or_fail("at the start");
	if (options.threads)
		together();
	else
		play(&actors[0], 0, options.steps);
	for (unsigned i = 0; i < ACTORS; i++)
		shared_clean(&actors[i]);
	tally_write();
	return 0;
}
