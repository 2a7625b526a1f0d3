/* SPDX-License-Identifier: MIT */
/* The reading half of the protocol. One request, one reply of an exact size; anything
 * else is an error with a name, never a guess. */
#include "cli/client.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/text.h"

int client_open(const char *name)
{
	struct sockaddr_un address;
	uint32_t length;
	int error = protocol_address(name, &address, &length);
	if (error)
		return error;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* The send timeout bounds connect too: a listener with a full backlog lets it wait. */
	struct timeval patience = { .tv_sec = CLIENT_PATIENCE_MS / 1000 };
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&address, length) != 0) {
		error = errno == EAGAIN ? -ETIMEDOUT : -errno;
		close(fd);
		return error;
	}
	return fd;
}

/* Takes the first descriptor out of a received message and closes any other. */
static int descriptor_take(struct msghdr *m)
{
	int taken = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (taken < 0)
				taken = fd;
			else
				close(fd);
		}
	}
	return taken;
}

/* The reply's size, or -errno; a descriptor that came with it in `ret_fd`, else -1 there. */
static ssize_t reply_receive(int fd, void *reply, size_t bytes, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { reply, bytes };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	ssize_t n = TEMP_FAILURE_RETRY(recvmsg(fd, &m, MSG_CMSG_CLOEXEC));
	if (n < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	*ret_fd = descriptor_take(&m);
	return n == 0 ? -ECONNRESET : (m.msg_flags & MSG_TRUNC) ? -EBADMSG : n;
}

static int status_to_error(uint32_t status)
{
	switch (status) {
	case STATUS_VERSION:
		return -EPROTO;
	case STATUS_END:
		return -ENODATA; /* which connect(2) does not say */
	case STATUS_NOT_ALLOWED:
		return -EACCES;
	default:
		return -EBADMSG;
	}
}

static int reply_check(const struct message *head, size_t n, size_t bytes)
{
	if (n < sizeof *head || head->magic != PROTOCOL_MAGIC)
		return -EBADMSG;
	if (head->version != PROTOCOL_VERSION)
		return -EPROTO;
	if (head->status != STATUS_OK)
		return status_to_error(head->status);
	return n == bytes ? 0 : -EBADMSG;
}

/* Sends `request` and receives `reply`, whose first member is a struct message. */
static int client_ask(int fd, void *request, size_t request_bytes, enum opcode opcode, void *reply,
		      size_t reply_bytes, int *ret_fd)
{
	struct message *head = request;
	*head = (struct message){ .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .opcode = opcode };
	if (TEMP_FAILURE_RETRY(send(fd, request, request_bytes, MSG_NOSIGNAL)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	int received = -1;
	ssize_t n = reply_receive(fd, reply, reply_bytes, &received);
	int error = n < 0 ? (int)n : reply_check(reply, (size_t)n, reply_bytes);
	if (error && received >= 0)
		close(received);
	else if (!error)
		*ret_fd = received;
	return error;
}

int client_pool(int fd, struct reply_pool *ret)
{
	struct request_pool request;
	struct reply_pool reply;
	int received;
	int error = client_ask(fd, &request, sizeof request, OPCODE_POOL, &reply, sizeof reply, &received);
	if (error)
		return error;
	if (received >= 0)
		close(received);
	*ret = reply;
	return 0;
}

int client_account(int fd, uint32_t index, struct reply_account *ret, int *ret_ledger)
{
	struct request_account request = { .index = index };
	struct reply_account reply;
	int received;
	int error = client_ask(fd, &request, sizeof request, OPCODE_ACCOUNT, &reply, sizeof reply, &received);
	if (error)
		return error;
	*ret = reply;
	*ret_ledger = received;
	return 0;
}

int client_rank(int fd, struct request_rank *request, struct reply_rank *ret)
{
	int received;
	int error = client_ask(fd, request, sizeof *request, OPCODE_RANK, ret, sizeof *ret, &received);
	if (!error && received >= 0)
		close(received);
	return error;
}

const char *client_explain(int error)
{
	switch (error) {
	case -EPROTO:
		return "it speaks another version of the protocol";
	case -EBADMSG:
		return "what answers there is not a broker";
	case -ETIMEDOUT:
		return "it accepts connections but does not answer";
	case -ECONNRESET:
		return "it closed the connection";
	case -ENAMETOOLONG:
		return "the name is too long for a socket (107 bytes)";
	case -EINVAL:
		return "the name is empty";
	default:
		return strerror(-error);
	}
}

void client_complain(const char *name, int error)
{
	cli_complain("no broker answers at %s: %s; start solventd or use --socket", name, client_explain(error));
}
