/* SPDX-License-Identifier: MIT */
/* The broker counts such processes and does not ask why; people do. What ld.so did is
 * foreseen by cli/elf.c; here it is told from the program that runs, and from what the
 * process was started with. */
#include "cli/reason.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/elf.h"

static int process_open(int32_t pid, const char *file)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	return open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
}

/* Was it made privileged by its file? Then ld.so has dropped the preload (ld.so(8)). */
static bool is_secure(int32_t pid)
{
	Elf64_auxv_t entry;
	bool secure = false;
	int fd = process_open(pid, "auxv");
	while (fd >= 0 && read(fd, &entry, sizeof entry) == sizeof entry)
		secure |= entry.a_type == AT_SECURE && entry.a_un.a_val != 0;
	if (fd >= 0)
		close(fd);
	return secure;
}

/* Does the environment it was started with hold the preload? */
static bool has_preload(int32_t pid)
{
	char text[65536]; /* of a larger one, the beginning */
	int fd = process_open(pid, "environ");
	ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	for (const char *at = text; at < text + n; at += strlen(at) + 1)
		if (strncmp(at, "LD_PRELOAD=", 11) == 0 && strstr(at, "libsolvent.so"))
			return true;
	return false;
}

static const char *file_reason(int fd)
{
	static const char *const why[ELF_VERDICT_N] = {
		[ELF_STATIC] = "statically linked",
		[ELF_PRIVILEGED] = "set-user-ID",
		[ELF_CAPABLE] = "has file capabilities",
		[ELF_OTHER_LOADER] = "of another C library",
		[ELF_OTHER_MACHINE] = "of another architecture",
	};
	struct stat st;
	enum elf_verdict verdict;
	char loader[PATH_MAX];
	if (fstat(fd, &st) != 0 || elf_judge(fd, &st, &verdict, loader) != 0)
		return NULL;
	return why[verdict];
}

const char *reason_unattached(int32_t pid)
{
	int fd = process_open(pid, "exe");
	if (fd < 0)
		return errno == ENOENT ? "ended" : "may not be looked at: of another user, or set-user-ID";
	const char *why = file_reason(fd);
	close(fd);
	if (why)
		return why;
	if (is_secure(pid))
		return "set-user-ID";
	return has_preload(pid) ? "did not join" : "started without the preload";
}
