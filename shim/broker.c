/* SPDX-License-Identifier: MIT */
#include "shim/broker.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "shim/confined.h"
#include "shim/raw.h"
#include "shim/self.h"

/* A broker that does not answer within this is treated as not there. */
#define BROKER_PATIENCE_S 2
#define ABSENCE_MS 2000 /* and one that is gone is waited for this long, once */
/* Who cannot join cannot live: while there are signs of a broker, busy or killed again and
 * again, it is asked for as long as this. */
#define JOIN_MS 10000

static struct message head(enum opcode opcode)
{
	struct message m = { .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .opcode = (uint16_t)opcode };
	return m;
}

/* `more`: SOCK_NONBLOCK, or 0. */
static int broker_connect(const char *name, int more)
{
	struct sockaddr_un address;
	uint32_t length;
	int error = protocol_address(name, &address, &length);
	if (error)
		return error;
	long fd = raw_call3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | more, 0);
	if (raw_failed(fd))
		return (int)fd;
	struct timeval patience = { .tv_sec = BROKER_PATIENCE_S };
	raw_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience, 0);
	raw_call6(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience, 0);
	long r = raw_call3(SYS_connect, fd, &address, length);
	if (raw_failed(r)) {
		raw_call1(SYS_close, fd);
		return (int)r;
	}
	return (int)fd;
}

void broker_knock(void)
{
	int fd = confined() ? -1 : broker_connect(self.socket, SOCK_NONBLOCK);
	if (fd >= 0)
		raw_call1(SYS_close, fd);
}

