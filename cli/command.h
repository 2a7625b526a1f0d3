/* SPDX-License-Identifier: MIT */
/* The command of `solvent run` before it runs: where it is, and what would really be
 * started by it. */
#pragma once

#include "cli/elf.h"

struct command_report {
	enum elf_verdict verdict;
	char file[PATH_MAX];   /* the program judged: the command, or the interpreter of its #! line */
	char loader[PATH_MAX]; /* the dynamic loader that it names, if any */
};

/* Where execvp(3) would find `name`: itself if it has a slash, else along $PATH. 0,
 * -ENOENT, or -EACCES when what was found may not be executed. */
int command_find(const char *name, char ret_path[PATH_MAX]);

/* Follows #! lines as far as the kernel does and judges the program at the end. On
 * failure, too, `ret` names the file, and the loader, it failed at: -ENOENT when it is missing,
 * -EACCES when it may not be executed, -ENOEXEC when it is a broken ELF file, -ELOOP when
 * #! lines nest more than five deep (fs/exec.c), or another -errno. */
int command_inspect(const char *path, struct command_report *ret);

/* "./server is statically linked; a preload cannot account it", for all but ACCOUNTABLE. */
void command_explain(const struct command_report *report, char *ret_text, size_t n);
