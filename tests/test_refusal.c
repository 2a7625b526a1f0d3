/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "reserve/ledger.h"
#include "reserve/refusal.h"
#include "tests/fork_tied.h"

TestSuite(refusal, .timeout = 20);

static struct ledger *ledger_new(void)
{
	struct ledger *l = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert(l != MAP_FAILED);
	ledger_format(l, "t");
	return l;
}

/* A record in which everything follows from one number, so that a mixture of two shows. */
static void record_make(uint64_t seed, struct refusal *ret)
{
	*ret = (struct refusal){ .time_ns = seed * 3, .pid = (int32_t)seed, .tid = (int32_t)~seed, .bytes = seed,
				 .op = OP_MALLOC, .reason = REASON_LIMIT, .limit = (uint32_t)seed * 5,
				 .frames = REFUSAL_FRAMES };
	for (int i = 0; i < REFUSAL_FRAMES; i++)
		ret->offset[i] = seed * 1000003 + (uint64_t)i;
	memset(ret->modules, (int)(seed & 0xff), sizeof ret->modules);
}

static bool record_is_whole(const struct refusal *r)
{
	struct refusal expected;
	record_make(r->bytes, &expected);
	expected.seq = r->seq;
	expected.reserved0 = r->reserved0;
	return memcmp(&expected, r, sizeof expected) == 0;
}

static void push(struct ledger *l, uint64_t seed)
{
	struct refusal r;
	record_make(seed, &r);
	refusal_push(l, &r);
}

Test(refusal, counts_what_was_refused_and_what_was_only_observed)
{
	struct ledger *l = ledger_new();
	refusal_count(l, 7, 10, false);
	refusal_count(l, 7, 5, false);
	refusal_count(l, 8, 100, true);
	cr_assert_eq(l->header.refusal_count, 2);
	cr_assert_eq(l->header.refused_pages, 15);
	cr_assert_eq(l->header.observed_count, 1);
	cr_assert_eq(l->slot[7].refusals, 2);
	cr_assert_eq(l->slot[8].refusals, 0);
	cr_assert_eq(l->header.refusal_head, 0, "counting writes no record");
}

Test(refusal, is_read_as_it_was_written)
{
	struct ledger *l = ledger_new();
	struct refusal r;
	for (uint64_t i = 0; i < 5; i++)
		push(l, 100 + i);
	for (uint64_t i = 0; i < 5; i++) {
		cr_assert(refusal_read(l, i, &r), "record %d", (int)i);
		cr_assert(record_is_whole(&r), "record %d", (int)i);
		cr_assert_eq(r.bytes, 100 + i);
	}
}

Test(refusal, is_not_there_before_it_is_written)
{
	struct ledger *l = ledger_new();
	struct refusal r = { .bytes = 77 };
	cr_assert(!refusal_read(l, 0, &r));
	push(l, 1);
	cr_assert(!refusal_read(l, 1, &r));
	cr_assert(!refusal_read(l, LEDGER_REFUSALS, &r));
	cr_assert_eq(r.bytes, 77, "untouched");
}

Test(refusal, stays_until_the_ring_has_gone_round)
{
	struct ledger *l = ledger_new();
	struct refusal r;
	for (uint64_t i = 0; i < LEDGER_REFUSALS; i++)
		push(l, i);
	cr_assert(refusal_read(l, 0, &r));
	push(l, 9999);
	cr_assert(!refusal_read(l, 0, &r), "the oldest made room");
	cr_assert(refusal_read(l, 1, &r));
	cr_assert(refusal_read(l, LEDGER_REFUSALS, &r));
	cr_assert_eq(r.bytes, 9999);
}

/* As a writer that took number `number` leaves it, killed after `words` words. */
static void die_in_the_middle(struct ledger *l, uint64_t number, uint64_t seed, size_t words)
{
	struct refusal r;
	uint64_t *place = (uint64_t *)&l->refusal[number % LEDGER_REFUSALS];
	record_make(seed, &r);
	place[0] = 2 * number + 1;
	memcpy(place + 1, (uint64_t *)&r + 1, words * sizeof *place);
}

Test(refusal, of_a_writer_that_died_is_never_read_and_is_written_over)
{
	struct refusal r;
	for (size_t words = 0; words < sizeof r / 8; words += 9) {
		struct ledger *l = ledger_new();
		push(l, 1);
		l->header.refusal_head++;
		die_in_the_middle(l, 1, 2, words);
		push(l, 3);
		cr_assert(!refusal_read(l, 1, &r), "dead after %d words", (int)words);
		cr_assert(refusal_read(l, 2, &r) && r.bytes == 3);
		for (uint64_t i = 0; i < LEDGER_REFUSALS; i++)
			push(l, 10 + i);
		cr_assert(refusal_read(l, 1 + LEDGER_REFUSALS, &r) && record_is_whole(&r),
			  "its place is lost, dead after %d words", (int)words);
		munmap(l, LEDGER_BYTES);
	}
}

