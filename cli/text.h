/* SPDX-License-Identifier: MIT */
/* Numbers and strings as people read them. What comes from a ledger was written by
 * somebody else: it may lack its terminator, hold control characters, or a number
 * nobody ever counted to. */
#pragma once

#include "include/ledger.h"

/* A short string by value, so that several stand in one printf. */
struct text {
	char s[256];
};

/* "16.0 MiB". */
struct text text_bytes(uint64_t bytes);
struct text text_pages(uint64_t pages);

/* "16.0 MiB", or "infinity" for a limit of PAGES_MAX. */
struct text text_limit(uint32_t pages);

/* A duration: "0.1 s". */
struct text text_seconds(double seconds);

/* CLOCK_REALTIME as RFC 3339 in UTC with milliseconds: "2026-01-31T12:00:00.000Z". */
struct text text_time(uint64_t ns);

/* At most `n` bytes of `from`, up to a NUL if there is one; what is not printable ASCII
 * becomes '?'. Cut to fit. */
struct text text_clean(const char *from, size_t n);

/* --- the contract's words; "unknown" for a number it does not know --- */

const char *mode_name(uint32_t mode);
const char *category_name(enum category category);
const char *object_kind_name(enum object_kind kind);
const char *op_name(uint32_t op);
const char *reason_name(uint32_t reason);
