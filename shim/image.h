/* SPDX-License-Identifier: MIT */
/* What a file will cost once it is mapped as code: the writable segments that the kernel
 * charges and that nobody can refuse any more when it does. Raw system calls on the stack,
 * so it works in a child of vfork; no descriptor stays open. */
#pragma once

#include "include/base.h"

enum image_kind {
	IMAGE_JOINS,   /* glibc's loader: given LD_PRELOAD it loads us and joins */
	IMAGE_STATIC,  /* no loader: LD_PRELOAD does nothing to it, but may to its children */
	IMAGE_FOREIGN, /* another libc's loader, or another machine: LD_PRELOAD may end it */
	IMAGE_KIND_N
};

struct image {
	enum image_kind kind;
	uint64_t pages; /* of writable segments: the program's and its loader's */
};

/* The program that execve would map for `path`, through `#!` lines, as many as the kernel
 * follows (fs/exec.c). `path` is relative to `dirfd`; NULL, it is `dirfd` itself. With
 * `shell`, a file of no known format is a script for /bin/sh, as for execvp. 0, or -errno
 * when it cannot be read or is of no format we know (`ret` untouched). An ELF file for
 * another machine has 0 pages. */
int image_of_program(int dirfd, const char *path, bool shell, struct image *ret);

/* The writable segments of one ELF file, in pages. 0 or -errno. */
int image_of_library(const char *path, uint64_t *ret_pages);

/* Those of the loaded module that contains `address`; 0: none does. Not in a signal handler
 * (dl_iterate_phdr(3)). */
uint64_t image_of_loaded(const void *address);
