/* SPDX-License-Identifier: MIT */
/* Data that a small budget does not have. */
char exact_large_zeroes[6 << 20];
