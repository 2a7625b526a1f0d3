/* SPDX-License-Identifier: MIT */
/* Sizes as people write and read them: configuration, command line, reports. No memory is
 * allocated and no locale asked; both functions are async-signal-safe. */
#pragma once

#include "include/base.h"

#define SIZE_INFINITY UINT64_MAX
#define SIZE_MAX_BYTES ((uint64_t)INT64_MAX)
#define SIZE_FORMAT_BYTES 16 /* the longest is "1023.9 MiB"; with room */

/* Reads a size:
 *     1024  4K  512M  8G  2T  1P        powers of 1024; upper or lower case
 *     16MiB  16MB  16B                  the same with a suffix
 *     1.5G                              a fraction of a unit, rounded down to bytes
 *     20%  12.5%                        of `whole_bytes`, rounded down
 *     infinity                          SIZE_INFINITY
 * 0; -EINVAL when it is none of these (also a sign, a space, an exponent, more than 100%, a
 * fraction of a byte, or a percentage when `whole_bytes` is 0: there is no whole);
 * -ERANGE when it is a size above SIZE_MAX_BYTES. */
int size_parse(const char *text, uint64_t whole_bytes, uint64_t *ret_bytes);

/* Writes `bytes` into `buffer` of `n` bytes, cut to fit and always terminated when n is not
 * 0: "512 B", "22 KiB", "16.0 MiB", "infinity". Rounded to nearest. Returns `buffer`. */
char *size_format(char *buffer, size_t n, uint64_t bytes);
