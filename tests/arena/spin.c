/* SPDX-License-Identifier: MIT */
/* spin N: N processes that are busy. */
#include "tests/arena/actor.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	actor_begin();
	for (int i = 0; i < atoi(argv[1]); i++) {
		if (fork() == 0) {
			actor_begin();
			for (;;)
				;
		}
	}
	actor_say("ready");
	actor_rest();
}
