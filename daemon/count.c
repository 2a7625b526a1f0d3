/* SPDX-License-Identifier: MIT */
/* The broker's own reading of statm and smaps; solvent audit has another, so that one is
 * checked by the other. */
#include "daemon/count.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/proc.h"

int count_open(int32_t pid)
{
	return proc_file(pid, "statm");
}

static ssize_t statm_read(int32_t pid, int fd, char *text, size_t bytes)
{
	if (fd < 0)
		return proc_text(proc_file(pid, "statm"), text, bytes);
	ssize_t n = pread(fd, text, bytes - 1, 0);
	text[n > 0 ? n : 0] = '\0';
	return n < 0 ? -errno : n == 0 ? -ESRCH : n;
}

int count_quick(int32_t pid, int fd, struct count *ret)
{
	char text[256], *at = text;
	uint64_t field[6];
	ssize_t n = statm_read(pid, fd, text, sizeof text);
	if (n < 0)
		return (int)n;
	for (int i = 0; i < 6; i++)
		field[i] = strtoull(at, &at, 10);
	*ret = (struct count){ .size = field[0], .resident = field[1], .shared = field[2], .data = field[5] };
	return 0;
}

/* One mapping after another: its size comes first, its flags last. Names of files are in
 * lines that begin with an address, so none can pretend to be either. */
struct tally {
	uint64_t kib, sum_kib;
};

static bool line_tally(void *context, const char *line)
{
	struct tally *t = context;
	if (strncmp(line, "Size:", 5) == 0)
		t->kib = strtoull(line + 5, NULL, 10);
	else if (strncmp(line, "VmFlags:", 8) == 0 && strstr(line + 8, " ac"))
		t->sum_kib += t->kib;
	return false;
}

int count_whole(int32_t pid, uint64_t *ret_pages)
{
	struct tally t = { 0 };
	int error = proc_lines(proc_file(pid, "smaps"), line_tally, &t);
	if (!error)
		*ret_pages = pages_of(t.sum_kib << 10);
	return error;
}

/* Of smaps_rollup: "Private_Dirty:   17 kB". Clean pages are of files, and can be read again. */
static bool line_alone(void *context, const char *line)
{
	static const char *const keys[] = { "Private_Dirty:", "Swap:" };
	uint64_t *kib = context;
	for (size_t i = 0; i < ARRAY_N(keys); i++)
		if (strncmp(line, keys[i], strlen(keys[i])) == 0)
			*kib += strtoull(line + strlen(keys[i]), NULL, 10);
	return false;
}

int count_alone(int32_t pid, uint64_t *ret_pages)
{
	uint64_t kib = 0;
	int error = proc_lines(proc_file(pid, "smaps_rollup"), line_alone, &kib);
	*ret_pages = pages_of(kib << 10);
	return error;
}

bool count_is_shared(int32_t one, int32_t other)
{
	return syscall(SYS_kcmp, one, other, KCMP_VM, 0, 0) == 0;
}