static int fd_of(struct msghdr *h)
{
	int fd = -1;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

static int broker_receive(int fd, void *reply, size_t bytes, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec part = { .iov_base = reply, .iov_len = bytes };
	struct msghdr h = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	long n = raw_call3(SYS_recvmsg, fd, &h, MSG_CMSG_CLOEXEC);
	if (raw_failed(n))
		return (int)n;
	int passed = fd_of(&h);
	if (ret_fd)
		*ret_fd = passed;
	else if (passed >= 0)
		raw_call1(SYS_close, passed);
	const struct message *m = reply;
	if (n < (long)sizeof *m || m->magic != PROTOCOL_MAGIC)
		return -EPROTO;
	if (m->status != STATUS_OK)
		return m->status < STATUS_N ? (int)m->status : -EPROTO;
	return n == (long)bytes ? 0 : -EPROTO;
}

/* One question, one answer. 0, -errno, or enum status. */
static int broker_ask(const char *name, const void *request, size_t request_bytes, void *reply,
		      size_t reply_bytes, int *ret_fd)
{
	int fd = broker_connect(name, 0);
	if (fd < 0)
		return fd;
	long r = raw_call6(SYS_sendto, fd, request, request_bytes, MSG_NOSIGNAL, 0, 0);
	int result = raw_failed(r) ? (int)r : broker_receive(fd, reply, reply_bytes, ret_fd);
	raw_call1(SYS_close, fd);
	return result;
}

/* Somebody was there, and was too busy, or died before it had answered whole; or we were stopped and
 * went on (with a time to wait in, these calls end then even without a handler: signal(7)). */
static bool was_there(int result)
{
	return result == -EAGAIN || result == -ECONNRESET || result == -EPIPE || result == -EPROTO || result == -EINTR;
}

static bool is_absent(int result)
{
	return result == -ECONNREFUSED || result == -ENOENT || was_there(result);
}

static int64_t absent_since_ms; /* 0: it answered last time */

static int64_t now_ms(void)
{
	struct timespec now;
	raw_call2(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* One question, repeated for as long as its answer may be late. */
struct question {
	int64_t patience; /* ms, of a broker that is not there */
	int64_t busy;     /* and once somebody was seen */
	int64_t asked;    /* when, last */
};

static struct question question_of(int64_t busy)
{
	return (struct question){ .patience = ABSENCE_MS, .busy = busy, .asked = now_ms() };
}

/* A broker that is being restarted is worth a short wait; one that is gone for good is
 * waited for once, not at every question. */
static bool absence_is_news(const struct question *q)
{
	int64_t zero = 0;
	__atomic_compare_exchange_n(&absent_since_ms, &zero, q->asked, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
	return now_ms() - __atomic_load_n(&absent_since_ms, __ATOMIC_RELAXED) < q->patience;
}

static bool answer_is_late(struct question *q, int result)
{
	if (!is_absent(result)) {
		__atomic_store_n(&absent_since_ms, 0, __ATOMIC_RELAXED);
		return false;
	}
	if (was_there(result))
		q->patience = q->busy;
	if (!absence_is_news(q))
		return false;
	struct timespec pause = { .tv_nsec = 20000000 };
	raw_call2(SYS_nanosleep, &pause, NULL);
	q->asked = now_ms();
	return true;
}

static int join_once(const char *name, const char *account, struct reply_join *ret, int *ret_fd)
{
	struct request_join request = { .head = head(OPCODE_JOIN) };
	size_t n = strnlen(account, sizeof request.account - 1);
	memcpy(request.account, account, n);
	int fd = -1;
	int result = broker_ask(name, &request, sizeof request, ret, sizeof *ret, &fd);
	if (result == 0 && ret_fd && fd < 0)
		result = -EPROTO;
	if (fd >= 0 && (result != 0 || !ret_fd))
		raw_call1(SYS_close, fd);
	else if (ret_fd)
		*ret_fd = fd;
	return result;
}

int broker_join(const char *name, const char *account, bool wait, struct reply_join *ret, int *ret_fd)
{
	struct question q = question_of(JOIN_MS);
	int result;
	do
		result = join_once(name, account, ret, ret_fd);
	while (wait && answer_is_late(&q, result));
	return result;
}

/* Could a broker help at all? */
static bool grant_may_grow(void)
{
	const struct ledger_header *h = &self.ledger->header;
	return PURSE_GRANTED(__atomic_load_n(&h->purse.word, __ATOMIC_RELAXED)) < h->limit;
}

/* A fork on credit that was told to end takes some milliseconds. */
#define ENDING_NS 3000000L

int broker_extend(void *context, uint32_t pages, enum refusal_reason *ret_reason)
{
	static const struct timespec ending = { .tv_nsec = ENDING_NS };
	struct request_extend request = { .head = head(OPCODE_EXTEND), .slot = self.slot, .pages = pages,
					  .for_child = context != NULL };
	struct reply_extend reply = { .reason = REASON_NONE };
	memcpy(request.account, self.account, sizeof request.account);
	struct question q = question_of(ABSENCE_MS);
	int result;
	do
		result = broker_ask(self.socket, &request, sizeof request, &reply, sizeof reply, NULL);
	while (grant_may_grow() && answer_is_late(&q, result));
	if (result == STATUS_REFUSED) {
		*ret_reason = reply.reason == REASON_POOL ? REASON_POOL : REASON_LIMIT;
		return -ENOMEM;
	}
	if (result == 0 && reply.pages == 0 && reply.reason != REASON_NONE)
		raw_call2(SYS_nanosleep, &ending, 0);
	return result > 0 ? -EACCES : result;
}

int broker_adopt(const struct embryo *e, int32_t *ret_pid)
{
	struct request_adopt request = { .head = head(OPCODE_ADOPT), .slot = e->slot, .generation = e->generation };
	struct reply_join reply;
	struct question q = question_of(JOIN_MS);
	int result;
	memcpy(request.account, self.account, sizeof request.account);
	do
		result = broker_ask(self.socket, &request, sizeof request, &reply, sizeof reply, NULL);
	while (answer_is_late(&q, result));
	if (result == 0)
		*ret_pid = reply.pid;
	return result;
}
