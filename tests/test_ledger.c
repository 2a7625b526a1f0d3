/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "reserve/transfer.h"
#include "tests/ledger_made.h"

TestSuite(ledger, .timeout = 20);

Test(ledger, is_sealed_against_every_change_of_size)
{
	int fd = ledger_create("pg");
	cr_assert(fd >= 0);
	cr_assert_eq(ftruncate(fd, 0), -1);
	cr_assert_eq(ftruncate(fd, 1 << 30), -1);
	cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

Test(ledger, maps_what_it_made_and_knows_its_name)
{
	struct ledger *l;
	int fd = ledger_create("pg");
	cr_assert_eq(ledger_map(fd, true, &l), 0);
	cr_assert(ledger_is_sound(l, "pg"));
	cr_assert(!ledger_is_sound(l, "redis"));
	l->header.slots = 7;
	cr_assert(!ledger_is_sound(l, "pg"));
	ledger_format(l, "pg");
	cr_assert(ledger_is_sound(l, "pg"));
	ledger_unmap(l);
	close(fd);
}

static long faults(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return u.ru_minflt;
}

/* Reads of a slot, and then writes to the header. */
static long faults_of_child(struct ledger *l, uint32_t s)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		long before = (faults(), faults());
		uint64_t seen = __atomic_load_n(&l->slot[s].state, __ATOMIC_RELAXED);
		__atomic_store_n(&l->header.purse.word, seen, __ATOMIC_RELAXED);
		_exit((int)(faults() - before));
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

Test(ledger, a_child_has_the_header_and_the_first_slots_for_one_page_fault)
{
	struct ledger *l[8];
	int fd = ledger_create("x");
	for (size_t i = 0; i < ARRAY_N(l); i++) {
		cr_assert_eq(ledger_map(fd, true, &l[i]), 0);
		l[i]->slot[40].state = 0;
		l[i]->header.purse.word = 0;
		mmap(NULL, (2 * i + 1) * PAGE_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	for (size_t i = 0; i < ARRAY_N(l); i++)
		cr_assert_eq(faults_of_child(l[i], 40), 1, "mapped at %p", (void *)l[i]);
	close(fd);
}

Test(ledger, formatting_forgets_everything)
{
	struct ledger *l;
	int fd = ledger_create("x");
	cr_assert_eq(ledger_map(fd, true, &l), 0);
	memset((char *)l + 100000, 0xa5, LEDGER_BYTES - 100000);
	ledger_format(l, "x");
	cr_assert_eq(ledger_used(l), 0);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		cr_assert_eq(l->slot[s].state, 0);
	ledger_unmap(l);
	close(fd);
}

/* Everything is written over but what an empty ledger is known by. */
Test(ledger, sweeping_leaves_no_snare)
{
	struct ledger *l;
	int fd = ledger_create("x");
	cr_assert_eq(ledger_map(fd, true, &l), 0);
	memset(l->slot, 0xa5, sizeof l->slot);
	memset(l->object, 0xa5, sizeof l->object);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		l->slot[s].state = SLOT_WORD(s, 9, SLOT_FREE);
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		l->object[o].state = OBJECT_WORD(o, 9, OBJECT_FREE);
	l->object[7] = (struct object){ .purse = { PURSE(5, 5), SIGNATURE(3, 4) }, .key_a = 1, .key_b = 2,
					.state = OBJECT_WORD(1, 4, OBJECT_SYSV) | OBJECT_LEAVING };
	l->header.slot_top = l->header.slot_hint = l->header.object_top = 4711;
	ledger_sweep(l, SIGNATURE(SIGNATURE_BROKER_SLOT, 1));
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		struct slot fresh = { .state = SLOT_WORD(s, 0, SLOT_FREE) };
		cr_assert(memcmp(&l->slot[s], &fresh, sizeof fresh) == 0, "slot %u", s);
	}
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		struct object fresh = { .state = OBJECT_WORD(o, 0, OBJECT_FREE) };
		cr_assert(o == 7 || memcmp(&l->object[o], &fresh, sizeof fresh) == 0, "object %u", o);
	}
	cr_assert(l->object[7].purse.word == PURSE(5, 5) && SIGNATURE_SLOT(l->object[7].purse.by) >= LEDGER_SLOTS);
	cr_assert(object_find_hold(l, 0, OBJECT_SYSV, 1, 2) == 7, "a segment that is left can be found");
	cr_assert(l->header.slot_top == 4711 && l->header.object_top == 4711, "a stray would be found no more");
	ledger_unmap(l);
	close(fd);
}

/* A child that was given up as an orphan, and is late, may be about to confirm what its parent
 * did with it, when the account has been emptied and swept. */
Test(ledger, sweeping_takes_back_no_step_number)
{
	struct ledger *l = ledger_made();
	l->header.purse.word = PURSE(100, 0);
	uint32_t parent = (uint32_t)slot_claim(l, SLOT_LIVE, 0), child = (uint32_t)slot_claim(l, SLOT_EMBRYO, 0);
	cr_assert(transfer_fund(l, parent, child, 10));
	uint64_t seen = l->slot[child].purse.by;
	transfer_reap(l, child, child);
	slot_free(l, child);
	slot_free(l, parent);
	ledger_sweep(l, SIGNATURE(SIGNATURE_BROKER_SLOT, 1));
	signature_confirm(seen, l);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)parent);
	cr_assert(transfer_fund(l, parent, parent, 10));
	cr_assert(SIGNATURE_STEP(l->slot[parent].purse.by) > l->slot[parent].confirmed, "done before it was begun");
	free(l);
}

