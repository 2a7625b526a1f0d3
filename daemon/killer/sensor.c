/* SPDX-License-Identifier: MIT */
#include "daemon/killer/sensor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/killer/group.h"
#include "daemon/proc.h"

#define TEXT_BYTES 8192
#define LIMIT_NS (1000 * 1000000ull) /* a limit is looked at again */

/* The whole of a file that is open, as a string. */
static int text_read(int fd, char text[TEXT_BYTES])
{
	ssize_t n = pread(fd, text, TEXT_BYTES - 1, 0);
	if (n <= 0)
		return n < 0 ? -errno : -ENODATA;
	text[n] = '\0';
	return 0;
}

static int number_read(int fd, uint64_t *ret)
{
	char text[TEXT_BYTES], *end;
	int error = text_read(fd, text);
	if (error)
		return error;
	if (strncmp(text, "max", 3) == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	*ret = strtoull(text, &end, 10);
	return end == text ? -EPROTO : 0;
}

/* The number behind `key` at the beginning of a line; 0: there is none. */
static uint64_t line_number(const char *text, const char *key)
{
	size_t n = strlen(key);
	for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
		if (strncmp(line, key, n) == 0 && (line[n] == ' ' || line[n] == ':'))
			return strtoull(line + n + 1, NULL, 10);
	return 0;
}

static uint32_t pages_from(uint64_t bytes)
{
	return (uint32_t)min_u64(bytes >> PAGE_SHIFT, PAGES_MAX);
}

/* --- the machine --- */

static int machine_read(const struct sensor *s, struct reading *ret)
{
	char text[TEXT_BYTES];
	int error = text_read(s->memory, text);
	if (error)
		return error;
	ret->total = pages_from(line_number(text, "MemTotal") << 10);
	ret->available = pages_from(line_number(text, "MemAvailable") << 10);
	ret->swap_total = pages_from(line_number(text, "SwapTotal") << 10);
	ret->swap_free = pages_from(line_number(text, "SwapFree") << 10);
	return ret->total > 0 ? 0 : -EPROTO;
}

/* --- a control group --- */

/* cgroup v1 rings when usage comes up to, or falls below, a threshold (Documentation/
 * admin-guide/cgroup-v1/memory.rst, 9): sooner than any timer. */
static void bell_set(const struct sensor *s, const struct group *g, uint32_t pages)
{
	char line[96];
	int control = s->bell >= 0 ? group_file(g, "cgroup.event_control", O_WRONLY) : -1;
	if (control < 0)
		return;
	int n = snprintf(line, sizeof line, "%d %d %llu", s->bell, s->memory, (unsigned long long)bytes_of(pages));
	/* Where it is refused, the timer is what there is. */
	if (write(control, line, (size_t)n) != n)
		errno = 0;
	close(control);
}

/* What was set for another limit rings at the wrong time, which is no more than a look too many. */
static void bells_set(struct sensor *s, const struct watch_policy *p)
{
	struct group g;
	if (s->unified || s->bell < 0 || s->belled == s->limit_pages || group_open(p->group, &g) != 0)
		return;
	s->belled = s->limit_pages;
	bell_set(s, &g, s->limit_pages - (uint32_t)min_u64(s->warn, s->limit_pages));
	bell_set(s, &g, s->limit_pages - (uint32_t)min_u64(s->act, s->limit_pages));
	close(g.dir);
}

/* A group without a limit of its own has no more than the machine. */
static int limit_read(struct sensor *s, const struct watch_policy *p, uint64_t now_ns)
{
	uint64_t bytes;
	int error = number_read(s->limit, &bytes);
	if (error)
		return error;
	s->limit_ns = now_ns;
	s->limit_pages = (uint32_t)min_u64(bytes >> PAGE_SHIFT, s->machine);
	s->act = threshold_pages(&p->act, s->limit_pages);
	s->warn = threshold_pages(&p->warn, s->limit_pages);
	bells_set(s, p);
	return 0;
}

static uint32_t files_read(const struct sensor *s)
{
	char text[TEXT_BYTES];
	if (text_read(s->stat, text) != 0)
		return 0;
	/* v1 has the group's own first, and with what is below it as total_*. */
	uint64_t inactive = line_number(text, s->unified ? "inactive_file" : "total_inactive_file");
	uint64_t active = line_number(text, s->unified ? "active_file" : "total_active_file");
	return pages_from(inactive + active / 2);
}

static int group_read(struct sensor *s, const struct watch_policy *p, uint64_t now_ns, struct reading *ret)
{
	uint64_t usage;
	int error = s->limit_ns == 0 || now_ns - s->limit_ns >= LIMIT_NS ? limit_read(s, p, now_ns) : 0;
	error = error ? error : number_read(s->memory, &usage);
	if (error)
		return error;
	uint32_t used = pages_from(usage);
	ret->total = s->limit_pages;
	ret->available = s->limit_pages > used ? s->limit_pages - used : 0;
	/* Where there is enough without them, files are not asked for: that is dear. */
	if (ret->available <= s->warn)
		ret->available = (uint32_t)min_u64((uint64_t)ret->available + files_read(s), ret->total);
	return 0;
}

static int group_sensor_open(struct sensor *s, const char *path)
{
	struct group g;
	int error = group_open(path, &g);
	if (error)
		return error;
	s->unified = g.unified;
	s->memory = group_file(&g, g.unified ? "memory.current" : "memory.usage_in_bytes", O_RDONLY);
	s->limit = group_file(&g, g.unified ? "memory.max" : "memory.limit_in_bytes", O_RDONLY);
	s->stat = group_file(&g, "memory.stat", O_RDONLY);
	s->bell = g.unified ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	close(g.dir);
	return s->memory < 0 ? s->memory : s->limit < 0 ? s->limit : s->stat < 0 ? s->stat : 0;
}

/* --- time lost --- */

static int stall_read(const struct sensor *s, uint64_t *ret_us)
{
	char text[TEXT_BYTES];
	int error = text_read(s->stall, text);
	const char *full = error ? NULL : strstr(text, "full ");
	const char *total = full ? strstr(full, "total=") : NULL;
	*ret_us = total ? strtoull(total + 6, NULL, 10) : 0;
	return error ? error : total ? 0 : -EPROTO;
}

/* A group of v1 has none; with psi=0 the file may be there, and reading it fails. */
static void stall_open(struct sensor *s, const struct watch_policy *p)
{
	struct group g;
	uint64_t us;
	if (!p->group[0]) {
		s->stall = openat(proc_descriptor(), "pressure/memory", O_RDONLY | O_CLOEXEC);
	} else if (group_open(p->group, &g) == 0) {
		s->stall = g.unified ? group_file(&g, "memory.pressure", O_RDONLY) : -1;
		close(g.dir);
	}
	if (s->stall < 0 || stall_read(s, &us) == 0)
		return;
	close(s->stall);
	s->stall = -1;
}

/* --- both --- */

int sensor_open(struct sensor *s, const struct watch_policy *p)
{
	struct reading first;
	*s = (struct sensor){ .memory = -1, .limit = -1, .stat = -1, .stall = -1, .bell = -1,
			      .machine = pages_from(proc_memory_bytes()) };
	int error = 0;
	if (p->group[0])
		error = group_sensor_open(s, p->group);
	else if ((s->memory = openat(proc_descriptor(), "meminfo", O_RDONLY | O_CLOEXEC)) < 0)
		error = -errno;
	if (!error && p->stall_ppm)
		stall_open(s, p);
	error = error ? error : sensor_read(s, p, 1, &first);
	if (!error && p->group[0])
		files_read(s);
	if (error)
		sensor_close(s);
	s->open = error == 0;
	return error;
}

int sensor_read(struct sensor *s, const struct watch_policy *p, uint64_t now_ns, struct reading *ret)
{
	*ret = (struct reading){ .now_ns = now_ns };
	int error = p->group[0] ? group_read(s, p, now_ns, ret) : machine_read(s, ret);
	if (!error && s->stall >= 0)
		stall_read(s, &ret->stall_us);
	return error;
}

void sensor_hear(const struct sensor *s)
{
	uint64_t rung;
	if (s->bell >= 0 && read(s->bell, &rung, sizeof rung) < 0)
		errno = 0;
}

void sensor_close(struct sensor *s)
{
	int fd[] = { s->memory, s->limit, s->stat, s->stall, s->bell };
	for (size_t i = 0; i < ARRAY_N(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	s->open = false;
}
