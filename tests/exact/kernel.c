/* SPDX-License-Identifier: MIT */
#include "tests/exact/kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Each flag is two letters and a space after "VmFlags: ". */
static uint32_t flag_of(const char *two)
{
	static const struct {
		char letters[3];
		uint32_t is;
	} flags[] = {
		{ "ac", MAPPING_ACCOUNTED }, { "wr", MAPPING_WRITABLE },  { "sh", MAPPING_SHARED },
		{ "nr", MAPPING_NORESERVE }, { "gd", MAPPING_STACK },	  { "dp", MAPPING_DROPPABLE },
		{ "ht", MAPPING_HUGE },	     { "dc", MAPPING_NO_COPY },
	};
	for (size_t i = 0; i < ARRAY_N(flags); i++)
		if (two[0] == flags[i].letters[0] && two[1] == flags[i].letters[1])
			return flags[i].is;
	return 0;
}

static uint32_t flags_of(const char *at)
{
	uint32_t is = 0;
	for (; at[0] >= 'a' && at[0] <= 'z'; at += 3)
		is |= flag_of(at);
	return is;
}

/* A header begins with an address, every other line with a capital letter. */
static int line_read(struct kernel *k, const char *line)
{
	char *end;
	if (line[0] == 'V' && strncmp(line, "VmFlags: ", 9) == 0) {
		struct mapping *m = &k->mapping[k->n - 1];
		if (k->n == 0)
			return -EBADMSG;
		m->is = flags_of(line + 9);
		k->accounted += m->is & MAPPING_ACCOUNTED ? (m->end - m->start) >> PAGE_SHIFT : 0;
		return 0;
	}
	if (line[0] >= 'A' && line[0] <= 'Z')
		return 0;
	if (k->n == MAPPINGS)
		return -E2BIG;
	struct mapping *m = &k->mapping[k->n++];
	m->start = strtoul(line, &end, 16);
	m->end = *end == '-' ? strtoul(end + 1, NULL, 16) : 0;
	m->is = 0;
	return m->end > m->start ? 0 : -EBADMSG;
}

static int lines_read(struct kernel *k, int fd)
{
	static char buffer[1 << 16];
	size_t have = 0;
	ssize_t n;
	while ((n = read(fd, buffer + have, sizeof buffer - have)) > 0) {
		char *line = buffer, *end;
		have += (size_t)n;
		while ((end = memchr(line, '\n', have - (size_t)(line - buffer)))) {
			*end = '\0';
			int error = line_read(k, line);
			if (error)
				return error;
			line = end + 1;
		}
		have -= (size_t)(line - buffer);
		memmove(buffer, line, have);
	}
	return n < 0 ? -errno : 0;
}

static int data_read(struct kernel *k)
{
	char text[128], *at = text;
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return -errno;
	text[n] = '\0';
	for (int field = 1; field < 6; field++)
		strtoul(at, &at, 10);
	k->data = strtoul(at, NULL, 10);
	return 0;
}

int kernel_read(struct kernel *ret)
{
	int fd = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret->n = 0;
	ret->accounted = 0;
	int error = lines_read(ret, fd);
	close(fd);
	return error ? error : data_read(ret);
}

uint64_t kernel_data(const struct kernel *k)
{
	uint64_t pages = 0;
	for (uint32_t i = 0; i < k->n; i++) {
		uint32_t is = k->mapping[i].is & (MAPPING_WRITABLE | MAPPING_SHARED | MAPPING_STACK);
		if (is & MAPPING_STACK || is == MAPPING_WRITABLE)
			pages += (k->mapping[i].end - k->mapping[i].start) >> PAGE_SHIFT;
	}
	return pages;
}

const struct mapping *kernel_at(const struct kernel *k, uintptr_t addr)
{
	uint32_t low = 0, high = k->n;
	while (low < high) {
		uint32_t middle = (low + high) / 2;
		if (k->mapping[middle].end <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < k->n ? &k->mapping[low] : NULL;
}