/* A writer that slept for a whole round, and goes on where another has finished since. */
Test(refusal, that_an_old_writer_wrote_into_is_not_read)
{
	struct refusal old, r;
	record_make(5, &old);
	for (size_t from = 1; from < sizeof r / 8 - 20; from += 7) {
		struct ledger *l = ledger_new();
		l->header.refusal_head = LEDGER_REFUSALS;
		push(l, 6);
		cr_assert(refusal_read(l, LEDGER_REFUSALS, &r));
		uint64_t *word = (uint64_t *)&l->refusal[0] + from, before = *word;
		*word = ((uint64_t *)&old)[from];
		bool same = *word == before;
		cr_assert_eq(refusal_read(l, LEDGER_REFUSALS, &r), same, "word %d", (int)from);
		munmap(l, LEDGER_BYTES);
	}
}

Test(refusal, of_an_overtaken_writer_is_lost_and_harms_nobody)
{
	struct ledger *l = ledger_new();
	struct refusal r;
	l->header.refusal_head = LEDGER_REFUSALS;
	push(l, 6);
	l->header.refusal_head = 0; /* somebody who took number 0 long ago comes only now */
	push(l, 5);
	cr_assert(!refusal_read(l, 0, &r));
	cr_assert(refusal_read(l, LEDGER_REFUSALS, &r));
	cr_assert_eq(r.bytes, 6);
}

Test(refusal, ring_full_of_nonsense_is_usable_after_a_round)
{
	struct ledger *l = ledger_new();
	struct refusal r;
	memset(l->refusal, 0xee, sizeof l->refusal);
	for (uint64_t i = 0; i < LEDGER_REFUSALS; i++)
		cr_assert(!refusal_read(l, i, &r));
	for (uint64_t i = 0; i < LEDGER_REFUSALS; i++)
		push(l, i);
	for (uint64_t i = 0; i < LEDGER_REFUSALS; i++)
		cr_assert(refusal_read(l, i, &r) && r.bytes == i, "record %d", (int)i);
}

/* --- many writers, killed --- */

enum { WRITERS = 4, ROUNDS = 60 };

static pid_t writer_start(struct ledger *l, uint64_t seed)
{
	pid_t pid = fork_tied();
	if (pid != 0)
		return pid;
	for (uint64_t i = 0;; i++)
		push(l, seed << 32 | i);
}

/* Reads the newest until the time is up. How many were whole; -1: one was a mixture. */
static long readings(struct ledger *l, long ms)
{
	struct timespec now, end;
	long whole = 0;
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_nsec += ms * 1000000;
	do {
		uint64_t head = __atomic_load_n(&l->header.refusal_head, __ATOMIC_ACQUIRE);
		for (uint64_t back = 1; back <= 40 && back <= head; back++) {
			struct refusal r;
			if (!refusal_read(l, head - back, &r))
				continue;
			if (!record_is_whole(&r))
				return -1;
			whole++;
		}
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - end.tv_sec) * 1000000000 + now.tv_nsec < end.tv_nsec);
	return whole;
}

Test(refusal, is_read_whole_or_not_at_all_while_writers_are_killed)
{
	struct ledger *l = ledger_new();
	pid_t writer[WRITERS];
	long all = 0;
	bool mixed = false;
	for (uint64_t w = 0; w < WRITERS; w++)
		writer[w] = writer_start(l, w);
	for (uint64_t round = 0; round < ROUNDS && !mixed; round++) {
		pid_t *victim = &writer[round % WRITERS];
		long whole = readings(l, 5);
		mixed = whole < 0;
		all += whole;
		kill(*victim, SIGKILL);
		waitpid(*victim, NULL, 0);
		*victim = writer_start(l, WRITERS + round);
	}
	for (int w = 0; w < WRITERS; w++) {
		kill(writer[w], SIGKILL);
		waitpid(writer[w], NULL, 0);
	}
	cr_assert(!mixed, "a record was read that nobody wrote");
	cr_assert(all > 1000, "only %ld records were read", all);
	push(l, 1);
	struct refusal r;
	cr_assert(refusal_read(l, l->header.refusal_head - 1, &r) && r.bytes == 1);
}
