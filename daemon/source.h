/* SPDX-License-Identifier: MIT */
/* A configuration file's text, before libconfuse sees it. */
#pragma once

#include <stddef.h>

/* Reads the whole of `file`: an ordinary file, a memfd or a pipe. 0 and `ret_text` of
 * `ret_bytes`, ended by NUL (the caller frees it); -EISDIR, -EFBIG above `most` bytes, or
 * -errno. */
int source_load(const char *file, size_t most, char **ret_text, size_t *ret_bytes);

/* Blanks the comments (#, //, C's) and checks what libconfuse 3.3 does not: it counts a
 * comment's line three times, stops without a word at a NUL, and takes an unclosed section
 * for a closed one. NULL, or what is wrong in line `ret_line`. */
const char *source_prepare(char *text, size_t n, unsigned *ret_line);
