/* SPDX-License-Identifier: MIT */
/* The variables by which a child finds its account, for programs that clean their
 * environment before they start another: what was there when we started is put back.
 * Allocates nothing, so that a child of vfork can use it. */
#pragma once

#include <stddef.h>

/* As secure_getenv(3), also before libc has an environment: it gets one in its constructor, which runs
 * after ours. */
char *environment_early(const char *name);

/* Keeps what the environment says now of LD_PRELOAD and SOLVENT_*. For the constructor. */
void environment_remember(void);

/* How many bytes environment_complete needs for `envp`; 0: nothing is missing in it, or it
 * is too large to be copied on a stack. */
size_t environment_missing(char *const envp[]);

/* A copy of `envp` with what is missing, built in `room`. The strings are `envp`'s and
 * ours; the result lives as long as both. */
char **environment_complete(char *const envp[], void *room);
