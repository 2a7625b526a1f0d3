/* SPDX-License-Identifier: MIT */
#include "daemon/helper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/descriptors.h"
#include "daemon/proc.h"

/* A packet and the descriptor that came with it. */
struct parcel {
	struct iovec part;
	struct msghdr message;
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
};

static void parcel_make(struct parcel *p, void *text, size_t n)
{
	memset(p, 0, sizeof *p);
	p->part = (struct iovec){ text, n };
	p->message = (struct msghdr){ .msg_iov = &p->part, .msg_iovlen = 1 };
}

static void signals_reset(void)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void child_run(const struct helper_task *task, const char *text, int fd) __attribute__((noreturn));
static void child_run(const struct helper_task *task, const char *text, int fd)
{
	signal(SIGCHLD, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	int keep[] = { fd, proc_descriptor() };
	descriptors_keep(keep, ARRAY_N(keep));
	task->run(text, fd);
	_exit(0);
}

static void task_run(const struct helper_task *task, const char *text, int fd)
{
	if (!task->forks)
		task->run(text, fd);
	else if (fork() == 0)
		child_run(task, text, fd);
}

/* "word text" */
static void task_begin(const struct helper_task *tasks, const char *parcel, struct msghdr *m)
{
	int fd = -1;
	const char *text = strchr(parcel, ' ');
	struct cmsghdr *c = CMSG_FIRSTHDR(m);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	for (; text && tasks->word; tasks++)
		if (strncmp(tasks->word, parcel, (size_t)(text - parcel)) == 0)
			task_run(tasks, text + 1, fd);
	if (fd >= 0)
		close(fd);
}

/* What the broker is told to do is not for us: we end when it has ended. */
static void helper_run(int from, const struct helper_task *tasks) __attribute__((noreturn));
static void helper_run(int from, const struct helper_task *tasks)
{
	char text[HELPER_TEXT_BYTES];
	struct parcel p;
	int keep[] = { from, proc_descriptor() };
	prctl(PR_SET_NAME, "solvent-helper");
	signals_reset();
	signal(SIGCHLD, SIG_IGN); /* nobody waits for the children */
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	descriptors_drop_stdio();
	descriptors_keep(keep, ARRAY_N(keep));
	if (chdir("/") != 0)
		_exit(1);
	for (;;) {
		parcel_make(&p, text, sizeof text - 1);
		p.message.msg_control = &p.control;
		p.message.msg_controllen = sizeof p.control;
		ssize_t n = recvmsg(from, &p.message, MSG_CMSG_CLOEXEC);
		if (n == 0 || (n < 0 && errno != EINTR))
			_exit(0);
		if (n < 0)
			continue;
		text[n] = '\0';
		task_begin(tasks, text, &p.message);
	}
}

int helper_start(struct helper *h, const struct helper_task *tasks)
{
	int line[2];
	*h = (struct helper){ .fd = -1 };
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		helper_run(line[1], tasks);
	int error = pid < 0 ? -errno : 0;
	close(line[1]);
	if (error) {
		close(line[0]);
		return error;
	}
	*h = (struct helper){ .pid = pid, .fd = line[0] };
	return 0;
}

int helper_ask(const struct helper *h, const char *word, const char *text, int fd)
{
	struct parcel p;
	char whole[HELPER_TEXT_BYTES];
	size_t n = (size_t)snprintf(whole, sizeof whole, "%s %s", word, text);
	if (h->fd < 0)
		return -ENOTCONN;
	if (n >= sizeof whole)
		return -ENAMETOOLONG;
	parcel_make(&p, whole, n);
	if (fd >= 0) {
		p.message.msg_control = &p.control;
		p.message.msg_controllen = sizeof p.control;
		p.control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						     .cmsg_len = CMSG_LEN(sizeof fd) };
		memcpy(CMSG_DATA(&p.control.header), &fd, sizeof fd);
	}
	if (sendmsg(h->fd, &p.message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n)
		return 0;
	return errno == EPIPE || errno == ECONNRESET ? -ENOTCONN : -errno;
}

void helper_end(struct helper *h)
{
	if (h->fd >= 0)
		close(h->fd);
	if (h->pid > 0) {
		kill(h->pid, SIGKILL);
		waitpid(h->pid, NULL, 0);
	}
	*h = (struct helper){ .fd = -1 };
}
