/* SPDX-License-Identifier: MIT */
/* hog [OPTION]...: takes memory until somebody ends it, or until it has its size and stays there.
 *
 *   -r RATE   MiB a second; 0 is as fast as it goes      -s SIZE   MiB
 *   -b BASE   MiB that it takes at once, before the rate counts
 *   -i        ignores SIGTERM                             -n NAME   calls itself so (prctl)
 *   -l        its leader thread ends; a second one grows -z        stops itself (SIGSTOP) when grown
 *   -f N      N forked copies of SIZE, one after the other, and itself nothing
 *   -m FILE   holds the robust mutex in FILE (robust.h)  */
#include <pthread.h>
#include <stdbool.h>

#include "tests/arena/actor.h"
#include "tests/arena/robust.h"

static struct {
	double rate;
	size_t bytes, base;
	bool ignores, leaderless, stops;
	int copies;
	const char *name, *mutex;
} how = { .rate = 1000, .bytes = 1024 * MIB };

/* Not to be ended between growing and stopping: SIGTERM is pending until it goes on again. */
static void term_block(int what)
{
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	pthread_sigmask(what, &term, NULL);
}

static void *grow(void *unused)
{
	(void)unused;
	char *p = actor_map(how.bytes, MAP_PRIVATE);
	actor_say("grows");
	actor_fill(p, how.base, 0);
	actor_fill(p + how.base, how.bytes - how.base, how.rate);
	actor_say("grown");
	if (how.stops)
		raise(SIGSTOP);
	term_block(SIG_UNBLOCK);
	actor_rest();
}

static void copies_grow(void) __attribute__((noreturn));
static void copies_grow(void)
{
	int done[2];
	char c;
	for (int i = 0; i < how.copies && pipe(done) == 0; i++) {
		if (fork() == 0) {
			actor_begin();
			actor_fill(actor_map(how.bytes, MAP_PRIVATE), how.bytes, how.rate);
			close(done[1]);
			actor_rest();
		}
		close(done[1]);
		while (read(done[0], &c, 1) > 0)
			;
		close(done[0]);
	}
	actor_say("grown");
	actor_rest();
}

static void leader_leave(void) __attribute__((noreturn));
static void leader_leave(void)
{
	pthread_t second;
	pthread_create(&second, NULL, grow, NULL);
	pthread_exit(NULL);
}

static bool options_read(int argc, char **argv)
{
	for (int c; (c = getopt(argc, argv, "r:s:b:in:lzf:m:")) != -1;) {
		switch (c) {
		case 'r': how.rate = atof(optarg); break;
		case 's': how.bytes = (size_t)atol(optarg) * MIB; break;
		case 'b': how.base = (size_t)atol(optarg) * MIB; break;
		case 'i': how.ignores = true; break;
		case 'n': how.name = optarg; break;
		case 'l': how.leaderless = true; break;
		case 'z': how.stops = true; break;
		case 'f': how.copies = atoi(optarg); break;
		case 'm': how.mutex = optarg; break;
		default: return false;
		}
	}
	return optind == argc && how.base <= how.bytes;
}

int main(int argc, char **argv)
{
	if (!options_read(argc, argv))
		return 2;
	actor_begin();
	if (how.ignores)
		signal(SIGTERM, SIG_IGN);
	if (how.name)
		prctl(PR_SET_NAME, how.name);
	if (how.stops)
		term_block(SIG_BLOCK);
	if (how.mutex)
		robust_hold(robust_open(how.mutex));
	if (how.copies)
		copies_grow();
	if (how.leaderless)
		leader_leave();
	grow(NULL);
}
