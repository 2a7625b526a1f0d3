/* SPDX-License-Identifier: MIT */
/* Three small readers of /proc. smaps costs some 30 ms per resident GiB and is not one
 * instant: the kernel lets the process run on between two pages of output. Whoever
 * compares must therefore look at the charge before and after. */
#include "cli/smaps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static FILE *proc_open(int32_t pid, const char *file)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	return fopen(path, "re");
}

static bool has_flag(const char *flags, const char *flag)
{
	size_t n = strlen(flag);
	for (const char *at = flags; (at = strstr(at, flag)); at += n)
		if (at[-1] == ' ' && (at[n] == ' ' || at[n] == '\n' || at[n] == '\0'))
			return true;
	return false;
}

int smaps_accountable(FILE *smaps, uint64_t *ret_pages)
{
	char *line = NULL;
	size_t room = 0;
	unsigned long long kib = 0;
	uint64_t sum_kib = 0;
	bool sized = false, good = true;
	errno = 0;
	while (good && getline(&line, &room, smaps) > 0) {
		if (strncmp(line, "Size:", 5) == 0) {
			/* Each mapping says its size once and its flags last. */
			good = !sized && sscanf(line + 5, "%llu", &kib) == 1;
			sized = true;
		} else if (strncmp(line, "VmFlags:", 8) == 0) {
			good = sized;
			sum_kib += has_flag(line + 8, "ac") ? kib : 0;
			sized = false;
		}
	}
	int error = ferror(smaps) ? -(errno ? errno : EIO) : good && !sized ? 0 : -EBADMSG;
	free(line);
	if (!error)
		*ret_pages = pages_of(sum_kib << 10);
	return error;
}

static int stream_read(FILE *f, int (*read)(FILE *, uint64_t *), uint64_t *ret)
{
	if (!f)
		return -errno;
	int error = read(f, ret);
	fclose(f);
	return error;
}

int statm_private(FILE *statm, uint64_t *ret_pages)
{
	unsigned long long data;
	if (fscanf(statm, "%*u %*u %*u %*u %*u %llu", &data) != 1)
		return -EBADMSG;
	*ret_pages = data;
	return 0;
}

int stat_start_ticks(FILE *stat, uint64_t *ret_ticks)
{
	char line[1024];
	line[fread(line, 1, sizeof line - 1, stat)] = '\0';
	/* The name in parentheses may hold anything, also ") " or a newline: fields count
	 * from the last parenthesis. */
	const char *at = strrchr(line, ')');
	unsigned long long ticks;
	if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			  &ticks) != 1)
		return -EBADMSG;
	*ret_ticks = ticks;
	return 0;
}

int smaps_of(int32_t pid, uint64_t *ret_pages)
{
	return stream_read(proc_open(pid, "smaps"), smaps_accountable, ret_pages);
}

int statm_of(int32_t pid, uint64_t *ret_pages)
{
	return stream_read(proc_open(pid, "statm"), statm_private, ret_pages);
}

int start_ticks_of(int32_t pid, uint64_t *ret_ticks)
{
	return stream_read(proc_open(pid, "stat"), stat_start_ticks, ret_ticks);
}
