/* SPDX-License-Identifier: MIT */
/* What the actors of the arena share: they die with who started them, say on standard output
 * what they have done and when (CLOCK_MONOTONIC, ns), and fill memory at a rate. */
#pragma once

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define ACTOR_PAGE 4096
#define ACTOR_CHUNK ((size_t)256 << 10)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static inline uint64_t actor_now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline void actor_sleep_until(uint64_t ns)
{
	struct timespec t = { (time_t)(ns / 1000000000u), (long)(ns % 1000000000u) };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
}

/* Timers are exact to the microsecond, and nobody outlives who started it. */
static inline void actor_begin(void)
{
	prctl(PR_SET_TIMERSLACK, 1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setvbuf(stdout, NULL, _IONBF, 0);
}

static inline void actor_say(const char *what)
{
	printf("%s %llu\n", what, (unsigned long long)actor_now());
}

static inline void actor_rest(void) __attribute__((noreturn));
static inline void actor_rest(void)
{
	for (;;)
		pause();
}

/* Address space for so much, nothing of it touched; huge pages would make its growth uneven. */
static inline char *actor_map(size_t bytes, int kind)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	madvise(p, bytes, MADV_NOHUGEPAGE);
	return p;
}

/* At once, which is as fast as memory comes; where that is refused, by faults, which the kernel
 * answers as it answers any program's (a group that is full, with its killer off, parks them). */
static inline void actor_touch(char *p, size_t bytes)
{
	if (madvise(p, bytes, MADV_POPULATE_WRITE) == 0)
		return;
	for (size_t i = 0; i < bytes; i += ACTOR_PAGE)
		*(volatile char *)(p + i) = 1;
}

/* Takes it at so many MiB a second, or as fast as it goes where that is 0. */
static inline void actor_fill(char *p, size_t bytes, double rate)
{
	uint64_t from = actor_now();
	for (size_t done = 0; done < bytes; done += ACTOR_CHUNK) {
		actor_touch(p + done, bytes - done < ACTOR_CHUNK ? bytes - done : ACTOR_CHUNK);
		if (rate > 0)
			actor_sleep_until(from + (uint64_t)((double)(done + ACTOR_CHUNK) / (double)MIB / rate * 1e9));
	}
}
