/* SPDX-License-Identifier: MIT */
/* What probes share: telling what failed, and both counts of this process, ours and the
 * kernel's. A probe is a small program that runs under the shim (tests/probe.sh); exit
 * status 0: as it should be, 1: not, 77: cannot be tested on this machine. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/solvent/solvent.h"

#define check(condition, ...)                                                 \
	do {                                                                  \
		if (!(condition)) {                                           \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
			fprintf(stderr, "(errno %d) ", errno);                \
			fprintf(stderr, " " __VA_ARGS__);                     \
			fputc('\n', stderr);                                  \
			exit(1);                                              \
		}                                                             \
	} while (0)

#define skip(...)                                 \
	do {                                      \
		fprintf(stderr, __VA_ARGS__);     \
		fputc('\n', stderr);              \
		exit(77);                         \
	} while (0)

static inline struct solvent_figures figures(void)
{
	struct solvent_figures f = { 0 };
	if (!solvent_query || solvent_query(&f, sizeof f) != 0) {
		fprintf(stderr, "this process is in no account\n");
		exit(1);
	}
	return f;
}

/* Private pages charged to this process. */
static inline long charged_pages(void)
{
	return (long)(figures().process_bytes / 4096);
}

/* Pages charged to the account: this process, its family, shared objects. */
static inline long account_pages(void)
{
	return (long)(figures().used_bytes / 4096);
}

/* The same, once it has fallen to `expected`: what a child held is back within the broker's
 * tick of 25 ms after its end; ten seconds is a machine that is busy otherwise. */
static inline long account_settled(long expected)
{
	for (int i = 0; i < 5000 && account_pages() > expected; i++)
		usleep(2000);
	return account_pages();
}

/* The kernel's own count: the pages of all mappings with VM_ACCOUNT ("ac" in the VmFlags of
 * /proc/PID/smaps). No memory is allocated between opening and closing. */
static inline long kernel_pages_of(const char *path)
{
	static char buffer[1 << 16];
	char line[512];
	size_t length = 0;
	long pages = 0, size_kb = 0, n;
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (long i = 0; i < n; i++) {
			if (buffer[i] != '\n') {
				if (length + 1 < sizeof line)
					line[length++] = buffer[i];
				continue;
			}
			line[length] = '\0';
			length = 0;
			if (strncmp(line, "Size:", 5) == 0)
				size_kb = atol(line + 5);
			else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " ac"))
				pages += size_kb / 4;
		}
	close(fd);
	return pages;
}

static inline long kernel_pages(void)
{
	return kernel_pages_of("/proc/self/smaps");
}

/* How many mappings this process has. */
static inline long mappings(void)
{
	static char buffer[1 << 16];
	long lines = 0, n;
	int fd = open("/proc/self/maps", O_RDONLY);
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (long i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	return lines;
}
