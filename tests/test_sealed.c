/* SPDX-License-Identifier: MIT */
/* From the reading that is short to the signal the broker allocates nothing: this program's malloc
 * is its own, and counts while it is sealed. */
#include "tests/broker_fixture.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "daemon/killer/killer.h"

static void begin(void)
{
#ifdef __SANITIZE_ADDRESS__
	cr_skip_test("malloc is the sanitizer's");
#endif
}

TestSuite(sealed, .init = begin, .timeout = 30);

/* --- malloc, for the whole program, libc included: pages that are never given back --- */

static bool sealed;
static unsigned allocations;
static _Alignas(16) char arena[64 << 20];
static size_t arena_used;

static void *arena_take(size_t bytes)
{
	size_t need = (bytes + 31) & ~(size_t)15, at = __atomic_fetch_add(&arena_used, need, __ATOMIC_RELAXED);
	allocations += sealed;
	if (at + need > sizeof arena) {
		errno = ENOMEM;
		return NULL;
	}
	*(size_t *)(arena + at) = bytes;
	return arena + at + 16;
}

void *malloc(size_t bytes)
{
	return arena_take(bytes);
}

void free(void *p)
{
	(void)p;
}

void *calloc(size_t n, size_t bytes)
{
	return arena_take(n * bytes);
}

void *realloc(void *p, size_t bytes)
{
	void *to = arena_take(bytes);
	if (to && p)
		memcpy(to, p, min_u64(bytes, *(size_t *)((char *)p - 16)));
	return to;
}

void *memalign(size_t alignment, size_t bytes); /* <malloc.h> warns of nothing else */
void *memalign(size_t alignment, size_t bytes)
{
	(void)alignment;
	return arena_take(bytes);
}

/* --- a victim --- */

/* Not our child: those of the broker are never touched. Holds 64 MiB. */
static pid_t hog_make(void)
{
	int line[2];
	pid_t hog = 0;
	cr_assert(pipe(line) == 0);
	pid_t between = fork_tied();
	if (between == 0) {
		hog = fork_untied();
		if (hog == 0) {
			char *held = mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			memset(held, 1, 64 << 20);
			hog = getpid();
			_exit(write(line[1], &hog, sizeof hog) != sizeof hog || pause());
		}
		_exit(0);
	}
	waitpid(between, NULL, 0);
	cr_assert(read(line[0], &hog, sizeof hog) == sizeof hog);
	close(line[0]);
	close(line[1]);
	return hog;
}

/* A machine that is always short, and a rule for nobody but our own program. */
static void killer_begin(bool dry)
{
	char text[512], self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	self[n > 0 ? n : 0] = '\0';
	snprintf(text, sizeof text, "watch { act = 8T  warn = 8T }\nrule { match-exe = \"%s\" over = 32M action = kill }\n", self);
	broker_begin(text);
	b.killer.dry = dry;
}

/* Lowers the floor: on a large machine 64 MiB are not worth a death. */
static struct reading short_of(void)
{
	return (struct reading){ .now_ns = clock_ns(CLOCK_MONOTONIC), .total = 1 << 18, .available = 100 };
}

/* One step, sealed: the figures of everybody, the decision, the deeds, the lines. */
static void step_sealed(void)
{
	struct reading r = short_of();
	sealed = true;
	killer_step(&b, 0, &r);
	sealed = false;
}

Test(sealed, from_the_reading_to_the_signal_nothing_is_allocated)
{
	killer_begin(false);
	pid_t hog = hog_make();
	killer_refresh(&b);
	step_sealed();
	cr_assert(b.killer.watched[0].ladder.victim.pid == hog, "%d is taken, not %d", b.killer.watched[0].ladder.victim.pid, hog);
	cr_assert(allocations == 0, "%u allocations", allocations);
	until(kill(hog, 0) != 0, pause_ms);
}

Test(sealed, what_is_allocated_would_be_seen)
{
	killer_begin(true);
	sealed = true;
	void *volatile planted = malloc(1);
	sealed = false;
	cr_assert(planted && allocations == 1);
}
