/* SPDX-License-Identifier: MIT */
#include "shim/backing.h"

#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "shim/raw.h"

#define TMPFS_MAGIC 0x01021994 /* include/uapi/linux/magic.h */
#define HUGETLBFS_MAGIC 0x958458f6

static enum backing backing_of(const struct statfs *fs)
{
	return (uint32_t)fs->f_type == TMPFS_MAGIC	 ? BACKING_TMPFS :
	       (uint32_t)fs->f_type == HUGETLBFS_MAGIC ? BACKING_HUGETLB :
							BACKING_FILE;
}

/* Pages can be there that the length does not cover: fallocate(2), FALLOC_FL_KEEP_SIZE. */
static void file_fill(const struct stat *st, struct behind *b)
{
	uint64_t length = pages_of((uint64_t)st->st_size), has = pages_of((uint64_t)st->st_blocks * 512);
	b->dev = st->st_dev;
	b->ino = st->st_ino;
	b->bytes = (uint64_t)st->st_size;
	b->pages = max_u64(length, has);
	b->has_holes = has < length;
}

static bool is_open_for_writing(int fd)
{
	long flags = raw_call2(SYS_fcntl, fd, F_GETFL);
	return !raw_failed(flags) && (flags & O_ACCMODE) == O_RDWR;
}

/* man 2 mmap, MAP_HUGETLB: the logarithm of the size, or 0 for the default one. */
static uint64_t unit_of(int flags)
{
	unsigned shift = (unsigned)flags >> MAP_HUGE_SHIFT & MAP_HUGE_MASK;
	return !(flags & MAP_HUGETLB) ? 1 : shift > PAGE_SHIFT ? 1ull << (shift - PAGE_SHIFT) : 512;
}

void behind_find(int prot, int flags, int fd, struct behind *ret)
{
	struct stat st;
	struct statfs fs;
	bool is_private = (flags & MAP_TYPE) == MAP_PRIVATE;
	*ret = (struct behind){ .backing = flags & MAP_ANONYMOUS ? BACKING_ANON : BACKING_FILE,
				.unit = unit_of(flags) };
	if (flags & MAP_ANONYMOUS || raw_failed(raw_call2(SYS_fstat, fd, &st)))
		return;
	if (S_ISCHR(st.st_mode))
		ret->backing = st.st_rdev == makedev(1, 5) ? BACKING_ZERO : BACKING_DEVICE;
	if (!S_ISREG(st.st_mode))
		return;
	file_fill(&st, ret);
	if (is_private && (prot & PROT_WRITE) == 0 && !ret->has_holes)
		return;
	if (!raw_failed(raw_call2(SYS_fstatfs, fd, &fs)))
		ret->backing = backing_of(&fs);
	if (ret->backing == BACKING_HUGETLB)
		ret->unit = pages_of((uint64_t)st.st_blksize);
	if (ret->backing == BACKING_TMPFS && !is_private)
		ret->may_write = is_open_for_writing(fd);
}

bool behind_has_changed(int fd, struct behind *b)
{
	struct stat st;
	uint64_t pages = b->pages;
	if (raw_failed(raw_call2(SYS_fstat, fd, &st)) || st.st_dev != b->dev || st.st_ino != b->ino)
		return false;
	file_fill(&st, b);
	return b->pages != pages;
}

static bool is_tmpfs(const struct stat *st, const struct statfs *fs, struct behind *ret)
{
	if (!S_ISREG(st->st_mode) || backing_of(fs) != BACKING_TMPFS)
		return false;
	*ret = (struct behind){ .backing = BACKING_TMPFS };
	file_fill(st, ret);
	return true;
}

bool behind_is_tmpfs(int fd, struct behind *ret)
{
	struct stat st;
	struct statfs fs;
	return !raw_failed(raw_call2(SYS_fstat, fd, &st)) && !raw_failed(raw_call2(SYS_fstatfs, fd, &fs)) &&
	       is_tmpfs(&st, &fs, ret);
}

bool behind_path_is_tmpfs(const char *path, struct behind *ret)
{
	struct stat st;
	struct statfs fs;
	return !raw_failed(raw_call2(SYS_stat, path, &st)) && !raw_failed(raw_call2(SYS_statfs, path, &fs)) &&
	       is_tmpfs(&st, &fs, ret);
}
