/* SPDX-License-Identifier: MIT */
/* warm MIB: takes so much memory and gives it back: a virtual machine that has handed free pages
 * to its host gets them back slowly, and the hogs of the arena are to grow as fast as they are told. */
#include "tests/arena/actor.h"

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	size_t bytes = (size_t)atol(argv[1]) * MIB;
	actor_begin();
	actor_fill(actor_map(bytes, MAP_PRIVATE), bytes, 0);
	return 0;
}
