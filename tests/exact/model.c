/* SPDX-License-Identifier: MIT */
#include "tests/exact/model.h"

#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/exact/exact.h"
#include "tests/exact/kernel.h"

void model_start(struct model *m)
{
	memset(m, 0, sizeof *m);
	for (uint32_t i = 0; i < THINGS; i++)
		m->thing[i].fd = -1;
}

/* --- runs --- */

static uint64_t pages_between(uintptr_t start, uintptr_t end)
{
	return (end - start) >> PAGE_SHIFT;
}

/* The first run that ends after `addr`. */
static uint32_t run_after(const struct model *m, uintptr_t addr)
{
	uint32_t i = 0;
	while (i < m->n && m->run[i].end <= addr)
		i++;
	return i;
}

static void run_insert(struct model *m, uint32_t i, struct run run)
{
	if (m->n == RUNS)
		fail("the model has no room for another run");
	memmove(&m->run[i + 1], &m->run[i], (m->n - i) * sizeof m->run[0]);
	m->run[i] = run;
	m->n++;
}

/* No run reaches over `addr` afterwards. */
static void cut_at(struct model *m, uintptr_t addr)
{
	uint32_t i = run_after(m, addr);
	if (i == m->n || m->run[i].start >= addr)
		return;
	struct run tail = m->run[i];
	tail.page += pages_between(tail.start, addr);
	tail.start = m->run[i].end = addr;
	run_insert(m, i + 1, tail);
}

static bool runs_join(const struct run *a, const struct run *b)
{
	return a->end == b->start && a->is == b->is && a->thing == b->thing &&
	       (a->thing == NO_THING || a->page + pages_between(a->start, a->end) == b->page);
}

static void tidy(struct model *m)
{
	uint32_t kept = 0;
	for (uint32_t i = 1; i < m->n; i++)
		if (runs_join(&m->run[kept], &m->run[i]))
			m->run[kept].end = m->run[i].end;
		else
			m->run[++kept] = m->run[i];
	m->n = m->n ? kept + 1 : 0;
}

void model_forget(struct model *m, uintptr_t start, uintptr_t end)
{
	if (start >= end)
		return;
	cut_at(m, start);
	cut_at(m, end);
	uint32_t first = run_after(m, start), last = first;
	while (last < m->n && m->run[last].end <= end)
		last++;
	memmove(&m->run[first], &m->run[last], (m->n - last) * sizeof m->run[0]);
	m->n -= last - first;
}

void model_put(struct model *m, struct run run)
{
	if (run.start >= run.end)
		return;
	model_forget(m, run.start, run.end);
	run_insert(m, run_after(m, run.start), run);
	tidy(m);
}

void model_change(struct model *m, uintptr_t start, uintptr_t end, uint32_t add, uint32_t remove)
{
	if (start >= end)
		return;
	cut_at(m, start);
	cut_at(m, end);
	for (uint32_t i = run_after(m, start); i < m->n && m->run[i].start < end; i++)
		if (m->run[i].is & IS_MAPPED)
			m->run[i].is = (m->run[i].is & ~remove) | add;
	tidy(m);
}

void model_pay(struct model *m, uintptr_t start, uintptr_t end)
{
	if (start >= end)
		return;
	cut_at(m, start);
	cut_at(m, end);
	for (uint32_t i = run_after(m, start); i < m->n && m->run[i].start < end; i++)
		if ((m->run[i].is & (IS_MAPPED | IS_EXEMPT)) == IS_MAPPED)
			m->run[i].is |= IS_CHARGED;
	tidy(m);
}

struct run *model_at(struct model *m, uintptr_t addr)
{
	uint32_t i = run_after(m, addr);
	return i < m->n && m->run[i].start <= addr ? &m->run[i] : NULL;
}

uintptr_t model_prefix(struct model *m, uintptr_t start, uintptr_t end, bool writable)
{
	while (start < end) {
		const struct run *run = model_at(m, start);
		if (!run || !(run->is & IS_MAPPED) || (writable && run->is & IS_FIXED))
			return start;
		start = run->end;
	}
	return end;
}

