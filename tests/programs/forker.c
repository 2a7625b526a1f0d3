/* SPDX-License-Identifier: MIT */
/* forker MIB: fills MIB of memory, forks a child that writes to all of it again, and goes on.
 * Exit status 0: the child did it; 3: fork said ENOMEM and the parent went on, memory whole. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t bytes = (size_t)atoi(argc > 1 ? argv[1] : "160") << 20;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return 4;
	memset(p, 1, bytes);
	pid_t child = fork();
	if (child == 0) {
		memset(p, 2, bytes);
		_exit(0);
	}
	if (child < 0) {
		int error = errno;
		for (size_t i = 0; i < bytes; i += 4096)
			if (p[i] != 1)
				return 5;
		printf("fork: %s\n", strerror(error));
		return error == ENOMEM ? 3 : 6;
	}
	int status;
	waitpid(child, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
