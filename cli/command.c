/* SPDX-License-Identifier: MIT */
/* execvp's search and the kernel's #! rules, walked through beforehand: so that a refusal
 * names the program that would have escaped, and a missing one is 127 and not a surprise. */
#include "cli/command.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest #! line the kernel looks at, BINPRM_BUF_SIZE in include/uapi/linux/binfmts.h. */
#define SHEBANG_BYTES 256
#define SHEBANG_DEPTH 5 /* fs/exec.c:exec_binprm */

/* What execvp runs when the kernel says ENOEXEC. */
#define SHELL "/bin/sh"

static bool is_executable(const char *path, const struct stat *st)
{
	return S_ISREG(st->st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

/* Tries DIR/name; `dir` is not terminated, and none at all is the current directory. */
static int try_directory(const char *dir, size_t n, const char *name, char ret_path[PATH_MAX])
{
	struct stat st;
	char path[PATH_MAX];
	int length = snprintf(path, sizeof path, "%.*s%s%s", (int)n, dir, n ? "/" : "", name);
	if (length >= (int)sizeof path)
		return -ENAMETOOLONG;
	if (stat(path, &st) != 0)
		return -errno;
	if (!is_executable(path, &st))
		return -EACCES;
	memcpy(ret_path, path, (size_t)length + 1);
	return 0;
}

int command_find(const char *name, char ret_path[PATH_MAX])
{
	char standard[256];
	int result = -ENOENT;
	if (strchr(name, '/'))
		return try_directory("", 0, name, ret_path);
	if (!*name)
		return -ENOENT;
	const char *at = getenv("PATH");
	if (!at) {
		confstr(_CS_PATH, standard, sizeof standard);
		at = standard;
	}
	for (;;) {
		size_t n = strcspn(at, ":");
		int error = try_directory(at, n, name, ret_path);
		if (error == 0)
			return 0;
		if (error == -EACCES)
			result = -EACCES;
		if (!at[n])
			return result;
		at += n + 1;
	}
}

/* The interpreter named by a #! line, as fs/binfmt_script.c reads it. False: none. */
static bool shebang(const char *head, size_t n, char ret_interpreter[PATH_MAX])
{
	if (n < 2 || head[0] != '#' || head[1] != '!')
		return false;
	const char *end = memchr(head, '\n', n);
	const char *stop = end ? end : head + n, *from = head + 2;
	while (from < stop && (*from == ' ' || *from == '\t'))
		from++;
	const char *to = from;
	while (to < stop && *to != ' ' && *to != '\t' && *to != '\0')
		to++;
	/* A path that fills the whole buffer is cut: the kernel refuses it. */
	if (to == from || (to == stop && n == SHEBANG_BYTES && !end))
		return false;
	snprintf(ret_interpreter, PATH_MAX, "%.*s", (int)(to - from), from);
	return true;
}

/* 0: judged; 1: `file` was a script and is now its interpreter, to be looked at next. */
static int inspect_open(int fd, const struct stat *st, struct command_report *r)
{
	char head[SHEBANG_BYTES];
	ssize_t n = pread(fd, head, sizeof head, 0);
	if (n < 0)
		return -errno;
	if (n >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		return elf_judge(fd, st, &r->verdict, r->loader);
	/* No format the kernel knows: execvp hands it to the shell. */
	if (!shebang(head, (size_t)n, r->file))
		snprintf(r->file, sizeof r->file, "%s", SHELL);
	return 1;
}

static int inspect_one(struct command_report *r)
{
	struct stat st;
	if (stat(r->file, &st) != 0)
		return -errno;
	if (!is_executable(r->file, &st))
		return -EACCES;
	int fd = open(r->file, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0) {
		r->verdict = ELF_UNREADABLE;
		return errno == EACCES ? 0 : -errno;
	}
	int result = inspect_open(fd, &st, r);
	close(fd);
	return result;
}

int command_inspect(const char *path, struct command_report *ret)
{
	*ret = (struct command_report){ 0 };
	if (strlen(path) >= sizeof ret->file)
		return -ENAMETOOLONG;
	snprintf(ret->file, sizeof ret->file, "%s", path);
	/* The command and then one interpreter for each #! line the kernel follows. */
	for (int depth = 0; depth <= SHEBANG_DEPTH; depth++) {
		int result = inspect_one(ret);
		if (result <= 0)
			return result;
	}
	return -ELOOP;
}

void command_explain(const struct command_report *report, char *ret_text, size_t n)
{
	static const char *const WORDS[ELF_VERDICT_N] = {
		[ELF_ACCOUNTABLE] = "can be accounted",
		[ELF_STATIC] = "is statically linked; a preload cannot account it",
		[ELF_PRIVILEGED] = "is set-uid or set-gid; the system drops preloads there and cannot account it",
		[ELF_CAPABLE] = "has file capabilities; the system drops preloads there and cannot account it",
		[ELF_OTHER_MACHINE] = "is built for another architecture; a preload cannot account it",
		[ELF_UNREADABLE] = "may not be read, so it cannot be told whether a preload can account it",
	};
	if (report->verdict == ELF_OTHER_LOADER)
		snprintf(ret_text, n, "%s is started by %s, another C library than solvent's; a preload cannot account it",
			 report->file, report->loader);
	else
		snprintf(ret_text, n, "%s %s", report->file, WORDS[report->verdict]);
}
