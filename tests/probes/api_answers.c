/* SPDX-License-Identifier: MIT */
/* Description: a program is told as much as there is room for where it asks, and that an account has no
 * limit; one that is in no account is told so, by each function.
 * Budget: infinity */
#include <stddef.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define UNTOUCHED 0xee

static char self_path[] = "/proc/self/exe", alone[] = "alone";

static void on_alert(int level, void *context)
{
	(void)level, (void)context;
}

/* A program that was built with an earlier header, and one that was with a later. */
static void as_much_as_fits(void)
{
	struct {
		struct solvent_figures figures;
		unsigned char beyond[8];
	} now, then;
	size_t asked = offsetof(struct solvent_figures, used_bytes);
	memset(&now, UNTOUCHED, sizeof now);
	memset(&then, UNTOUCHED, sizeof then);
	check(solvent_query(&then.figures, asked) == 0);
	check(then.figures.limit_bytes == UINT64_MAX, "an account without a limit");
	check(memcmp((char *)&then + asked, (char *)&now + asked, sizeof then - asked) == 0, "more than was asked for");
	check(solvent_query(&now.figures, sizeof now) == 0);
	check(now.figures.used_bytes > 0 && now.figures.process_bytes > 0 && now.figures.refusals == 0);
	check(now.figures.observe == 0 && now.figures.reserved == 0);
	check(memcmp(now.beyond, then.beyond, sizeof now.beyond) == 0, "more than there is");
	check(solvent_query(&now.figures, 0) == 0);
}

/* As where there is no broker, and that is allowed. */
static int in_no_account(void)
{
	struct solvent_figures f;
	check(!solvent_attached() && solvent_query && solvent_query(&f, sizeof f) == -1);
	errno = 0;
	check(solvent_on_alert(on_alert, NULL) == -1 && errno == ENOTCONN);
	return 0;
}

int main(int argc, char **argv)
{
	int status;
	if (argc == 2 && strcmp(argv[1], alone) == 0)
		return in_no_account();
	as_much_as_fits();
	errno = 0;
	check(solvent_on_alert(NULL, NULL) == -1 && errno == EINVAL);
	check(solvent_on_alert(on_alert, NULL) == 0, "nobody had asked before");
	pid_t pid = fork();
	if (pid == 0) {
		setenv("SOLVENT_SOCKET", "@solvent-nobody-listens-here", 1);
		setenv("SOLVENT_NO_BROKER", "open", 1);
		execl(self_path, argv[0], alone, (char *)NULL);
		_exit(126);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%#x", status);
	return 0;
}
