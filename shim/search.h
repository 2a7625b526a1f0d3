/* SPDX-License-Identifier: MIT */
/* Where libc and the dynamic loader will find what they were asked for by a bare name. We
 * only look, to learn the price; the search that counts is theirs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The program that execvp would run: `file` itself with a slash in it, else the first
 * executable in PATH. False: none, or its path does not fit. Allocates nothing. */
bool search_program(const char *file, char *ret_path, size_t path_bytes);

/* Would the loader look for a bare library name in the same places for the module that
 * contains `caller` as for ours? Takes 16 KiB of stack. */
bool search_is_ours(const void *caller);

/* The file of the library `name`, bare, in the places where the loader looks for it on
 * behalf of `caller`. False: none (it may still be in ld.so.cache). Takes 8 KiB of stack. */
bool search_library(const void *caller, const char *name, char *ret_path, size_t path_bytes);
