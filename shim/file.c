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
	bool (*look)(const void *at, struct behind *ret);
	const void *at; /* a descriptor, a path */
	struct behind file;
	uint64_t added; /* pages, to its object: so many it may give back */
};

static bool anything_is_charged(void)
{
	return self.state == SELF_MEMBER && ledger_objects(self.ledger) != 0;
}

static enum refusal_reason fit(struct growth *g, uint64_t pages)
{
	enum refusal_reason reason = shared_file_fit(g->file.dev, g->file.ino, pages, &g->added);
	if (afford_may_help(reason) && afford_purge())
		reason = shared_file_fit(g->file.dev, g->file.ino, pages, &g->added);
	return reason;
}

/* Before: true: go on. */
static bool growth_begin(struct growth *g, uint64_t bytes)
{
	g->known = g->known && g->look(g->at, &g->file);
	enum refusal_reason reason = g->known ? fit(g, pages_of(bytes)) : REASON_NONE;
	if (reason == REASON_NONE)
		return true;
	door_refused(OP_SHM, bytes, reason);
	return false;
}

/* Only somebody who sizes it without end makes this many changes meanwhile. */
#define LOOKS 16

static bool look_again(const struct growth *g, struct behind *ret)
{
	return g->look(g->at, ret) && ret->dev == g->file.dev && ret->ino == g->file.ino;
}

/* After, whatever came of it: the object is as large as the file is now, though it gives back no
 * more than `added`. Others size the file meanwhile, and have relied on what we added or grown the
 * object before we cut it: so the file is looked at again until the last look changed nothing, and
 * whoever looks last is right. (Refused then, there is nothing left to undo.) */
static void growth_end(struct growth *g)
{
	struct behind now;
	for (int looks = 0; g->known && looks < LOOKS && look_again(g, &now); looks++) {
		uint64_t before = g->added;
		if (fit(g, now.pages) != REASON_NONE || g->added == before)
			return;
	}
}

/* --- sizing --- */

static bool look_at_descriptor(const void *fd, struct behind *ret)
{
	return behind_is_tmpfs(*(const int *)fd, ret);
}

static bool look_at_path(const void *path, struct behind *ret)
{
	return behind_path_is_tmpfs(path, ret);
}

/* Made no longer, it has nothing beyond its end (mm/shmem.c:shmem_setattr), and the object gives
 * back whatever is too much. */
static long size_to(long number, long file, struct growth g, off_t bytes)
{
	g.known = bytes >= 0 && anything_is_charged();
	if (!growth_begin(&g, (uint64_t)bytes))
		return -ENOMEM;
	long r = raw_call2(number, file, bytes);
	if (!raw_failed(r) && (uint64_t)bytes <= g.file.bytes)
		g.added = PAGES_MAX;
	growth_end(&g);
	return r;
}

SHIM_EXPORT int ftruncate(int fd, off_t bytes)
{
	struct growth g = { .look = look_at_descriptor, .at = &fd };
	return (int)door_result(size_to(SYS_ftruncate, fd, g, bytes));
}

SHIM_EXPORT int truncate(const char *path, off_t bytes)
{
	struct growth g = { .look = look_at_path, .at = path };
	return (int)door_result(size_to(SYS_truncate, (long)path, g, bytes));
}

SHIM_EXPORT int ftruncate64(int fd, off64_t bytes) __attribute__((alias("ftruncate")));
SHIM_EXPORT int truncate64(const char *path, off64_t bytes) __attribute__((alias("truncate")));

/* --- filling --- */

/* Punching holes and the like makes nothing. */
static struct growth filling(const int *fd, int mode, off_t at, off_t bytes)
{
	return (struct growth){ .known = (mode & ~FALLOC_FL_KEEP_SIZE) == 0 && at >= 0 && bytes > 0 &&
					 anything_is_charged(),
				.look = look_at_descriptor, .at = fd };
}

/* ENOSPC is what callers of these expect. */
SHIM_EXPORT int fallocate(int fd, int mode, off_t at, off_t bytes)
{
	struct growth g = filling(&fd, mode, at, bytes);
	if (!growth_begin(&g, (uint64_t)at + (uint64_t)bytes))
		return (int)door_result(-ENOSPC);
	int r = next()->fallocate(fd, mode, at, bytes), error = errno;
	/* Pages beyond its end do not show in the file's length. */
	if (r == 0 && mode & FALLOC_FL_KEEP_SIZE)
		g.added = 0;
	growth_end(&g);
	errno = error;
	return r;
}

SHIM_EXPORT int posix_fallocate(int fd, off_t at, off_t bytes)
{
	struct growth g = filling(&fd, 0, at, bytes);
	if (!growth_begin(&g, (uint64_t)at + (uint64_t)bytes))
		return ENOSPC;
	int error = next()->posix_fallocate(fd, at, bytes);
	growth_end(&g);
	return error;
}

SHIM_EXPORT int fallocate64(int fd, int mode, off64_t at, off64_t bytes) __attribute__((alias("fallocate")));
SHIM_EXPORT int posix_fallocate64(int fd, off64_t at, off64_t bytes) __attribute__((alias("posix_fallocate")));
