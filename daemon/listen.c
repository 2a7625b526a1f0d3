/* SPDX-License-Identifier: MIT */
/* A socket file stays behind when its broker is killed, and looks the same as a living
 * one. connect(2) tells them apart: only where it is refused is the file removed. */
#include "daemon/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/protocol.h"
#include "daemon/log.h"
#include "daemon/remnant.h"

static int complain(const char *path, int error, const char *what)
{
	log_error("the socket %s %s", path, what);
	return -error;
}

/* 0: nobody is there; -EADDRINUSE: somebody is; or why it cannot be told. */
static int try_connect(const struct sockaddr_un *address, uint32_t length)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int error = connect(fd, (const struct sockaddr *)address, length) == 0 ? EADDRINUSE : errno;
	close(fd);
	/* EAGAIN: somebody listens and is busy. EPROTOTYPE: another kind of socket does. */
	if (error == ECONNREFUSED || error == ENOENT)
		return 0;
	return error == EAGAIN || error == EPROTOTYPE ? -EADDRINUSE : -error;
}

static int remove_stale(const char *path, const struct sockaddr_un *address, uint32_t length)
{
	struct stat st;
	if (lstat(path, &st) != 0)
		return 0; /* bind(2) will say what is wrong with it */
	if (!S_ISSOCK(st.st_mode))
		return complain(path, EEXIST, "is a file that is no socket; remove it, or name another with --socket");
	int tries = 0, error = try_connect(address, length);
	while (error == -EADDRINUSE && remnant_may_go(&tries))
		error = try_connect(address, length);
	if (error == -EADDRINUSE)
		return complain(path, EADDRINUSE, "has a broker already; end that one, or name another with --socket");
	if (error == -EACCES)
		return complain(path, EACCES, "belongs to another user; name another with --socket");
	if (error)
		return complain(path, -error, strerror(-error));
	if (unlink(path) != 0 && errno != ENOENT) /* whoever had it may be removing it */
		return complain(path, errno, "was left behind and cannot be removed by this user; remove it, or name "
				"another with --socket");
	return 0;
}

static int bind_explain(const char *path, int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return complain(path, error, "is in a directory that does not exist; make it, or name another with --socket");
	case EACCES:
	case EPERM:
	case EROFS:
		return complain(path, error, "is in a directory this user may not write; name another with --socket");
	case EADDRINUSE:
		return complain(path, error, "has a broker already; end that one, or name another with --socket");
	default:
		return complain(path, error, strerror(error));
	}
}

static int bind_patiently(int fd, const struct sockaddr_un *address, uint32_t length)
{
	int tries = 0;
	while (bind(fd, (const struct sockaddr *)address, length) != 0)
		if (errno != EADDRINUSE || !remnant_may_go(&tries))
			return -1;
	return 0;
}

/* The directory is held open: the path may be relative, and daemons move to "/". */
static void file_remember(const char *path, struct listener *l)
{
	char directory[sizeof(struct sockaddr_un)];
	const char *slash = strrchr(path, '/');
	snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	struct stat st;
	l->name = slash ? slash + 1 : path;
	l->dir = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->dir >= 0 && fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		l->inode = st.st_ino;
}

int listener_open(const char *path, struct listener *ret)
{
	struct sockaddr_un address;
	uint32_t length;
	int error = protocol_address(path, &address, &length);
	if (error == -ENAMETOOLONG)
		return complain(path, ENAMETOOLONG, "has too long a name; a socket's may have 107 bytes");
	if (error)
		return complain("name", -error, "is empty; name a path, or @name, with --socket");
	bool is_file = path[0] != '@';
	error = is_file ? remove_stale(path, &address, length) : 0;
	if (error)
		return error;
	struct listener l = { .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), .dir = -1 };
	/* Whoever may reach the directory may ask; who may join is decided by uid. */
	if (l.fd < 0 || bind_patiently(l.fd, &address, length) != 0)
		error = bind_explain(path, errno);
	else if ((is_file && chmod(path, 0666) != 0) || listen(l.fd, SOMAXCONN) != 0)
		error = complain(path, errno, strerror(errno));
	if (error) {
		close(l.fd);
		return error;
	}
	if (is_file)
		file_remember(path, &l);
	*ret = l;
	return 0;
}

void listener_take(int fd, struct listener *ret)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	*ret = (struct listener){ .fd = fd, .dir = -1 };
}

void listener_close(struct listener *l)
{
	struct stat st;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	if (l->dir < 0)
		return;
	if (fstatat(l->dir, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == l->inode)
		unlinkat(l->dir, l->name, 0);
	close(l->dir);
	l->dir = -1;
}
