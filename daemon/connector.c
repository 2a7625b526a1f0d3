/* SPDX-License-Identifier: MIT */
/* One datagram an event; those we do not want are dropped by a filter in the kernel, so that a
 * machine that forks all day does not wake us. */
#include "daemon/connector.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef PROC_EVENT_EXEC
#define PROC_EVENT_EXEC 0x2
#endif

#define EVENT_AT (NLMSG_HDRLEN + sizeof(struct cn_msg))

/* A request, or an event, as it stands in a datagram. */
struct packet {
	struct nlmsghdr netlink;
	struct cn_msg connector;
	union {
		enum proc_cn_mcast_op op;
		struct proc_event event;
	};
} __attribute__((packed, aligned(4)));

static int filter_attach(int fd)
{
	struct sock_filter code[] = {
		/* A word is loaded in network order; the kernel wrote it in its own. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, EVENT_AT + offsetof(struct proc_event, what)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(PROC_EVENT_EXEC), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = ARRAY_N(code), .filter = code };
	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static int listen_begin(int fd)
{
	struct sockaddr_nl ours = { .nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC };
	struct packet p = { .op = PROC_CN_MCAST_LISTEN };
	size_t bytes = EVENT_AT + sizeof p.op;
	p.netlink = (struct nlmsghdr){ .nlmsg_len = (uint32_t)bytes, .nlmsg_type = NLMSG_DONE };
	p.connector.id = (struct cb_id){ .idx = CN_IDX_PROC, .val = CN_VAL_PROC };
	p.connector.len = sizeof p.op;
	if (bind(fd, (struct sockaddr *)&ours, sizeof ours) != 0 || filter_attach(fd) != 0)
		return -1;
	return send(fd, &p, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}

int connector_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_CONNECTOR);
	if (fd < 0)
		return -errno;
	if (listen_begin(fd) == 0)
		return fd;
	int error = errno;
	close(fd);
	return -error;
}

/* Only the kernel speaks there: its port is 0 (man 7 netlink). */
int connector_read(int fd, int32_t *ret_pid)
{
	struct packet p;
	struct sockaddr_nl from;
	socklen_t n = sizeof from;
	for (;;) {
		ssize_t bytes = recvfrom(fd, &p, sizeof p, 0, (struct sockaddr *)&from, &n);
		if (bytes < 0)
			return errno == ENOBUFS ? -ENOBUFS : 0;
		if (from.nl_pid != 0 || bytes < (ssize_t)(EVENT_AT + offsetof(struct proc_event, event_data) +
							  sizeof p.event.event_data.exec) ||
		    p.event.what != PROC_EVENT_EXEC)
			continue;
		*ret_pid = p.event.event_data.exec.process_tgid;
		return 1;
	}
}
