/* SPDX-License-Identifier: MIT */
/* Times something short: as many times in a row as it takes for the clock not to matter, and
 * that again and again; the median of them is what it took. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define STOPWATCH_BATCH_NS 2000000
#define STOPWATCH_BATCHES 41

static inline double stopwatch_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline int stopwatch_order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static inline double stopwatch_median(double *values, size_t n)
{
	qsort(values, n, sizeof *values, stopwatch_order);
	return values[n / 2];
}

/* Does it `n` times. */
typedef void (*stopwatch_work)(uint64_t n);

static inline double stopwatch_batch(stopwatch_work work, uint64_t n)
{
	double from = stopwatch_now();
	work(n);
	return (stopwatch_now() - from) / (double)n;
}

/* How often it is done in a batch; and how many of those there are, fewer of what takes longer than one. */
struct stopwatch_plan {
	uint64_t n;
	size_t batches;
};

/* The less of two: a thread that was started late says nothing of how long it takes. */
static inline double stopwatch_least(stopwatch_work work, uint64_t n)
{
	double one = stopwatch_batch(work, n), other = stopwatch_batch(work, n);
	return one < other ? one : other;
}

static inline struct stopwatch_plan stopwatch_try(stopwatch_work work)
{
	uint64_t n = 1;
	double each = stopwatch_least(work, n);
	while (each * (double)n < STOPWATCH_BATCH_NS / 2 && n < 1ull << 30) {
		n *= 2;
		each = stopwatch_least(work, n);
	}
	return (struct stopwatch_plan){ n, each > 10 * STOPWATCH_BATCH_NS ? 7 : STOPWATCH_BATCHES };
}

/* Nanoseconds for one. */
static inline double stopwatch(stopwatch_work work)
{
	double took[STOPWATCH_BATCHES];
	struct stopwatch_plan plan = stopwatch_try(work);
	for (size_t i = 0; i < plan.batches; i++)
		took[i] = stopwatch_batch(work, plan.n);
	return stopwatch_median(took, plan.batches);
}

/* What goes on beside the work, and only then. */
typedef void (*stopwatch_company)(stopwatch_work work);

static inline void stopwatch_alone(stopwatch_work work)
{
	(void)work;
}

/* In turn with others: says how many batches it wants, and does one, and says what one took, for each
 * line that it reads. */
static inline void stopwatch_turns(stopwatch_work work, stopwatch_company begin, stopwatch_company end)
{
	char line[8];
	begin(work);
	struct stopwatch_plan plan = stopwatch_try(work);
	end(work);
	printf("%zu\n", plan.batches);
	for (fflush(stdout); fgets(line, sizeof line, stdin); fflush(stdout)) {
		begin(work);
		printf("%.2f\n", stopwatch_batch(work, plan.n));
		end(work);
	}
}
