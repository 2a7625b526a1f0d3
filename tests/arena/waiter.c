/* SPDX-License-Identifier: MIT */
/* waiter FILE SECONDS: waits for the robust mutex that a hog holds (hog -m FILE), and says
 * "EOWNERDEAD", "timeout" or "unlocked". */
#include <errno.h>
#include <time.h>

#include "tests/arena/actor.h"
#include "tests/arena/robust.h"

static int wait_for(struct robust *r, int seconds)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += seconds;
	return pthread_mutex_timedlock(&r->mutex, &until);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	actor_begin();
	struct robust *r = robust_open(argv[1]);
	actor_say("ready");
	while (!r->is_held)
		actor_sleep_until(actor_now() + 1000000);
	int error = wait_for(r, atoi(argv[2]));
	actor_say(error == EOWNERDEAD ? "EOWNERDEAD" : error == ETIMEDOUT ? "timeout" : "unlocked");
	return 0;
}
