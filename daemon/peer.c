/* SPDX-License-Identifier: MIT */
/* Anybody may connect, as often as he likes, and say nothing or anything. So the table is
 * small, a request is read the moment its peer is accepted (mostly it is all that comes: only
 * who stays is listened to), silence is short, and when the table is full room is made at the
 * cost of whoever takes most of it. */
#include "daemon/peer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/proc.h"
#include "daemon/process.h"
#include "daemon/request.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* since Linux 6.5 */
#endif

void peers_init(struct peers *p, int epoll, uint32_t source)
{
	*p = (struct peers){ .epoll = epoll, .source = source };
	for (uint32_t i = 0; i < PEERS; i++)
		p->peer[i].fd = -1;
}

static void peer_close(struct peers *p, struct peer *peer)
{
	close(peer->fd);
	peer->fd = -1;
	p->n--;
}

/* How many places each process (or, `by_user`, each user) takes: counted once a call, in a
 * table with room for twice as many as there can be. */
#define TALLY (2 * PEERS)
struct tally {
	int64_t key[TALLY];
	uint32_t n[TALLY];
};

static int64_t peer_key(const struct peer *peer, bool by_user)
{
	return by_user ? (int64_t)peer->uid : peer->pid;
}

static uint32_t *tally_of(struct tally *t, int64_t key)
{
	uint32_t at = (uint32_t)key % TALLY;
	while (t->n[at] > 0 && t->key[at] != key)
		at = (at + 1) % TALLY;
	t->key[at] = key;
	return &t->n[at];
}

static void tally_count(struct tally *t, const struct peers *p, bool by_user)
{
	memset(t->n, 0, sizeof t->n);
	for (uint32_t i = 0; i < PEERS; i++)
		if (p->peer[i].fd >= 0)
			++*tally_of(t, peer_key(&p->peer[i], by_user));
}

/* Who goes when the table is full: of the process that has most places the one silent for
 * longest; if no process has two, the same by users. */
static struct peer *peer_dispensable(struct peers *p)
{
	struct peer *worst = NULL;
	uint32_t most = 1;
	for (int by_user = 0; !worst && by_user < 2; by_user++) {
		struct tally t;
		tally_count(&t, p, by_user);
		for (uint32_t i = 0; i < PEERS; i++) {
			struct peer *peer = &p->peer[i];
			uint32_t n = *tally_of(&t, peer_key(peer, by_user));
			if (n > most || (worst && n == most && peer->since_ns < worst->since_ns)) {
				most = n;
				worst = peer;
			}
		}
	}
	return worst ? worst : &p->peer[0];
}

static struct peer *peer_place(struct peers *p)
{
	for (uint32_t i = 0; i < PEERS; i++)
		if (p->peer[i].fd < 0)
			return &p->peer[i];
	struct peer *peer = peer_dispensable(p);
	peer_close(p, peer);
	return peer;
}

static bool reply_send(int fd, const struct reply *reply)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec part = { (void *)&reply->head, reply->bytes };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	if (reply->fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(c), &reply->fd, sizeof(int));
	}
	return sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)reply->bytes;
}

/* One packet, if there is one. False: it is to be closed. */
static bool peer_serve(struct broker *b, struct peer *peer)
{
	_Alignas(8) char packet[REQUEST_BYTES];
	/* recv, not recvmsg: descriptors sent along are dropped by the kernel. The length
	 * of the packet, not of what fitted. */
	ssize_t n = recv(peer->fd, packet, sizeof packet, MSG_DONTWAIT | MSG_TRUNC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	struct reply reply;
	peer->since_ns = b->now_ns;
	request_answer(b, peer, packet, (size_t)n, &reply);
	bool sent = reply_send(peer->fd, &reply);
	if (!sent)
		request_undo(b, &reply);
	if (reply.fd >= 0 && reply.fd_is_temporary)
		close(reply.fd);
	return sent && !reply.hang_up;
}

void peer_ready(struct broker *b, uint32_t i)
{
	struct peer *peer = &b->peers.peer[i];
	if (peer->fd >= 0 && !peer_serve(b, peer))
		peer_close(&b->peers, peer);
}

static int pidfd_of_socket(int fd)
{
	int pidfd = -1;
	socklen_t n = sizeof pidfd;
	return getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &n) == 0 ? pidfd : -errno;
}

