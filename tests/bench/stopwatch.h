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

/* Nanoseconds for one. What takes longer than a batch is done fewer times. */
static inline double stopwatch(stopwatch_work work)
{
	uint64_t n = 1;
	double each = stopwatch_batch(work, 1), took[STOPWATCH_BATCHES];
	while (each * (double)n < STOPWATCH_BATCH_NS / 2 && n < 1ull << 30) {
		n *= 2;
		each = stopwatch_batch(work, n);
	}
	size_t batches = each > 10 * STOPWATCH_BATCH_NS ? 7 : STOPWATCH_BATCHES;
	for (size_t i = 0; i < batches; i++)
		took[i] = stopwatch_batch(work, n);
	return stopwatch_median(took, batches);
}
