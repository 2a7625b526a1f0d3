/* SPDX-License-Identifier: MIT */
/* A few pages of data, initialised and not. */
int exact_small_data[3000] = { 1 };
int exact_small_zeroes[3000];
