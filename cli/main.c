/* SPDX-License-Identifier: MIT */
/* Only main(): everything else in this folder links into the tests. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
	return cli_main(argc, argv);
}
