/* SPDX-License-Identifier: MIT */
/* A member without the shim: speaks the protocol, maps the ledger, charges and forks by
 * reserve/ alone. For the tests of the broker. */
#pragma once

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "include/protocol.h"
#include "reserve/embryo.h"
#include "reserve/ledger.h"

#define PEER_PATIENCE_S 5

struct peer_member {
	const char *socket;
	char account[ACCOUNT_NAME_BYTES];
	struct ledger *ledger;
	uint32_t slot, generation;
	uint32_t renewed;
	int32_t pid; /* as the broker sees it */
};

__attribute__((unused)) static int peer_connect(const char *name)
{
	struct sockaddr_un address;
	uint32_t length;
	struct timeval patience = { .tv_sec = PEER_PATIENCE_S };
	int error = protocol_address(name, &address, &length);
	int fd = error ? error : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error ? error : -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (connect(fd, (struct sockaddr *)&address, length) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

/* Sends `request` and receives at most `bytes`. The reply's size or -errno; a descriptor
 * that came with it in `ret_fd`, which may be NULL. */
__attribute__((unused)) static ssize_t peer_ask(int fd, const void *request, size_t request_bytes, void *reply,
						size_t bytes, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { reply, bytes };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	if (send(fd, request, request_bytes, MSG_NOSIGNAL) < 0)
		return -errno;
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	int passed = -1;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&passed, CMSG_DATA(c), sizeof passed);
	if (ret_fd)
		*ret_fd = passed;
	else if (passed >= 0)
		close(passed);
	return n;
}

static inline struct message peer_head(enum opcode opcode)
{
	return (struct message){ .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .opcode = (uint16_t)opcode };
}

/* One question on a connection of its own. enum status, or -errno. */
__attribute__((unused)) static int peer_question(const char *socket, const void *request, size_t request_bytes,
						 void *reply, size_t bytes, int *ret_fd)
{
	int fd = peer_connect(socket);
	if (fd < 0)
		return fd;
	ssize_t n = peer_ask(fd, request, request_bytes, reply, bytes, ret_fd);
	close(fd);
	if (n < 0)
		return (int)n;
	return n == (ssize_t)bytes ? (int)((struct message *)reply)->status : -EPROTO;
}

/* A peer has no shim and is charged for what it says, not for its memory: that is declared
 * to be covered, so that no audit adds it. */
__attribute__((unused)) static void peer_cover(struct ledger *l, uint32_t slot)
{
	l->slot[slot].soft = UINT32_MAX / 2;
}

/* 0, enum status, or -errno. */
__attribute__((unused)) static int peer_join_once(const char *socket, const char *account, struct peer_member *ret)
{
	struct request_join q = { .head = peer_head(OPCODE_JOIN) };
	struct reply_join r;
	int fd = -1;
	strncpy(q.account, account, sizeof q.account - 1);
	int status = peer_question(socket, &q, sizeof q, &r, sizeof r, &fd);
	if (status != 0)
		return status;
	memset(ret, 0, sizeof *ret);
	ret->socket = socket;
	memcpy(ret->account, r.account, sizeof ret->account);
	ret->slot = r.slot;
	ret->generation = r.generation;
	ret->renewed = r.renewed;
	ret->pid = r.pid;
	int error = ledger_map(fd, true, &ret->ledger);
	close(fd);
	if (!error)
		peer_cover(ret->ledger, ret->slot);
	return error;
}

/* As the shim joins: again, when it was so slow that it has been taken for a process that
 * never will. 0, enum status, or -errno. */
__attribute__((unused)) static int peer_join(const char *socket, const char *account, struct peer_member *ret)
{
	int status;
	while ((status = peer_join_once(socket, account, ret)) == 0 &&
	       SLOT_STATE(slot_read(ret->ledger, ret->slot)) == SLOT_UNATTACHED)
		ledger_unmap(ret->ledger);
	return status;
}

/* gather_ask */
__attribute__((unused)) static int peer_extend(void *context, uint32_t pages, enum refusal_reason *ret_reason)
{
	const struct peer_member *m = context;
	struct request_extend q = { .head = peer_head(OPCODE_EXTEND), .slot = m->slot, .pages = pages };
	struct reply_extend r;
	memcpy(q.account, m->account, sizeof q.account);
	int status = peer_question(m->socket, &q, sizeof q, &r, sizeof r, NULL);
	if (status == STATUS_REFUSED) {
		*ret_reason = r.reason;
		return -ENOMEM;
	}
	return status > 0 ? -EACCES : status;
}

static inline struct gather peer_gather(struct peer_member *m)
{
	return (struct gather){ .ledger = m->ledger, .slot = m->slot, .generation = m->generation, .ask = peer_extend,
				.context = m };
}

__attribute__((unused)) static enum refusal_reason peer_take(struct peer_member *m, uint64_t pages)
{
	struct gather g = peer_gather(m);
	return gather_take(&g, pages);
}

/* fork(2) with the child's charge taken first. As fork; -1 also when it was refused. The
 * child is a member of its own when this returns in it, joining anew where its embryo was
 * buried. */
__attribute__((unused)) static pid_t peer_fork(struct peer_member *m)
{
	struct embryo e;
	struct gather g = peer_gather(m);
	uint32_t pages = PURSE_USED(__atomic_load_n(&m->ledger->slot[m->slot].purse.word, __ATOMIC_ACQUIRE));
	if (embryo_conceive(&g, pages, &e) != REASON_NONE)
		return -1;
	pid_t pid = fork();
	if (pid > 0) {
		embryo_born(m->ledger, m->slot, e, pid);
	} else if (pid < 0) {
		embryo_release(m->ledger, m->slot, e);
	} else if (embryo_adopt(m->ledger, e, pages, getpid())) {
		m->slot = e.slot;
		m->generation = e.generation;
		peer_cover(m->ledger, m->slot);
	} else {
		struct ledger *old = m->ledger;
		if (peer_join(m->socket, m->account, m) != 0 || peer_take(m, pages) != REASON_NONE)
			_exit(1);
		ledger_unmap(old);
	}
	return pid;
}

/* The account of that name as a reader sees it: its reply, and its ledger mapped read-only
 * (ret_ledger may be NULL). 0, enum status, or -errno. */
__attribute__((unused)) static int peer_look(const char *socket, const char *account, struct reply_account *ret,
					     struct ledger **ret_ledger)
{
	for (uint32_t i = 0;; i++) {
		struct request_account q = { .head = peer_head(OPCODE_ACCOUNT), .index = i };
		int fd = -1, status = peer_question(socket, &q, sizeof q, ret, sizeof *ret, &fd);
		if (status != 0)
			return status;
		if (strcmp(ret->account, account) == 0 && ret_ledger)
			status = ledger_map(fd, false, ret_ledger);
		close(fd);
		if (strcmp(ret->account, account) == 0)
			return status;
	}
}

__attribute__((unused)) static int peer_pool(const char *socket, struct reply_pool *ret)
{
	struct request_pool q = { .head = peer_head(OPCODE_POOL) };
	return peer_question(socket, &q, sizeof q, ret, sizeof *ret, NULL);
}