/* A segment that outlives its account's last member, and a top that somebody has lowered. */
Test(ledger, sweeping_finds_what_is_left_of_segments_again)
{
	struct ledger *l = ledger_made();
	l->object[7].state = OBJECT_WORD(0, 0, OBJECT_SYSV);
	l->header.object_top = 3;
	ledger_sweep(l, SIGNATURE(SIGNATURE_BROKER_SLOT, 1));
	cr_assert_eq(ledger_objects(l), 8);
	free(l);
}

static int memfd_of(off_t bytes, unsigned seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	cr_assert(fd >= 0 && ftruncate(fd, bytes) == 0);
	if (seals)
		fcntl(fd, F_ADD_SEALS, (int)seals);
	return fd;
}

Test(ledger, does_not_map_what_is_not_one)
{
	const struct {
		const char *name;
		off_t bytes;
		unsigned seals;
		int error;
	} cases[] = {
		{ "empty", 0, F_SEAL_SHRINK, -EBADMSG },
		{ "not sealed", (off_t)LEDGER_BYTES, 0, -EBADMSG },
		{ "another size", (off_t)LEDGER_BYTES + 4096, F_SEAL_SHRINK, -EPROTO },
		{ "zeroes", (off_t)LEDGER_BYTES, F_SEAL_SHRINK, -EBADMSG },
	};
	for (size_t i = 0; i < ARRAY_N(cases); i++) {
		struct ledger *l = NULL;
		int fd = memfd_of(cases[i].bytes, cases[i].seals);
		cr_assert_eq(ledger_map(fd, false, &l), cases[i].error, "%s", cases[i].name);
		cr_assert_null(l);
		close(fd);
	}
	struct ledger *l = NULL;
	cr_assert_eq(ledger_map(-1, false, &l), -EBADF);
}

Test(ledger, does_not_map_another_version)
{
	struct ledger *l;
	int fd = ledger_create("pg");
	uint32_t other = LEDGER_VERSION + 1;
	cr_assert_eq(pwrite(fd, &other, sizeof other, offsetof(struct ledger_header, version)), sizeof other);
	cr_assert_eq(ledger_map(fd, true, &l), -EPROTO);
	close(fd);
}

Test(ledger, a_slot_is_handed_on_without_a_trace)
{
	struct ledger *l;
	int fd = ledger_create("x");
	cr_assert_eq(ledger_map(fd, true, &l), 0);
	int s = slot_claim(l, SLOT_LIVE, 0);
	struct slot *slot = &l->slot[s];
	slot->pid = 7;
	slot->uid = 8;
	slot->start_ticks = 9;
	slot->joined_ns = 10;
	slot->refusals = slot->peak = slot->category[CATEGORY_HEAP] = 11;
	memcpy(slot->comm, "postgres", 9);
	slot_free(l, (uint32_t)s);
	cr_assert(slot->pid == 0 && slot->uid == 0 && slot->start_ticks == 0 && slot->joined_ns == 0);
	cr_assert(slot->refusals == 0 && slot->peak == 0 && slot->category[CATEGORY_HEAP] == 0 && slot->comm[0] == 0);
	ledger_unmap(l);
	close(fd);
}

