/* SPDX-License-Identifier: MIT */
/* Datagrams to a socket named in the environment: the protocol is a page long and stable
 * (systemd's portability promise), the library for it is not small. */
#include "daemon/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/protocol.h"

#define LISTEN_FIRST 3 /* SD_LISTEN_FDS_START */

static uint64_t number_of(const char *variable)
{
	const char *value = getenv(variable);
	return value ? strtoull(value, NULL, 10) : 0;
}

/* Are the variables meant for this process, and not for one it was forked from? */
static bool is_for_us(const char *variable)
{
	return !getenv(variable) || number_of(variable) == (uint64_t)getpid();
}

static int notify_connect(const char *name)
{
	struct sockaddr_un address;
	uint32_t length;
	if (!name || (name[0] != '/' && name[0] != '@') || protocol_address(name, &address, &length) != 0)
		return -1;
	/* systemd counts no NUL in a path's length, and takes one all the same. */
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, length) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

void notify_open(struct notify *n)
{
	*n = (struct notify){ .fd = notify_connect(getenv("NOTIFY_SOCKET")) };
	/* systemd 254 sets FDSTORE; dist/solventd.service does for those before. */
	n->stores = n->fd >= 0 && number_of("FDSTORE") > 0;
	if (n->fd >= 0 && is_for_us("WATCHDOG_PID"))
		n->watchdog_ns = number_of("WATCHDOG_USEC") * 1000 / 2;
}

static void notify_send(const struct notify *n, const char *lines, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec part = { (void *)lines, strlen(lines) };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	if (n->fd < 0)
		return;
	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(c), &fd, sizeof fd);
	}
	sendmsg(n->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void notify_say(const struct notify *n, const char *lines)
{
	notify_send(n, lines, -1);
}

void notify_store_books(const struct notify *n, int fd)
{
	if (n->stores)
		notify_send(n, "FDSTORE=1\nFDNAME=books", fd);
}

void notify_store_ledger(const struct notify *n, int fd, uint64_t inode)
{
	char lines[64];
	snprintf(lines, sizeof lines, "FDSTORE=1\nFDNAME=ledger-%" PRIu64, inode);
	if (n->stores)
		notify_send(n, lines, fd);
}

void notify_unstore_ledger(const struct notify *n, uint64_t inode)
{
	char lines[64];
	snprintf(lines, sizeof lines, "FDSTOREREMOVE=1\nFDNAME=ledger-%" PRIu64, inode);
	if (n->stores)
		notify_send(n, lines, -1);
}

/* One descriptor and the name it was passed under. What it is, not what it is called,
 * decides about a socket: its unit may name it freely. */
static void inherited_take(int fd, const char *name, size_t n, int *listener, struct kept *k)
{
	int listening = 0;
	socklen_t size = sizeof listening;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening && *listener < 0)
		*listener = fd;
	else if (n == strlen("books") && strncmp(name, "books", n) == 0 && k->books < 0)
		k->books = fd;
	else if (strncmp(name, "ledger-", strlen("ledger-")) == 0 && k->ledgers < BOOKS_ACCOUNTS)
		k->ledger[k->ledgers++] = fd;
	else
		close(fd);
}

void notify_inherited(int *ret_listener, struct kept *ret_kept)
{
	const char *name = getenv("LISTEN_FDNAMES");
	uint64_t n = is_for_us("LISTEN_PID") ? number_of("LISTEN_FDS") : 0;
	*ret_listener = -1;
	*ret_kept = (struct kept){ .books = -1, .keeper = -1 };
	name = name ? name : "";
	for (uint64_t i = 0; i < n && i < 1024; i++) {
		size_t length = strcspn(name, ":");
		inherited_take(LISTEN_FIRST + (int)i, name, length, ret_listener, ret_kept);
		name += length + (name[length] == ':');
	}
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}
