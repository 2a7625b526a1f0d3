/* SPDX-License-Identifier: MIT */
/* The real broker in a process of its own, with a home of its own: for tests that are plain
 * programs, because their children die on purpose. */
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "reserve/purse.h"
#include "tests/fork_tied.h"
#include "tests/peer.h"

static char home[] = "/tmp/solvent-broker.XXXXXX";
static char broker_path[4096], socket_path[64], state_path[64], config_path[64], log_path[64];
static pid_t broker;
static int failures;

/* How a member ends that the broker has not let in; and how many did, as family_kill found. */
enum { NOT_LET_IN = 2 };
static uint32_t outsiders;

#define CHECK(ok, ...) \
	do { \
		if (!(ok)) { \
			printf("FAIL %s:%d: ", __func__, __LINE__); \
			printf(__VA_ARGS__); \
			printf("\n"); \
			fflush(stdout); \
			failures++; \
		} \
	} while (0)

__attribute__((unused)) static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

__attribute__((unused)) static void sleep_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000L };
	nanosleep(&t, NULL);
}

/* --- its home --- */

/* The program NAME of the tree this one was built in. */
__attribute__((unused)) static void path_of(const char *name, char *ret, size_t bytes)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	for (int up = 0; up < 2; up++) {
		char *slash = strrchr(path, '/');
		if (slash)
			*slash = '\0';
	}
	if (snprintf(ret, bytes, "%s/%s", path, name) >= (int)bytes)
		abort();
}

/* Everybody's orphans are ours from now on. */
__attribute__((unused)) static void home_make(const char *config)
{
	path_of("solventd", broker_path, sizeof broker_path);
	if (getenv("SOLVENTD"))
		snprintf(broker_path, sizeof broker_path, "%s", getenv("SOLVENTD"));
	if (!mkdtemp(home))
		abort();
	snprintf(socket_path, sizeof socket_path, "%s/sock", home);
	snprintf(state_path, sizeof state_path, "%s/state", home);
	snprintf(config_path, sizeof config_path, "%s/conf", home);
	snprintf(log_path, sizeof log_path, "%s/log", home);
	FILE *f = fopen(config_path, "w");
	if (!f || fputs(config, f) < 0 || fclose(f) != 0)
		abort();
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

__attribute__((unused)) static void home_remove(void)
{
	char path[128];
	const char *const left[] = { "state/keeper", "state/lock", "state", "conf", "sock", "log", "" };
	for (size_t i = 0; i < ARRAY_N(left); i++) {
		snprintf(path, sizeof path, "%s/%s", home, left[i]);
		remove(path);
	}
}

/* --- others --- */

__attribute__((unused)) static uint32_t random_below(uint32_t *seed, uint32_t n)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)*seed * n >> 32);
}

static void family_wait(void)
{
	int status;
	while (waitpid(-1, &status, WNOHANG) > 0)
		outsiders += WIFEXITED(status) && WEXITSTATUS(status) == NOT_LET_IN;
}

/* Kills the whole family in no order until nobody is left: everybody's orphans are ours. */
__attribute__((unused)) static void family_kill(uint32_t *seed)
{
	char path[64], text[65536];
	snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
	for (;;) {
		int fd = open(path, O_RDONLY);
		ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
		if (fd >= 0)
			close(fd);
		text[n > 0 ? n : 0] = '\0';
		int children = 0;
		for (char *at = text, *end; *at; at = end) {
			pid_t pid = (pid_t)strtol(at, &end, 10);
			if (end == at)
				break;
			if (pid == broker || pid <= 0)
				continue;
			children++;
			kill(pid, SIGKILL);
			if (random_below(seed, 4) == 0)
				sleep_ms(0.05);
		}
		family_wait();
		if (children == 0)
			return;
	}
}

/* --- the broker --- */

/* Starts one; it writes a byte to what is returned when it listens. */
__attribute__((unused)) static int broker_launch(void)
{
	int ready[2];
	char number[16];
	if (pipe(ready) != 0)
		abort();
	snprintf(number, sizeof number, "%d", ready[1]);
	broker = fork_tied();
	if (broker == 0) {
		int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
		close(ready[0]);
		dup2(log, STDERR_FILENO);
		execl(broker_path, "solventd", "--foreground", "--socket", socket_path, "--state", state_path, "--config",
		      config_path, "--ready-fd", number, (char *)NULL);
		_exit(127);
	}
	close(ready[1]);
	return ready[0];
}

/* Nothing can be tested any more. Leaves nobody and nothing behind, and says what the broker
 * said last. */
static void broker_missed(void) __attribute__((noreturn));
static void broker_missed(void)
{
	char text[2048] = "";
	int status = 0, log = open(log_path, O_RDONLY);
	uint32_t seed = 1;
	lseek(log, -(off_t)(sizeof text - 1), SEEK_END);
	ssize_t n = read(log, text, sizeof text - 1);
	waitpid(broker, &status, 0);
	printf("FAIL %s did not start (status %#x); its log ends with\n%.*s\n", broker_path, status, (int)(n > 0 ? n : 0),
	       text);
	broker = 0;
	family_kill(&seed);
	home_remove();
	exit(1);
}

__attribute__((unused)) static void broker_start(void)
{
	char byte;
	int ready = broker_launch();
	if (read(ready, &byte, 1) != 1)
		broker_missed();
	close(ready);
}

__attribute__((unused)) static void broker_end(int signal_)
{
	kill(broker, signal_);
	waitpid(broker, NULL, 0);
}

/* --- looking at an account --- */

__attribute__((unused)) static struct ledger *view(const char *account)
{
	struct reply_account r;
	struct ledger *l = NULL;
	int status = peer_look(socket_path, account, &r, &l);
	CHECK(status == 0, "account %s cannot be seen: %d", account, status);
	return l;
}

__attribute__((unused)) static uint32_t members_of(const char *account)
{
	struct reply_account r = { 0 };
	peer_look(socket_path, account, &r, NULL);
	return r.members;
}

__attribute__((unused)) static bool is_zero(const struct ledger *l)
{
	if (PURSE_USED(purse_read(&l->header.purse)) != 0)
		return false;
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		if (SLOT_STATE(slot_read(l, s)) != SLOT_FREE || purse_read(&l->slot[s].purse) != 0)
			return false;
	return true;
}

__attribute__((unused)) static void explain(const struct ledger *l)
{
	uint64_t word = purse_read(&l->header.purse);
	printf("  account granted %u used %u, members' and objects' used %llu\n", PURSE_GRANTED(word), PURSE_USED(word),
	       (unsigned long long)ledger_used(l));
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		uint64_t state = slot_read(l, s);
		if (SLOT_STATE(state) != SLOT_FREE)
			printf("  slot %u state %d owner %d pid %d purse %u/%u\n", s, SLOT_STATE(state),
			       (int)SLOT_OWNER(state), l->slot[s].pid, PURSE_USED(purse_read(&l->slot[s].purse)),
			       PURSE_GRANTED(purse_read(&l->slot[s].purse)));
	}
}