int peer_pidfd(const struct peer *peer)
{
	if (peer->pid <= 0) /* of a pid namespace beside ours: nothing could be looked up */
		return -ESRCH;
	int pidfd = peer->start_ticks != 0 ? process_open(peer->pid, peer->start_ticks) : pidfd_of_socket(peer->fd);
	/* The pidfd first and asked last: what was read between belongs to its process. */
	if (pidfd >= 0 && !pidfd_is_gone(pidfd))
		return pidfd;
	if (pidfd >= 0)
		close(pidfd);
	return pidfd == -EMFILE || pidfd == -ENFILE || pidfd == -ENOMEM ? pidfd : -ESRCH;
}

int peer_check(const struct peer *peer)
{
	int pidfd = peer_pidfd(peer);
	if (pidfd < 0)
		return pidfd;
	close(pidfd);
	return 0;
}

/* Where the kernel cannot tell later who connected, it is known by when it began. Who ends before we
 * accept it, and whose number is given out again until then, is not told apart. */
static uint64_t start_of(struct peers *p, int fd, int32_t pid)
{
	struct proc_stat st;
	int pidfd = p->has_pidfds ? -1 : pidfd_of_socket(fd);
	if (pidfd >= 0) {
		p->has_pidfds = true;
		close(pidfd);
	}
	return pidfd == -ENOPROTOOPT && proc_stat(pid, &st) == 0 ? st.start_ticks : 0;
}

static bool peer_open(struct broker *b, struct peer *peer, int fd)
{
	struct ucred who;
	socklen_t n = sizeof who;
	struct peers *p = &b->peers;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) != 0) {
		close(fd);
		return false;
	}
	*peer = (struct peer){ .fd = fd, .pid = who.pid, .uid = who.uid, .start_ticks = start_of(p, fd, who.pid),
			       .since_ns = b->now_ns };
	p->n++;
	return true;
}

/* Whatever it has said meanwhile is told as well. */
static bool peer_listen(struct peers *p, const struct peer *peer)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = p->source + (uint32_t)(peer - p->peer) };
	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, peer->fd, &e) == 0;
}

int peers_accept(struct broker *b, int listener)
{
	for (int i = 0; i < PEER_ACCEPTS; i++) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return errno == EMFILE || errno == ENFILE ? -EMFILE : 0;
		b->busy_ns = b->now_ns;
		struct peer *peer = peer_place(&b->peers);
		if (peer_open(b, peer, fd) && !(peer_serve(b, peer) && peer_listen(&b->peers, peer)))
			peer_close(&b->peers, peer);
	}
	return 0;
}

void peers_expire(struct broker *b)
{
	for (uint32_t i = 0; b->peers.n > 0 && i < PEERS; i++) {
		struct peer *peer = &b->peers.peer[i];
		if (peer->fd >= 0 && b->now_ns - peer->since_ns >= PEER_SILENCE_NS)
			peer_close(&b->peers, peer);
	}
}

uint64_t peers_next_ns(const struct peers *p)
{
	uint64_t next = NEVER;
	for (uint32_t i = 0; p->n > 0 && i < PEERS; i++)
		if (p->peer[i].fd >= 0)
			next = min_u64(next, p->peer[i].since_ns + PEER_SILENCE_NS);
	return next;
}

void peers_close(struct peers *p)
{
	for (uint32_t i = 0; i < PEERS; i++)
		if (p->peer[i].fd >= 0)
			peer_close(p, &p->peer[i]);
}
