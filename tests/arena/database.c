/* SPDX-License-Identifier: MIT */
/* database WORKERS SHARED PRIVATE: a parent and its workers, as a database is built: all of them
 * have touched SHARED MiB that they hold together, and each worker PRIVATE MiB of its own. */
#include "tests/arena/actor.h"

static void worker(char *shared, size_t shared_bytes, size_t own_bytes, const int *ready) __attribute__((noreturn));
static void worker(char *shared, size_t shared_bytes, size_t own_bytes, const int *ready)
{
	actor_begin();
	actor_touch(shared, shared_bytes);
	actor_fill(actor_map(own_bytes, MAP_PRIVATE), own_bytes, 0);
	close(ready[1]);
	actor_rest();
}

int main(int argc, char **argv)
{
	int ready[2];
	char c;
	if (argc != 4 || pipe(ready) != 0)
		return 2;
	actor_begin();
	size_t shared_bytes = (size_t)atol(argv[2]) * MIB;
	char *shared = actor_map(shared_bytes, MAP_SHARED);
	actor_touch(shared, shared_bytes);
	for (int i = 0; i < atoi(argv[1]); i++) {
		pid_t pid = fork();
		if (pid == 0)
			worker(shared, shared_bytes, (size_t)atol(argv[3]) * MIB, ready);
		if (pid < 0)
			perror("fork");
	}
	close(ready[1]);
	while (read(ready[0], &c, 1) > 0)
		;
	actor_say("ready");
	actor_rest();
}
