/* SPDX-License-Identifier: MIT */
/* A broker inside a test: its loop is turned by hand, so that a test sees it between any
 * two turns. Children may only use tests/peer.h and _exit, and are made by tests/fork_tied.h. */
#pragma once

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "reserve/purse.h"
#include "tests/broker_turn.h"
#include "tests/fork_tied.h"
#include "tests/peer.h"

static char door_name[64];

__attribute__((unused)) static void config_fail(void *context, const char *sentence)
{
	(void)context;
	cr_assert_fail("%s", sentence);
}

/* The configuration of a text, or the test fails. */
__attribute__((unused)) static const struct config *config_of(const char *text)
{
	static struct config c;
	char path[64];
	int fd = memfd_create("test-config", 0);
	cr_assert(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	cr_assert(config_read(path, config_fail, NULL, &c) == 0);
	close(fd);
	return &c;
}

/* Without audit: the members here have no shim, and are charged what they say. */
__attribute__((unused)) static void audit_stop(struct broker *broker)
{
	broker->audit_ns = broker->unattached.next_ns = NEVER;
}

/* A broker with that configuration, listening at door_name. */
__attribute__((unused)) static void broker_begin(const char *text)
{
	cr_assert(proc_open("/proc") == 0);
	cr_assert(broker_init(&b) == 0);
	audit_stop(&b);
	cr_assert(broker_configure(&b, config_of(text)) == 0);
	snprintf(door_name, sizeof door_name, "@solvent-test-%d", getpid());
	cr_assert(listener_open(door_name, &door) == 0);
	peers_init(&b.peers, epoll_create1(EPOLL_CLOEXEC), 0);
}

__attribute__((unused)) static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* Of one turn and the pause after it counts no more than this: while we wait for a processor the
 * broker does not turn either. */
#define TURN_MOST_NS (5 * NS_PER_MS)

/* And once more when the time is over, for what has become due in the last pause. */
__attribute__((unused)) static void turn_for_ms(int ms)
{
	for (uint64_t left = (uint64_t)ms * NS_PER_MS, took; left > 0; left -= min_u64(left, took)) {
		uint64_t from = clock_ns(CLOCK_MONOTONIC);
		turn();
		pause_ms(1);
		took = min_u64(clock_ns(CLOCK_MONOTONIC) - from, TURN_MOST_NS);
	}
	turn();
}

/* For what comes when the broker has got round to it, which on a busy machine takes a while. */
#define PATIENCE_TURNS 1000
#define until(condition, turns_ms) \
	do { \
		for (int left_ = PATIENCE_TURNS; !(condition) && left_ > 0; left_--) \
			turns_ms(5); \
		cr_assert(condition); \
	} while (0)
#define turn_until(condition) until(condition, turn_for_ms)

/* Turns until the child has ended; its exit status, or 1000 + the signal. */
__attribute__((unused)) static int turn_until_exit(pid_t pid)
{
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		turn();
		pause_ms(1);
	}
	turn();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Turns until the child has written a byte. */
__attribute__((unused)) static char turn_until_said(int fd)
{
	char byte = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	while (poll(&p, 1, 1) == 0)
		turn();
	cr_assert(read(fd, &byte, 1) == 1);
	return byte;
}

/* As if this broker were dead: the next one takes whoever can write to a ledger for a member. */
__attribute__((unused)) static void ledgers_leave(void)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b.account[i].ledger)
			ledger_unmap(b.account[i].ledger);
}

/* Ends a child, and gives the broker one turn to notice. */
__attribute__((unused)) static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	turn();
}

static inline struct account *account(const char *name)
{
	return broker_find(&b, name);
}

static inline uint32_t used(const char *name)
{
	return PURSE_USED(purse_read(&account(name)->ledger->header.purse));
}

/* Turns until a damaged account has begun anew, 10 s at most. */
__attribute__((unused)) static void heal(const char *name)
{
	for (int i = 0; i < 200 && account(name)->damaged; i++)
		turn_for_ms(50);
}
