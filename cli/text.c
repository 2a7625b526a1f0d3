/* SPDX-License-Identifier: MIT */
/* Everything a person reads passes here once, so that a unit, a date or a hostile name
 * looks the same under every verb. */
#include "cli/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "reserve/size.h"

struct text text_bytes(uint64_t bytes)
{
	struct text t = { "" };
	size_format(t.s, sizeof t.s, bytes);
	return t;
}

struct text text_pages(uint64_t pages)
{
	return text_bytes(bytes_of(pages));
}

struct text text_limit(uint32_t pages)
{
	return pages == PAGES_MAX ? (struct text){ "infinity" } : text_pages(pages);
}

struct text text_seconds(double seconds)
{
	struct text t = { "" };
	snprintf(t.s, sizeof t.s, "%.1f s", seconds);
	return t;
}

struct text text_time(uint64_t ns)
{
	struct text t = { "" };
	struct tm tm;
	time_t seconds = (time_t)(ns / 1000000000);
	char date[32];
	gmtime_r(&seconds, &tm); /* 2^64 ns end in the year 2554: always representable */
	strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(t.s, sizeof t.s, "%s.%03uZ", date, (unsigned)(ns / 1000000 % 1000));
	return t;
}

struct text text_clean(const char *from, size_t n)
{
	struct text t = { "" };
	size_t length = strnlen(from, n);
	if (length > sizeof t.s - 1)
		length = sizeof t.s - 1;
	for (size_t i = 0; i < length; i++)
		t.s[i] = from[i] >= ' ' && from[i] <= '~' ? from[i] : '?';
	return t;
}

#define WORD(table, n) ((n) < ARRAY_N(table) && (table)[n] ? (table)[n] : "unknown")

const char *mode_name(uint32_t mode)
{
	static const char *const WORDS[ACCOUNT_MODE_N] = {
		[ACCOUNT_ENFORCE] = "enforce",
		[ACCOUNT_OBSERVE] = "observe",
	};
	return WORD(WORDS, mode);
}

const char *category_name(enum category category)
{
	static const char *const WORDS[CATEGORY_N] = {
		[CATEGORY_IMAGE] = "image",   [CATEGORY_STACK] = "stack",     [CATEGORY_HEAP] = "heap",
		[CATEGORY_MAP] = "map",       [CATEGORY_THREAD] = "thread",   [CATEGORY_SOLVENT] = "solvent",
		[CATEGORY_UNSEEN] = "unseen",
	};
	return WORD(WORDS, category);
}

const char *object_kind_name(enum object_kind kind)
{
	static const char *const WORDS[OBJECT_KIND_N] = {
		[OBJECT_FREE] = "free", [OBJECT_CLAIMED] = "claimed", [OBJECT_ANON] = "anon",
		[OBJECT_FILE] = "file", [OBJECT_SYSV] = "sysv",
	};
	return WORD(WORDS, kind);
}

const char *op_name(uint32_t op)
{
	static const char *const WORDS[OP_N] = {
		[OP_MALLOC] = "malloc", [OP_MMAP] = "mmap",     [OP_MREMAP] = "mremap", [OP_MPROTECT] = "mprotect",
		[OP_BRK] = "brk",       [OP_SHM] = "shm",       [OP_FORK] = "fork",     [OP_THREAD] = "thread",
		[OP_EXEC] = "exec",     [OP_DLOPEN] = "dlopen", [OP_JOIN] = "join",
	};
	return WORD(WORDS, op);
}

const char *reason_name(uint32_t reason)
{
	static const char *const WORDS[REASON_N] = {
		[REASON_LIMIT] = "limit", [REASON_POOL] = "pool",       [REASON_BROKER] = "broker",
		[REASON_SLOTS] = "slots", [REASON_OBJECTS] = "objects", [REASON_TABLE] = "table",
		[REASON_POLICY] = "policy",
	};
	return WORD(WORDS, reason);
}
