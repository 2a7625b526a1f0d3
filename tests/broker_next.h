/* SPDX-License-Identifier: MIT */
/* The broker that comes after tests/broker_fixture.h's own, which was killed. */
#pragma once

#include "daemon/recover.h"
#include "daemon/settle.h"
#include "tests/broker_fixture.h"

static struct broker next;

/* A child that has joined and charged so much; who it is in `ret`, if not NULL. */
__attribute__((unused)) static pid_t member(const char *name, uint32_t pages, struct peer_member *ret)
{
	int line[2];
	struct peer_member *m = mmap(NULL, sizeof *m, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(pipe(line) == 0);
	pid_t pid = fork_tied();
	if (pid == 0) {
		bool ok = peer_join(door_name, name, m) == 0 && peer_take(m, pages) == REASON_NONE;
		if (write(line[1], ok ? "y" : "n", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	cr_assert(turn_until_said(line[0]) == 'y');
	if (ret)
		*ret = *m;
	return pid;
}

/* What a keeper would hand on: descriptors of the same memfds. */
static struct kept keep(void)
{
	struct kept k = { .books = dup(b.books_fd), .keeper = -1 };
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b.account[i].ledger)
			k.ledger[k.ledgers++] = dup(b.account[i].fd);
	return k;
}

/* With `text` as its configuration. */
static void take_over(const char *text)
{
	struct kept k = keep();
	cr_assert(broker_init(&next) == 0);
	audit_stop(&next);
	recover(&next, &k);
	cr_assert(broker_configure(&next, config_of(text)) == 0);
	next.now_ns = clock_ns(CLOCK_MONOTONIC);
}

static void next_turn(void)
{
	next.now_ns = clock_ns(CLOCK_MONOTONIC);
	registry_hear(&next);
	settle_all(&next);
	broker_tick(&next);
}

__attribute__((unused)) static void next_turns_ms(int ms)
{
	for (int i = 0; i < ms; i++) {
		next_turn();
		pause_ms(1);
	}
}

/* Ends a child, and gives the next broker one turn to notice. */
__attribute__((unused)) static void end_next(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	next_turn();
}
