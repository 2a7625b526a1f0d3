/* SPDX-License-Identifier: MIT */
/* The child shares nothing with the broker but the pipe, so whatever goes wrong in it - a
 * crash, a user database that does not answer - leaves the old configuration in force. */
#include "daemon/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/descriptors.h"
#include "daemon/proc.h"

static void sentence_keep(void *context, const char *sentence)
{
	struct reload_result *result = context;
	snprintf(result->sentence, sizeof result->sentence, "%s", sentence);
}

static void child_run(const char *file, struct reload_result *result, int to) __attribute__((noreturn));
static void child_run(const char *file, struct reload_result *result, int to)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* The file may take its time, and we outlive a broker that is killed meanwhile: nothing of
	 * its may be held by us. */
	int keep[] = { to, proc_descriptor() };
	descriptors_keep(keep, ARRAY_N(keep));
	result->ok = config_read(file, sentence_keep, result, &result->config) == 0;
	const char *at = (const char *)result;
	for (size_t n = 0; n < sizeof *result;) {
		ssize_t w = write(to, at + n, sizeof *result - n);
		if (w <= 0)
			_exit(1);
		n += (size_t)w;
	}
	_exit(0);
}

int reload_begin(struct reload *r, const char *file, uint64_t now_ns)
{
	int line[2];
	reload_end(r);
	if (pipe2(line, O_CLOEXEC) != 0)
		return -errno;
	memset(&r->result, 0, sizeof r->result);
	pid_t pid = fork();
	if (pid == 0)
		child_run(file, &r->result, line[1]);
	int error = pid < 0 ? -errno : 0;
	close(line[1]);
	if (error) {
		close(line[0]);
		return error;
	}
	fcntl(line[0], F_SETFL, O_NONBLOCK);
	r->pid = pid;
	r->fd = line[0];
	r->since_ns = now_ns;
	r->got = 0;
	return 0;
}

bool reload_hear(struct reload *r)
{
	ssize_t n = read(r->fd, (char *)&r->result + r->got, sizeof r->result - r->got);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	r->got += (size_t)n;
	if (n > 0 && r->got < sizeof r->result)
		return false;
	if (r->got < sizeof r->result) {
		r->result.ok = false;
		snprintf(r->result.sentence, sizeof r->result.sentence, "the process that read it ended early");
	}
	return true;
}

void reload_end(struct reload *r)
{
	if (r->pid <= 0)
		return;
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	close(r->fd);
	r->pid = 0;
}
