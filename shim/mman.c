/* SPDX-License-Identifier: MIT */
/* The doors of the mapping family. Each asks shim/map.h, and on a refusal gives the heap a
 * chance to return what it does not need before it says ENOMEM. */
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/handler.h"
#include "shim/loaded.h"
#include "shim/map.h"

/* Should the door try again? A refusal that our own idle pages can cure, once. */
static bool purged(enum refusal_reason reason, int *tries)
{
	return afford_may_help(reason) && (*tries)++ == 0 && afford_purge();
}

/* A library whose arrival nobody saw (shim/module.c) is found where the thread that loaded it comes
 * by. No other's: it may hold a lock that somebody who holds the loader's waits for. */
static void settle_due(void)
{
	if (unlikely(loaded_owes) && !handler_is_running())
		loaded_settle_owed();
}

/* What every door says at its end, refused or not. */
static long mman_result(long r, enum refusal_op op, uint64_t bytes, enum refusal_reason reason)
{
	if (unlikely(reason != REASON_NONE))
		door_refused(op, bytes, reason);
	else if (unlikely(charge_was_over()))
		door_observed(op, bytes);
	return door_result(r);
}

SHIM_EXPORT void *mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	enum refusal_reason reason;
	int tries = 0;
	long r;
	settle_due();
	do
		r = map_mmap(addr, bytes, prot, flags, fd, offset, CATEGORY_MAP, &reason);
	while (purged(reason, &tries));
	return (void *)mman_result(r, OP_MMAP, bytes, reason);
}

SHIM_EXPORT void *mmap64(void *addr, size_t bytes, int prot, int flags, int fd, off64_t offset)
	__attribute__((alias("mmap")));

SHIM_EXPORT int munmap(void *addr, size_t bytes)
{
	return (int)door_result(map_munmap(addr, bytes, CATEGORY_MAP));
}

static int protect(void *addr, size_t bytes, int prot, int pkey)
{
	enum refusal_reason reason;
	int tries = 0;
	long r;
	settle_due();
	do
		r = map_mprotect(addr, bytes, prot, pkey, CATEGORY_MAP, &reason);
	while (purged(reason, &tries));
	return (int)mman_result(r, OP_MPROTECT, bytes, reason);
}

SHIM_EXPORT int mprotect(void *addr, size_t bytes, int prot)
{
	return protect(addr, bytes, prot, -1);
}

SHIM_EXPORT int pkey_mprotect(void *addr, size_t bytes, int prot, int pkey)
{
	return protect(addr, bytes, prot, pkey);
}

SHIM_EXPORT void *mremap(void *old, size_t old_bytes, size_t new_bytes, int flags, ...)
{
	void *new_addr = NULL;
	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list arguments;
		va_start(arguments, flags);
		new_addr = va_arg(arguments, void *);
		va_end(arguments);
	}
	enum refusal_reason reason;
	int tries = 0;
	long r;
	do
		r = map_mremap(old, old_bytes, new_bytes, flags, new_addr, &reason);
	while (purged(reason, &tries));
	return (void *)mman_result(r, OP_MREMAP, new_bytes, reason);
}

/* Not reached is what libc calls a failure (misc/brk.c), where the break is now. */
SHIM_EXPORT int brk(void *end)
{
	enum refusal_reason reason;
	int tries = 0;
	uintptr_t now;
	do
		now = (uintptr_t)map_brk(end, &reason);
	while (purged(reason, &tries));
	bool reached = now >= (uintptr_t)end;
	return (int)mman_result(reached ? 0 : -ENOMEM, OP_BRK, reached ? 0 : (uintptr_t)end - now, reason);
}

SHIM_EXPORT void *sbrk(intptr_t increment)
{
	enum refusal_reason reason;
	int tries = 0;
	long r;
	do
		r = map_sbrk(increment, &reason);
	while (purged(reason, &tries));
	return (void *)mman_result(r, OP_BRK, increment > 0 ? (uint64_t)increment : 0, reason);
}

/* Exported by libc, too. */
SHIM_EXPORT void *__sbrk(intptr_t increment) __attribute__((alias("sbrk"), copy(sbrk)));
