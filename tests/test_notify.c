/* SPDX-License-Identifier: MIT */
/* The service manager's side is played by the test. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/notify.h"
#include "include/protocol.h"

static int manager = -1;
static char name[64];

static void begin(void)
{
	struct sockaddr_un address;
	uint32_t length;
	snprintf(name, sizeof name, "@solvent-notify-%d", getpid());
	cr_assert(protocol_address(name, &address, &length) == 0);
	manager = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert(bind(manager, (struct sockaddr *)&address, length) == 0);
	setenv("NOTIFY_SOCKET", name, 1);
	unsetenv("FDSTORE");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

TestSuite(notify, .timeout = 20, .init = begin);

/* The next datagram as a string, and the descriptor that came with it or -1. */
static const char *told(int *ret_fd)
{
	static char text[256];
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { text, sizeof text - 1 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	ssize_t n = recvmsg(manager, &m, MSG_DONTWAIT);
	text[n > 0 ? n : 0] = '\0';
	*ret_fd = -1;
	if (n > 0 && CMSG_FIRSTHDR(&m))
		memcpy(ret_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof *ret_fd);
	return text;
}

Test(notify, says_nothing_without_a_manager)
{
	struct notify n;
	int fd;
	static const char *const sockets[] = { "", "relative", "/nonexistent/notify", "vsock:1:2" };
	for (size_t i = 0; i < ARRAY_N(sockets); i++) {
		setenv("NOTIFY_SOCKET", sockets[i], 1);
		setenv("FDSTORE", "5", 1);
		setenv("WATCHDOG_USEC", "1000000", 1);
		notify_open(&n);
		cr_assert(n.fd < 0 && !n.stores && n.watchdog_ns == 0, "%s", sockets[i]);
		notify_say(&n, "READY=1");
		notify_store_books(&n, STDERR_FILENO);
	}
	cr_assert_str_eq(told(&fd), "");
}

Test(notify, says_what_it_is_told_to)
{
	struct notify n;
	int fd;
	notify_open(&n);
	cr_assert(n.fd >= 0 && !n.stores && n.watchdog_ns == 0);
	notify_say(&n, "READY=1");
	cr_assert_str_eq(told(&fd), "READY=1");
	cr_assert(fd < 0);
	notify_store_books(&n, STDERR_FILENO); /* no store: nothing */
	cr_assert_str_eq(told(&fd), "");
}

Test(notify, wants_half_the_watchdogs_time)
{
	struct notify n;
	char pid[16];
	setenv("WATCHDOG_USEC", "3000000", 1);
	notify_open(&n);
	cr_assert(n.watchdog_ns == 1500000000ull);
	setenv("WATCHDOG_PID", "1", 1);
	notify_open(&n);
	cr_assert(n.watchdog_ns == 0, "that was another process's");
	snprintf(pid, sizeof pid, "%d", getpid());
	setenv("WATCHDOG_PID", pid, 1);
	notify_open(&n);
	cr_assert(n.watchdog_ns == 1500000000ull);
}

Test(notify, stores_descriptors_under_names_of_their_own)
{
	struct notify n;
	struct stat sent, got;
	int fd, memory = memfd_create("x", 0);
	setenv("FDSTORE", "100", 1);
	notify_open(&n);
	cr_assert(n.stores);
	notify_store_books(&n, memory);
	cr_assert_str_eq(told(&fd), "FDSTORE=1\nFDNAME=books");
	cr_assert(fstat(memory, &sent) == 0 && fstat(fd, &got) == 0 && sent.st_ino == got.st_ino);
	notify_store_ledger(&n, memory, 4711);
	cr_assert_str_eq(told(&fd), "FDSTORE=1\nFDNAME=ledger-4711");
	cr_assert(fd >= 0);
	notify_unstore_ledger(&n, 4711);
	cr_assert_str_eq(told(&fd), "FDSTOREREMOVE=1\nFDNAME=ledger-4711");
	cr_assert(fd < 0);
}

/* In a child, where 3 and above can be what a manager passes. 0, or which check failed. */
static int inherited(const char *names, bool for_us)
{
	struct kept k;
	char pid[16];
	int listener, books = memfd_create("books", 0), ledger = memfd_create("ledger", 0);
	int door = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	if (bind(door, (struct sockaddr *)&address, sizeof(sa_family_t)) != 0 || listen(door, 1) != 0)
		return 1;
	books = fcntl(books, F_DUPFD, 50);
	ledger = fcntl(ledger, F_DUPFD, 50);
	door = fcntl(door, F_DUPFD, 50);
	dup2(books, 3);
	dup2(door, 4);
	dup2(ledger, 5);
	dup2(ledger, 6);
	snprintf(pid, sizeof pid, "%d", for_us ? getpid() : 1);
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "4", 1);
	setenv("LISTEN_FDNAMES", names, 1);
	notify_inherited(&listener, &k);
	if (getenv("LISTEN_FDS") || getenv("LISTEN_PID") || getenv("LISTEN_FDNAMES"))
		return 2;
	if (!for_us)
		return listener >= 0 || k.books >= 0 || k.ledgers > 0 ? 3 : 0;
	if (listener != 4 || !(fcntl(4, F_GETFD) & FD_CLOEXEC))
		return 4;
	if (k.books != 3 || k.ledgers != 1 || k.ledger[0] != 5 || k.keeper != -1)
		return 5;
	return fcntl(6, F_GETFD) >= 0 ? 6 : 0; /* what nobody knows is closed */
}

Test(notify, takes_what_was_stored_and_a_listening_socket)
{
	static const struct {
		const char *names;
		bool for_us;
	} table[] = { { "books:solventd.socket:ledger-4711:other", true }, { "books::ledger-1", true },
		      { "books:solventd.socket:ledger-4711:other", false } };
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			_exit(inherited(table[i].names, table[i].for_us));
		waitpid(pid, &status, 0);
		cr_assert(status == 0, "row %zu: check %d", i, WEXITSTATUS(status));
	}
}
