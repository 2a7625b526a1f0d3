/* SPDX-License-Identifier: MIT */
/* Who calls execve is heard, where the kernel allows it; and nothing else is. */
#include <criterion/criterion.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/connector.h"

TestSuite(connector, .timeout = 20);

static pid_t child_make(const char *program)
{
	pid_t pid = fork();
	if (pid == 0) {
		if (program)
			execl(program, program, NULL);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return pid;
}

/* What there is to hear in half a second, others' programs too: is `pid` among it? */
static bool is_heard(int fd, pid_t pid)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool found = false;
	int32_t heard;
	for (int i = 0; !found && i < 50; i++) {
		poll(&p, 1, 10);
		for (int n = 0; n < 1000 && connector_read(fd, &heard) == 1; n++)
			found |= heard == pid;
	}
	return found;
}

Test(connector, hears_of_execve_alone)
{
	int fd = connector_open();
	if (fd < 0)
		cr_skip_test("the connector may not be listened to here");
	if (!is_heard(fd, child_make("/bin/true")))
		cr_skip_test("the connector is silent in this pid namespace");
	cr_assert(!is_heard(fd, child_make(NULL)));
	cr_assert(is_heard(fd, child_make("/bin/true")));
	close(fd);
}
