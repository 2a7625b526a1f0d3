/* SPDX-License-Identifier: MIT */
/* The command of an account that is told of short memory: how often it is run, and as what. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/broker_fixture.h"

#include "daemon/alert.h"
#include "daemon/armour.h"
#include "daemon/helper.h"

TestSuite(alert, .timeout = 20);

/* What the helper was asked for since the last time. */
static int asked(int line)
{
	char text[HELPER_TEXT_BYTES];
	int n = 0;
	while (recv(line, text, sizeof text, MSG_DONTWAIT) > 0)
		n++;
	return n;
}

Test(alert, runs_the_command_of_an_account_once_in_a_while)
{
	int line[2];
	broker_begin("account a { limit = 64M warn-command = \"true\" } account other { limit = 64M warn-command = \"true\" }");
	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, line) == 0);
	struct helper h = { .fd = line[0] };
	b.killer.helper = &h;
	for (int i = 0; i < 20; i++, b.now_ns += 2 * TICK_NS)
		alert_send(&b, account("a"), ALERT_BUDGET);
	cr_assert_eq(asked(line[1]), 1);
	alert_send(&b, account("other"), ALERT_BUDGET);
	alert_send(&b, account("a"), ALERT_ACT);
	cr_assert_eq(asked(line[1]), 2, "another account's, and another alert, are for themselves");
	b.now_ns += ALERT_COMMAND_NS;
	alert_send(&b, account("a"), ALERT_BUDGET);
	cr_assert_eq(asked(line[1]), 1);
}

Test(alert, the_command_is_not_ahead_of_everybody)
{
	int line[2], status;
	char text[64] = "";
	if (getuid() != 0)
		cr_skip_test("only root may be");
	cr_assert(proc_open("/proc") == 0);
	cr_assert(pipe(line) == 0);
	pid_t pid = fork_tied();
	if (pid == 0) {
		if (setpriority(PRIO_PROCESS, 0, -10) == 0 && dup2(line[1], 1) == 1)
			alert_task("a\nbudget\n1\n2\necho $(nice) $SOLVENT_ALERT", -1);
		_exit(1);
	}
	cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
	cr_assert(read(line[0], text, sizeof text - 1) > 0);
	cr_assert_str_eq(text, "0 budget\n");
}

/* Not everybody who may raise it may lower it again: in a /proc of our own. */
Test(alert, the_command_is_not_spared)
{
	char root[] = "/tmp/solvent-alert-XXXXXX", name[32], text[16] = "";
	cr_assert(mkdtemp(root) && chdir(root) == 0 && proc_open(root) == 0);
	snprintf(name, sizeof name, "%d", getpid());
	cr_assert(mkdir(name, 0700) == 0 && symlink(name, "self") == 0);
	int fd = open("self/oom_score_adj", O_RDWR | O_CREAT, 0600);
	cr_assert(write(fd, "-", 1) == 1);
	armour_leave();
	cr_assert(pread(fd, text, sizeof text - 1, 0) > 0);
	cr_assert_str_eq(text, "0");
	cr_assert(unlink("self/oom_score_adj") == 0 && unlink("self") == 0 && rmdir(name) == 0 && rmdir(root) == 0);
}
