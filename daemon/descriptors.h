/* SPDX-License-Identifier: MIT */
/* Holding no more descriptors than are meant to be held. */
#pragma once

#include <stdint.h>

/* Closes everything above stderr but the `n` in `keep`; those may be -1, and come back
 * sorted. */
void descriptors_keep(int *keep, uint32_t n);

/* stdin, stdout and stderr become /dev/null. */
void descriptors_drop_stdio(void);
