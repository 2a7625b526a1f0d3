/* SPDX-License-Identifier: MIT */
/* Files that are memory, tmpfs and memfd, and change their size while a process of the account
 * has them mapped: what the mapping reserved grows first and shrinks afterwards. Whether it is
 * this process that maps them does not matter, the object is the account's. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "reserve/ledger.h"
#include "shim/afford.h"
#include "shim/backing.h"
#include "shim/door.h"
#include "shim/next.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/shared.h"

/* A file whose size is about to change. Not `known`: nobody is charged for it. */
struct growth {
	bool known;
	struct behind file;
	uint64_t added; /* pages, to its object */
};

static bool anything_is_charged(void)
{
	return self.state == SELF_MEMBER && ledger_objects(self.ledger) != 0;
}

static enum refusal_reason grow(struct growth *g, uint64_t pages)
{
	enum refusal_reason reason = shared_file_grow(g->file.dev, g->file.ino, pages, &g->added);
	if (afford_may_help(reason) && afford_purge())
		reason = shared_file_grow(g->file.dev, g->file.ino, pages, &g->added);
	return reason;
}

/* Before: true: go on. */
static bool growth_begin(struct growth *g, uint64_t bytes)
{
	enum refusal_reason reason = g->known ? grow(g, pages_of(bytes)) : REASON_NONE;
	if (reason == REASON_NONE)
		return true;
	door_refused(OP_SHM, bytes, reason);
	return false;
}

static void growth_undo(const struct growth *g)
{
	if (g->known)
		shared_file_shrink_by(g->file.dev, g->file.ino, g->added);
}

/* --- sizing --- */

/* After: the object is as large as the file is now, if it became no longer: beyond its end
 * there is nothing any more (mm/shmem.c:shmem_setattr). Another process may size it too, and
 * grow its object before we shrink it: so the file is looked at again, and whoever looks last
 * is right. (Refused then, there is nothing left to undo.) */
static void sized(struct growth *g, off_t bytes, bool look(const void *, struct behind *), const void *file)
{
	uint64_t added;
	if (!g->known)
		return;
	if ((uint64_t)bytes <= g->file.bytes)
		shared_file_shrink_to(g->file.dev, g->file.ino, pages_of((uint64_t)bytes));
	if (look(file, &g->file))
		shared_file_grow(g->file.dev, g->file.ino, pages_of(g->file.bytes), &added);
}

static bool look_at_descriptor(const void *fd, struct behind *ret)
{
	return behind_is_tmpfs(*(const int *)fd, ret);
}

static bool look_at_path(const void *path, struct behind *ret)
{
	return behind_path_is_tmpfs(path, ret);
}

static long size_to(long number, long file, const void *file_for_look, bool look(const void *, struct behind *),
		    off_t bytes)
{
	struct growth g = { .known = bytes >= 0 && anything_is_charged() };
	g.known = g.known && look(file_for_look, &g.file);
	if (!growth_begin(&g, (uint64_t)bytes))
		return -ENOMEM;
	long r = raw_call2(number, file, bytes);
	if (raw_failed(r))
		growth_undo(&g);
	else
		sized(&g, bytes, look, file_for_look);
	return r;
}

SHIM_EXPORT int ftruncate(int fd, off_t bytes)
{
	return (int)door_result(size_to(SYS_ftruncate, fd, &fd, look_at_descriptor, bytes));
}

SHIM_EXPORT int truncate(const char *path, off_t bytes)
{
	return (int)door_result(size_to(SYS_truncate, (long)path, path, look_at_path, bytes));
}

SHIM_EXPORT int ftruncate64(int fd, off64_t bytes) __attribute__((alias("ftruncate")));
SHIM_EXPORT int truncate64(const char *path, off64_t bytes) __attribute__((alias("truncate")));

/* --- filling --- */

/* Punching holes and the like makes nothing. */
static struct growth filling(int fd, int mode, off_t at, off_t bytes)
{
	struct growth g = { .known = (mode & ~FALLOC_FL_KEEP_SIZE) == 0 && at >= 0 && bytes > 0 &&
				     anything_is_charged() };
	g.known = g.known && behind_is_tmpfs(fd, &g.file);
	return g;
}

/* ENOSPC is what callers of these expect. */
SHIM_EXPORT int fallocate(int fd, int mode, off_t at, off_t bytes)
{
	struct growth g = filling(fd, mode, at, bytes);
	if (!growth_begin(&g, (uint64_t)at + (uint64_t)bytes))
		return (int)door_result(-ENOSPC);
	int r = next()->fallocate(fd, mode, at, bytes);
	if (r != 0)
		growth_undo(&g);
	return r;
}

SHIM_EXPORT int posix_fallocate(int fd, off_t at, off_t bytes)
{
	struct growth g = filling(fd, 0, at, bytes);
	if (!growth_begin(&g, (uint64_t)at + (uint64_t)bytes))
		return ENOSPC;
	int error = next()->posix_fallocate(fd, at, bytes);
	if (error)
		growth_undo(&g);
	return error;
}

SHIM_EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t bytes) __attribute__((alias("fallocate")));
SHIM_EXPORT int posix_fallocate64(int fd, off64_t at, off64_t bytes) __attribute__((alias("posix_fallocate")));
