/* SPDX-License-Identifier: MIT */
/* exec, as the other doors to it use it (shim/spawn.c, shim/syscall.c). */
#pragma once

#include "shim/image.h"

/* Keeps what the children of exec need to find their account. For the constructor. */
void exec_remember(void);

/* How the caller names the program. */
enum exec_how {
	EXEC_PATH,   /* execve and its variants: path */
	EXEC_SEARCH, /* execvp and its variants: path is searched in PATH if it is bare */
	EXEC_FD,     /* fexecve: fd */
	EXEC_AT,     /* execveat: fd, path, flags */
	EXEC_HOW_N
};

struct program {
	enum exec_how how;
	int fd;
	const char *path;
	int flags;
	bool raw; /* by the system call itself, not by libc's function */
};

/* What the program is and will cost; one that cannot be read joins, and has 0 pages. */
struct image exec_image(const struct program *p);

/* The least that a process is charged when it is fresh from exec, in pages: writable
 * segments, its own and those that always come with it, and the stack with the arguments
 * (fs/exec.c:setup_arg_pages). 0 for an image of which nothing is known. */
uint64_t exec_pages(const struct image *image, char *const argv[], char *const envp[]);

/* Runs it. -1 with errno if it did not work: nothing is charged then that was not before. */
int exec_run(const struct program *p, char *const argv[], char *const envp[]);
