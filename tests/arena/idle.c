/* SPDX-License-Identifier: MIT */
/* idle N MIB: N processes that hold MIB each and do nothing: the innocents. */
#include "tests/arena/actor.h"

int main(int argc, char **argv)
{
	int ready[2];
	char c;
	if (argc != 3 || pipe(ready) != 0)
		return 2;
	actor_begin();
	for (int i = 0; i < atoi(argv[1]); i++) {
		if (fork() == 0) {
			size_t bytes = (size_t)(atof(argv[2]) * (double)MIB);
			actor_begin();
			actor_fill(actor_map(bytes, MAP_PRIVATE), bytes, 0);
			close(ready[1]);
			actor_rest();
		}
	}
	close(ready[1]);
	while (read(ready[0], &c, 1) > 0)
		;
	actor_say("ready");
	actor_rest();
}
