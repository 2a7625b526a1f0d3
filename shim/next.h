/* SPDX-License-Identifier: MIT */
/* The functions beneath our doors: for each name the next definition in search order,
 * libc's or that of another preloaded library, which thereby keeps working. */
#pragma once

#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <termios.h>
#include <threads.h>

#include "include/base.h"

/* X(name, result, parameters) */
#define NEXT_FUNCTIONS(X) \
	X(fork, pid_t, (void)) \
	X(_Fork, pid_t, (void)) \
	X(daemon, int, (int nochdir, int noclose)) \
	X(forkpty, int, (int *, char *, const struct termios *, const struct winsize *)) \
	X(clone, int, (int (*)(void *), void *, int, void *, pid_t *, void *, pid_t *)) \
	X(execve, int, (const char *, char *const[], char *const[])) \
	X(execvpe, int, (const char *, char *const[], char *const[])) \
	X(fexecve, int, (int, char *const[], char *const[])) \
	X(execveat, int, (int, const char *, char *const[], char *const[], int)) \
	X(posix_spawn, int, (pid_t *, const char *, const posix_spawn_file_actions_t *, \
			     const posix_spawnattr_t *, char *const[], char *const[])) \
	X(posix_spawnp, int, (pid_t *, const char *, const posix_spawn_file_actions_t *, \
			      const posix_spawnattr_t *, char *const[], char *const[])) \
	X(pthread_create, int, (pthread_t *, const pthread_attr_t *, void *(*)(void *), void *)) \
	X(pthread_join, int, (pthread_t, void **)) \
	X(thrd_create, int, (thrd_t *, thrd_start_t, void *)) \
	X(thrd_join, int, (thrd_t, int *)) \
	X(fallocate, int, (int, int, off_t, off_t)) \
	X(posix_fallocate, int, (int, off_t, off_t)) \
	X(dlopen, void *, (const char *, int)) \
	X(dlmopen, void *, (long, const char *, int)) \
	X(dlclose, int, (void *))

struct next {
#define NEXT_MEMBER(name, result, parameters) result(*name) parameters;
	NEXT_FUNCTIONS(NEXT_MEMBER)
#undef NEXT_MEMBER
};

extern struct next next_table;
extern bool next_is_resolved;

/* Looks every name up. The constructor calls it; a door that is used before that, from
 * another library's constructor, does it itself. Idempotent. May call malloc (dlsym(3)),
 * so never from a path that malloc can reach. */
void next_resolve(void);

static inline const struct next *next(void)
{
	/* Acquire: pairs with the release in next_resolve. */
	if (unlikely(!__atomic_load_n(&next_is_resolved, __ATOMIC_ACQUIRE)))
		next_resolve();
	return &next_table;
}