void model_move(struct model *m, uintptr_t from, uintptr_t to, size_t bytes, bool keep)
{
	struct run source[RUNS]; /* a copy: the two places are in one list */
	uint32_t n = 0;
	for (uint32_t i = run_after(m, from); i < m->n && m->run[i].start < from + bytes; i++)
		if (m->run[i].is & IS_MAPPED)
			source[n++] = m->run[i];
	for (uint32_t i = 0; i < n; i++) {
		struct run run = source[i];
		if (run.start < from) {
			run.page += pages_between(run.start, from);
			run.start = from;
		}
		run.end = run.end > from + bytes ? from + bytes : run.end;
		if (!keep)
			model_forget(m, run.start, run.end);
		run.start += to - from;
		run.end += to - from;
		model_put(m, run);
	}
}

/* What the kernel has nothing of in [start, end). */
static void forget_absent(struct model *m, const struct kernel *k, uintptr_t start, uintptr_t end)
{
	while (start < end) {
		const struct mapping *map = kernel_at(k, start);
		uintptr_t edge = map && map->start < end ? map->start : end;
		if (start < edge)
			model_forget(m, start, edge);
		start = edge < end ? map->end : end;
	}
}

void model_look(struct model *m, uintptr_t start, uintptr_t end)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct kernel kernel;
	struct run source[RUNS];
	uint32_t n = m->n;
	memcpy(source, m->run, n * sizeof source[0]);
	pthread_mutex_lock(&lock);
	if (kernel_read(&kernel) != 0)
		fail("smaps cannot be read");
	for (uint32_t i = 0; i < n; i++)
		if (source[i].is & IS_MAPPED)
			forget_absent(m, &kernel, source[i].start > start ? source[i].start : start,
				      source[i].end < end ? source[i].end : end);
	pthread_mutex_unlock(&lock);
}

void model_become_child(struct model *m)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->run[i].is & IS_NO_COPY)
			m->run[i].is = (m->run[i].is & (IS_CHARGED | IS_HOLDING)) | IS_LEFT;
	for (uint32_t i = 0; i < THINGS; i++)
		m->thing[i].foreign = true;
	tidy(m);
}

void model_take_left(struct model *m, struct model *other)
{
	for (uint32_t i = 0; i < other->n;) {
		struct run run = other->run[i];
		if (!(run.is & IS_LEFT)) {
			i++;
			continue;
		}
		model_forget(other, run.start, run.end);
		run.is &= IS_LEFT | IS_CHARGED;
		run.thing = NO_THING;
		model_put(m, run);
	}
}

/* --- things --- */

static bool thing_has(const struct model *m, uint32_t thing, uint32_t is)
{
	for (uint32_t i = 0; i < m->n; i++)
		if (m->run[i].thing == thing && m->run[i].is & is)
			return true;
	return false;
}

bool thing_is_held(const struct model *m, uint32_t thing)
{
	return thing_has(m, thing, IS_HOLDING);
}

bool thing_is_mapped(const struct model *m, uint32_t thing)
{
	return thing_has(m, thing, IS_MAPPED | IS_LEFT);
}

uint32_t thing_new(struct model *m)
{
	for (uint32_t i = 0; i < THINGS; i++)
		if (m->thing[i].kind == THING_NONE) {
			m->thing[i] = (struct thing){ .fd = -1 };
			return i;
		}
	return NO_THING;
}

void things_settle(struct model *m)
{
	for (uint32_t i = 0; i < THINGS; i++) {
		struct thing *t = &m->thing[i];
		t->most = max_u64(t->most, t->pages);
		if (t->kind != THING_SYSV && !thing_is_held(m, i))
			t->pages = 0;
		bool exists = t->fd >= 0 || (t->kind == THING_SYSV && !t->removed);
		if (t->kind != THING_NONE && !exists && !thing_is_mapped(m, i))
			*t = (struct thing){ .fd = -1 };
	}
}

bool thing_has_holes(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 < bytes_of(pages_of((uint64_t)st.st_size));
}

uint64_t thing_size(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? pages_of((uint64_t)st.st_size) : 0;
}

/* Beyond its size a file may have pages all the same (FALLOC_FL_KEEP_SIZE). */
uint64_t thing_cost(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? max_u64(pages_of((uint64_t)st.st_size), pages_of((uint64_t)st.st_blocks * 512)) : 0;
}