Test(ledger, a_slot_keeps_its_step_numbers_from_life_to_life)
{
	struct ledger *l = ledger_made();
	l->header.purse.word = PURSE(100, 0);
	int s = slot_claim(l, SLOT_LIVE, 0);
	cr_assert(transfer_fund(l, (uint32_t)s, (uint32_t)s, 10));
	transfer_reap(l, (uint32_t)s, (uint32_t)s);
	uint64_t step = l->slot[s].step;
	cr_assert(step > 0);
	slot_free(l, (uint32_t)s);
	cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), s);
	cr_assert_eq(l->slot[s].step, step);
	free(l);
}

/* --- objects --- */

static struct ledger *with_members(void)
{
	struct ledger *l = ledger_made();
	l->header.purse.word = PURSE(1000, 0);
	for (uint32_t s = 0; s < 3; s++) {
		cr_assert_eq(slot_claim(l, SLOT_LIVE, 0), (int)s);
		cr_assert(transfer_fund(l, s, s, 100));
	}
	return l;
}

static uint32_t object_of(struct ledger *l, uint32_t maker, enum object_kind kind, uint64_t key, uint32_t pages)
{
	int o = object_claim(l, maker);
	cr_assert(o >= 0);
	cr_assert(purse_take(&l->slot[maker].purse, pages));
	cr_assert(transfer_to_object(l, maker, (uint32_t)o, 0, pages));
	object_publish(l, (uint32_t)o, kind, key, 0);
	return (uint32_t)o;
}

Test(object, lives_until_its_last_holder_whoever_that_is)
{
	struct ledger *l = with_members();
	uint32_t o = object_of(l, 0, OBJECT_FILE, 9, 40);
	cr_assert_eq(object_find_hold(l, 1, OBJECT_FILE, 9, 0), (int)o);
	object_drop(l, o, 0);
	cr_assert(!object_release(l, 0, o));
	cr_assert_eq(ledger_used(l), 40);
	object_drop(l, o, 1);
	cr_assert(object_release(l, 1, o));
	cr_assert_eq(ledger_used(l), 0);
	cr_assert_eq(object_find_hold(l, 1, OBJECT_FILE, 9, 0), -ENOENT);
	free(l);
}

Test(object, a_child_inherits_what_its_parent_holds)
{
	struct ledger *l = with_members();
	uint32_t o = object_of(l, 0, OBJECT_ANON, 0, 40);
	object_inherit(l, 0, 2);
	object_drop_all(l, 0, 0);
	cr_assert(object_is_held_by(l, o, 2));
	cr_assert_eq(ledger_used(l), 40);
	object_drop_all(l, 2, 2);
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

Test(object, a_segment_outlives_its_holders_until_it_is_removed)
{
	struct ledger *l = with_members();
	uint32_t o = object_of(l, 0, OBJECT_SYSV, 123, 40);
	object_drop_all(l, 0, 0);
	cr_assert_eq(ledger_used(l), 40);
	cr_assert(object_mark_removed(l, o, l->object[o].state));
	cr_assert(object_release(l, 1, o));
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

Test(object, one_that_its_maker_never_published_goes_with_it)
{
	struct ledger *l = with_members();
	int o = object_claim(l, 1);
	cr_assert(purse_take(&l->slot[1].purse, 10));
	cr_assert(transfer_to_object(l, 1, (uint32_t)o, 0, 10));
	object_drop_all(l, 0, 0); /* somebody else's business */
	cr_assert_eq(ledger_used(l), 10);
	object_drop_all(l, 1, 1);
	cr_assert_eq(ledger_used(l), 0);
	free(l);
}

Test(object, the_table_has_an_end)
{
	struct ledger *l = with_members();
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		cr_assert_eq(object_claim(l, 0), (int)o);
	cr_assert_eq(object_claim(l, 0), -ENOSPC);
	free(l);
}
