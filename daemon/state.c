/* SPDX-License-Identifier: MIT */
/* Whoever can write here could hand the next broker ledgers of his own, so the directory
 * must be ours and nobody else's to write. The note is replaced whole by rename(2); a
 * broker killed while it wrote leaves the old one or the new one. */
#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/proc.h"
#include "daemon/remnant.h"

#define NOTE "keeper"
#define NOTE_NEW "keeper.new"
#define NOTE_HEAD "solvent-keeper 1\n"
#define NOTE_BYTES 4096

static int directory_check(const char *path, int dir)
{
	struct stat st;
	if (fstat(dir, &st) != 0)
		return -errno;
	if (st.st_uid != geteuid()) {
		log_error("the state directory %s belongs to user %u, not to user %u who starts solventd; name another "
			  "with --state", path, st.st_uid, geteuid());
		return -EPERM;
	}
	if (st.st_mode & 022) {
		log_error("the state directory %s may be written by others (mode %04o); chmod go-w it, or name another "
			  "with --state", path, st.st_mode & 07777);
		return -EPERM;
	}
	return 0;
}

static int directory_open(const char *path, mode_t mode)
{
	if (mkdir(path, mode) != 0 && errno != EEXIST) {
		int error = errno;
		log_error("the state directory %s cannot be made: %s; make it, or name another with --state", path,
			  strerror(error));
		return -error;
	}
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0) {
		int error = errno;
		log_error("the state directory %s cannot be opened: %s; name another with --state", path,
			  strerror(error));
		return -error;
	}
	int error = directory_check(path, dir);
	if (error) {
		close(dir);
		return error;
	}
	return dir;
}

static int lock_take(const char *path, int dir)
{
	int lock = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (lock < 0) {
		int error = errno;
		log_error("%s/lock cannot be made: %s; the state directory must be writable by user %u", path,
			  strerror(error), geteuid());
		return -error;
	}
	int tries = 0;
	do {
		if (flock(lock, LOCK_EX | LOCK_NB) == 0)
			return lock;
	} while (remnant_may_go(&tries));
	log_error("another broker uses the state directory %s; end that one, or name another with --state", path);
	close(lock);
	return -EBUSY;
}

int state_open(const char *path, mode_t mode, struct state *ret)
{
	int dir = directory_open(path, mode);
	if (dir < 0)
		return dir;
	int lock = lock_take(path, dir);
	if (lock < 0) {
		close(dir);
		return lock;
	}
	*ret = (struct state){ .dir = dir, .lock = lock, .path = path };
	return 0;
}

static int note_write(const struct state *s, const char *text, size_t n)
{
	int fd = openat(s->dir, NOTE_NEW, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	int error = write(fd, text, n) != (ssize_t)n ? -EIO : 0;
	close(fd);
	if (!error && renameat(s->dir, NOTE_NEW, s->dir, NOTE) != 0)
		error = -errno;
	return error;
}

int state_note(const struct state *s, int32_t keeper, int books, const int *ledger, uint32_t ledgers)
{
	struct proc_stat st;
	char text[NOTE_BYTES];
	int error = proc_stat(keeper, &st);
	if (error)
		return error;
	int n = snprintf(text, sizeof text, NOTE_HEAD "pid %d start %llu\nbooks %d\n", keeper,
			 (unsigned long long)st.start_ticks, books);
	for (uint32_t i = 0; i < ledgers; i++)
		n += snprintf(text + n, sizeof text - (size_t)n, "ledger %d\n", ledger[i]);
	return note_write(s, text, (size_t)n);
}

static int note_read(const struct state *s, char *text, size_t bytes)
{
	int fd = openat(s->dir, NOTE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, text, bytes - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return strncmp(text, NOTE_HEAD, strlen(NOTE_HEAD)) == 0 ? 0 : -EBADMSG;
}

/* The keeper as a pidfd, if it is that process still. */
static int keeper_open(int32_t pid, uint64_t start_ticks)
{
	struct proc_stat st;
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (pidfd < 0)
		return -ESRCH;
	if (proc_stat(pid, &st) == 0 && st.start_ticks == start_ticks && st.state != 'Z')
		return pidfd;
	close(pidfd);
	return -ESRCH;
}

/* The same memfd as the keeper's descriptor `number`: opened anew, not duplicated. */
static int descriptor_open(int32_t pid, int number)
{
	char path[64], target[64];
	snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, number);
	ssize_t n = readlink(path, target, sizeof target - 1);
	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (strncmp(target, "/memfd:solvent-", strlen("/memfd:solvent-")) != 0)
		return -EBADMSG;
	int fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static void note_follow(const char *text, int32_t pid, struct kept *k)
{
	for (const char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		int number, fd;
		if (sscanf(line, "books %d", &number) == 1 && k->books < 0) {
			k->books = descriptor_open(pid, number);
		} else if (sscanf(line, "ledger %d", &number) == 1 && k->ledgers < BOOKS_ACCOUNTS) {
			fd = descriptor_open(pid, number);
			if (fd >= 0)
				k->ledger[k->ledgers++] = fd;
		}
	}
}

void state_read(const struct state *s, struct kept *ret)
{
	char text[NOTE_BYTES];
	int32_t pid = 0;
	unsigned long long start = 0;
	*ret = (struct kept){ .books = -1, .keeper = -1 };
	int error = note_read(s, text, sizeof text);
	if (error == -ENOENT)
		return;
	if (error || sscanf(text, NOTE_HEAD "pid %d start %llu", &pid, &start) != 2) {
		log_warning("%s/" NOTE " is not a note of a keeper; it is not used", s->path);
		return;
	}
	ret->keeper = keeper_open(pid, start);
	if (ret->keeper < 0) {
		log_warning("the keeper of the ledgers (process %d) is gone; members of the last broker, if any live, "
			    "are not known to this one", pid);
		return;
	}
	note_follow(text, pid, ret);
}

void state_forget(const struct state *s)
{
	unlinkat(s->dir, NOTE, 0);
}
