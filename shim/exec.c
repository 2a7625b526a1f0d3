/* SPDX-License-Identifier: MIT */
/* exec: the new image is mapped after the point of no return, where the only no left is a
 * SIGSEGV. So its price is asked from the file first, while ENOMEM can still be said.
 *
 * An exec that works leaves our slot as it is: the charge stays there until the new image
 * has joined and settles it (shim/start.c). What must be covered meanwhile is the larger of
 * the two, so only the difference is taken. In a child of vfork the slot is the parent's
 * and the new image gets one of its own: we only ask whether it would fit. */
#include "shim/exec.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/environment.h"
#include "shim/next.h"
#include "shim/search.h"

/* 128 KiB that the kernel adds to the stack, and the page that holds its end. */
#define STACK_PAGES 33
/* What is paid for at the start of a program that joins (shim/baseline.c). */
#define STACK_PAGES_JOINED 128

/* What a program that joins costs beside its own segments: ours, and libc's. */
static uint64_t companions_pages;

void exec_remember(void)
{
	environment_remember();
	companions_pages = image_of_loaded(&companions_pages) +
			   image_of_loaded((const void *)(uintptr_t)next()->execve);
}

/* --- the price --- */

static int program_image(const struct program *p, struct image *ret)
{
	char path[PATH_MAX];
	bool empty = p->how == EXEC_AT && (p->flags & AT_EMPTY_PATH) && (!p->path || !*p->path);
	if (p->how == EXEC_FD || empty)
		return image_of_program(p->fd, NULL, false, ret);
	switch (p->how) {
	case EXEC_SEARCH:
		if (!search_program(p->path, path, sizeof path))
			return -ENOENT;
		return image_of_program(AT_FDCWD, path, true, ret);
	case EXEC_AT:
		return image_of_program(p->fd, p->path, false, ret);
	default:
		return image_of_program(AT_FDCWD, p->path, false, ret);
	}
}

struct image exec_image(const struct program *p)
{
	struct image image = { .kind = IMAGE_JOINS };
	program_image(p, &image);
	return image;
}

static uint64_t strings_bytes(char *const strings[])
{
	uint64_t bytes = sizeof(char *);
	for (; strings && *strings; strings++)
		bytes += sizeof(char *) + strlen(*strings) + 1;
	return bytes;
}

uint64_t exec_pages(const struct image *image, char *const argv[], char *const envp[])
{
	if (image->pages == 0) /* unknown, or not ours to account */
		return 0;
	uint64_t pages = image->pages + pages_of(strings_bytes(argv) + strings_bytes(envp));
	return pages + (image->kind == IMAGE_JOINS ? companions_pages + STACK_PAGES_JOINED : STACK_PAGES);
}

/* True: it fits, and `ret_paid` pages are to be given back should the exec fail. */
static bool exec_afford(uint64_t pages, uint64_t *ret_paid)
{
	bool borrowed = space_is_borrowed();
	uint64_t mine = borrowed ? 0 : charge_mine();
	*ret_paid = 0;
	if (pages > mine && !afford(OP_EXEC, pages - mine, CATEGORY_IMAGE, ret_paid))
		return false;
	if (borrowed) {
		charge_give(*ret_paid, CATEGORY_IMAGE);
		*ret_paid = 0;
	}
	return true;
}

/* --- the act --- */

static int exec_raw(const struct program *p, char *const argv[], char *const envp[])
{
	if (p->how == EXEC_AT)
		return (int)door_result(raw_call6(SYS_execveat, p->fd, p->path, argv, envp, p->flags, 0));
	return (int)door_result(raw_call3(SYS_execve, p->path, argv, envp));
}

static int exec_next(const struct program *p, char *const argv[], char *const envp[])
{
	if (p->raw)
		return exec_raw(p, argv, envp);
	switch (p->how) {
	case EXEC_SEARCH:
		return next()->execvpe(p->path, argv, envp);
	case EXEC_FD:
		return next()->fexecve(p->fd, argv, envp);
	case EXEC_AT:
		return next()->execveat(p->fd, p->path, argv, envp, p->flags);
	default:
		return next()->execve(p->path, argv, envp);
	}
}

int exec_run(const struct program *p, char *const argv[], char *const envp[])
{
	uint64_t paid;
	if (self.state != SELF_MEMBER)
		return exec_next(p, argv, envp);
	struct image image = exec_image(p);
	if (!exec_afford(exec_pages(&image, argv, envp), &paid))
		return (int)door_result(-ENOMEM);
	/* On the stack: a child of vfork must not leave memory behind in its parent. */
	size_t room = image.kind != IMAGE_FOREIGN ? environment_missing(envp) : 0;
	if (room != 0)
		envp = environment_complete(envp, alloca(room));
	int r = exec_next(p, argv, envp);
	charge_give(paid, CATEGORY_IMAGE);
	return r;
}

/* --- the doors --- */

SHIM_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	struct program p = { .how = EXEC_PATH, .path = path };
	return exec_run(&p, argv, envp);
}

SHIM_EXPORT int execv(const char *path, char *const argv[])
{
	struct program p = { .how = EXEC_PATH, .path = path };
	return exec_run(&p, argv, environ);
}

SHIM_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	struct program p = { .how = EXEC_SEARCH, .path = file };
	return exec_run(&p, argv, envp);
}

SHIM_EXPORT int execvp(const char *file, char *const argv[])
{
	struct program p = { .how = EXEC_SEARCH, .path = file };
	return exec_run(&p, argv, environ);
}

SHIM_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	struct program p = { .how = EXEC_FD, .fd = fd };
	return exec_run(&p, argv, envp);
}

SHIM_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	struct program p = { .how = EXEC_AT, .fd = dirfd, .path = path, .flags = flags };
	return exec_run(&p, argv, envp);
}

/* --- arguments as parameters, collected on the stack as libc does (posix/execl.c) --- */

static size_t arguments_count(va_list rest)
{
	va_list counting;
	size_t n = 1;
	va_copy(counting, rest);
	while (va_arg(counting, char *))
		n++;
	va_end(counting);
	return n;
}

static int exec_list(const struct program *p, const char *first, va_list rest, bool brings_environment)
{
	size_t n = first ? arguments_count(rest) : 0;
	char **argv = alloca((n + 1) * sizeof *argv);
	argv[0] = (char *)first;
	for (size_t i = 1; i <= n; i++)
		argv[i] = va_arg(rest, char *);
	return exec_run(p, argv, brings_environment ? va_arg(rest, char *const *) : environ);
}

SHIM_EXPORT int execl(const char *path, const char *first, ...)
{
	struct program p = { .how = EXEC_PATH, .path = path };
	va_list rest;
	va_start(rest, first);
	int r = exec_list(&p, first, rest, false);
	va_end(rest);
	return r;
}

SHIM_EXPORT int execlp(const char *file, const char *first, ...)
{
	struct program p = { .how = EXEC_SEARCH, .path = file };
	va_list rest;
	va_start(rest, first);
	int r = exec_list(&p, first, rest, false);
	va_end(rest);
	return r;
}

SHIM_EXPORT int execle(const char *path, const char *first, ...)
{
	struct program p = { .how = EXEC_PATH, .path = path };
	va_list rest;
	va_start(rest, first);
	int r = exec_list(&p, first, rest, true);
	va_end(rest);
	return r;
}
