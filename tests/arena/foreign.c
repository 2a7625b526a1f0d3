/* SPDX-License-Identifier: MIT */
/* foreign pid|user COMMAND...: runs it in a pid namespace, or a user namespace, of its own. */
#include <sched.h>
#include <string.h>
#include <sys/wait.h>

#include "tests/arena/actor.h"

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	actor_begin();
	if (unshare(strcmp(argv[1], "pid") == 0 ? CLONE_NEWPID : CLONE_NEWUSER) != 0) {
		perror("unshare");
		return 1;
	}
	if (fork() == 0) {
		actor_begin();
		execv(argv[2], argv + 2);
		perror(argv[2]);
		_exit(1);
	}
	wait(NULL);
	return 0;
}
