/* SPDX-License-Identifier: MIT */
/* The price list against what Linux charges under vm.overcommit_memory=2: a row for every
 * operation of the measured matrix that arguments alone decide, and for every difference
 * that Solvent makes on purpose. */
#include "reserve/price.h"

#include <criterion/criterion.h>
#include <linux/mman.h>
#include <sched.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

TestSuite(price, .timeout = 20);

#define R PROT_READ
#define W PROT_WRITE
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define NONE PROT_NONE
#define PRIV_ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define SHARED_ANON (MAP_SHARED | MAP_ANONYMOUS)
#define DROPPABLE 0x08 /* MAP_DROPPABLE, newer than the headers of the reference machine */

static void check(const char *row, struct price got, enum price_kind kind, enum price_share share)
{
	cr_assert_eq(got.kind, kind, "%s: kind %d, not %d (%s)", row, got.kind, kind, got.rule);
	cr_assert_eq(got.share, share, "%s: share %d, not %d (%s)", row, got.share, share, got.rule);
	cr_assert(got.rule && *got.rule, "%s: the rule has words", row);
}

struct mmap_row {
	const char *name;
	int prot, flags;
	enum backing backing;
	enum price_kind kind;
};

static const struct mmap_row mmap_rows[] = {
	{ "private anonymous RW", RW, PRIV_ANON, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous W", W, PRIV_ANON, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RWX", RW | PROT_EXEC, PRIV_ANON, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RW, a stack", RW, PRIV_ANON | MAP_STACK, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RW, populated", RW, PRIV_ANON | MAP_POPULATE, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RW, locked", RW, PRIV_ANON | MAP_LOCKED, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RW, fixed", RW, PRIV_ANON | MAP_FIXED, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous RW, fixed, replacing nothing", RW, PRIV_ANON | MAP_FIXED_NOREPLACE, BACKING_ANON,
	  PRICE_PRIVATE },
	{ "private anonymous RO", R, PRIV_ANON, BACKING_ANON, PRICE_NONE },
	{ "private anonymous RX", RX, PRIV_ANON, BACKING_ANON, PRICE_NONE },
	{ "private anonymous NONE", NONE, PRIV_ANON, BACKING_ANON, PRICE_NONE },
	{ "private anonymous NONE, fixed", NONE, PRIV_ANON | MAP_FIXED, BACKING_ANON, PRICE_NONE },
	{ "private anonymous RW, not reserved", RW, PRIV_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous NONE, not reserved", NONE, PRIV_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_NONE },
	{ "droppable RW", RW, DROPPABLE | MAP_ANONYMOUS, BACKING_ANON, PRICE_EXEMPT },
	{ "droppable NONE", NONE, DROPPABLE | MAP_ANONYMOUS, BACKING_ANON, PRICE_EXEMPT },
	{ "/dev/zero private RW", RW, MAP_PRIVATE, BACKING_ZERO, PRICE_PRIVATE },
	{ "/dev/zero private RO", R, MAP_PRIVATE, BACKING_ZERO, PRICE_NONE },
	{ "shared anonymous RW", RW, SHARED_ANON, BACKING_ANON, PRICE_OBJECT_ANON },
	{ "shared anonymous RO", R, SHARED_ANON, BACKING_ANON, PRICE_OBJECT_ANON },
	{ "shared anonymous NONE", NONE, SHARED_ANON, BACKING_ANON, PRICE_OBJECT_ANON },
	{ "shared anonymous RW, not reserved", RW, SHARED_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_OBJECT_ANON },
	{ "/dev/zero shared RW", RW, MAP_SHARED, BACKING_ZERO, PRICE_OBJECT_ANON },
	{ "/dev/zero shared NONE", NONE, MAP_SHARED, BACKING_ZERO, PRICE_OBJECT_ANON },
	{ "private file RW", RW, MAP_PRIVATE, BACKING_FILE, PRICE_PRIVATE },
	{ "private file RW, not reserved", RW, MAP_PRIVATE | MAP_NORESERVE, BACKING_FILE, PRICE_PRIVATE },
	{ "private file RO", R, MAP_PRIVATE, BACKING_FILE, PRICE_NONE },
	{ "private file RX", RX, MAP_PRIVATE, BACKING_FILE, PRICE_NONE },
	{ "shared file RW", RW, MAP_SHARED, BACKING_FILE, PRICE_EXEMPT },
	{ "shared file RO", R, MAP_SHARED, BACKING_FILE, PRICE_EXEMPT },
	{ "shared file RW, validated", RW, MAP_SHARED_VALIDATE, BACKING_FILE, PRICE_EXEMPT },
	{ "tmpfs shared RW", RW, MAP_SHARED, BACKING_TMPFS, PRICE_OBJECT_FILE },
	{ "tmpfs shared W, validated", W, MAP_SHARED_VALIDATE, BACKING_TMPFS, PRICE_OBJECT_FILE },
	{ "tmpfs shared RW, not reserved", RW, MAP_SHARED | MAP_NORESERVE, BACKING_TMPFS, PRICE_OBJECT_FILE },
	{ "tmpfs shared RO", R, MAP_SHARED, BACKING_TMPFS, PRICE_EXEMPT },
	{ "tmpfs private RW", RW, MAP_PRIVATE, BACKING_TMPFS, PRICE_PRIVATE },
	{ "tmpfs private RO", R, MAP_PRIVATE, BACKING_TMPFS, PRICE_NONE },
	{ "huge pages private RW", RW, PRIV_ANON | MAP_HUGETLB, BACKING_ANON, PRICE_EXEMPT },
	{ "huge pages of 2 MiB private RW", RW, PRIV_ANON | MAP_HUGETLB | MAP_HUGE_2MB, BACKING_ANON, PRICE_EXEMPT },
	{ "huge pages private NONE", NONE, PRIV_ANON | MAP_HUGETLB, BACKING_ANON, PRICE_EXEMPT },
	{ "huge pages shared RW", RW, SHARED_ANON | MAP_HUGETLB, BACKING_ANON, PRICE_EXEMPT },
	{ "hugetlbfs private RW", RW, MAP_PRIVATE, BACKING_HUGETLB, PRICE_EXEMPT },
	{ "hugetlbfs shared RW", RW, MAP_SHARED, BACKING_HUGETLB, PRICE_EXEMPT },
	{ "a device private RW", RW, MAP_PRIVATE, BACKING_DEVICE, PRICE_PRIVATE },
	{ "a device private RO", R, MAP_PRIVATE, BACKING_DEVICE, PRICE_NONE },
	{ "a device shared RW", RW, MAP_SHARED, BACKING_DEVICE, PRICE_EXEMPT },
	{ "growing down RW", RW, PRIV_ANON | MAP_GROWSDOWN, BACKING_ANON, PRICE_REFUSED },
	{ "growing down RO", R, PRIV_ANON | MAP_GROWSDOWN, BACKING_ANON, PRICE_REFUSED },
	{ "growing down, not reserved", RW, PRIV_ANON | MAP_GROWSDOWN | MAP_NORESERVE, BACKING_ANON, PRICE_REFUSED },
	{ "neither private nor shared", RW, MAP_ANONYMOUS, BACKING_ANON, PRICE_NONE },
};

/* The accounts that let MAP_NORESERVE be free: private mappings, whatever becomes of them. */
static const struct mmap_row noreserve_free_rows[] = {
	{ "private anonymous RW", RW, PRIV_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_EXEMPT },
	{ "private anonymous NONE", NONE, PRIV_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_EXEMPT },
	{ "private file RW", RW, MAP_PRIVATE | MAP_NORESERVE, BACKING_FILE, PRICE_EXEMPT },
	{ "private anonymous RW, reserved", RW, PRIV_ANON, BACKING_ANON, PRICE_PRIVATE },
	{ "private anonymous NONE, reserved", NONE, PRIV_ANON, BACKING_ANON, PRICE_NONE },
	{ "shared anonymous RW", RW, SHARED_ANON | MAP_NORESERVE, BACKING_ANON, PRICE_OBJECT_ANON },
	{ "tmpfs shared RW", RW, MAP_SHARED | MAP_NORESERVE, BACKING_TMPFS, PRICE_OBJECT_FILE },
	{ "growing down", RW, PRIV_ANON | MAP_GROWSDOWN | MAP_NORESERVE, BACKING_ANON, PRICE_REFUSED },
};

static enum price_share share_of_mmap(enum price_kind kind)
{
	return kind == PRICE_PRIVATE || kind == PRICE_OBJECT_ANON || kind == PRICE_OBJECT_FILE ? SHARE_WHOLE :
												 SHARE_NOTHING;
}

static void check_mmap(const struct mmap_row *row, bool noreserve_free)
{
	struct price_request r = { .prot = row->prot, .flags = row->flags, .backing = row->backing,
				   .noreserve_free = noreserve_free };
	check(row->name, price_of_mmap(r), row->kind, share_of_mmap(row->kind));
}

Test(price, of_mmap_is_that_of_the_matrix)
{
	for (size_t i = 0; i < ARRAY_N(mmap_rows); i++)
		check_mmap(&mmap_rows[i], false);
}

Test(price, of_mmap_knows_accounts_where_noreserve_is_free)
{
	for (size_t i = 0; i < ARRAY_N(noreserve_free_rows); i++)
		check_mmap(&noreserve_free_rows[i], true);
}

Test(price, of_mmap_without_noreserve_does_not_ask_the_account)
{
	for (size_t i = 0; i < ARRAY_N(mmap_rows); i++)
		if (!(mmap_rows[i].flags & MAP_NORESERVE))
			check_mmap(&mmap_rows[i], true);
}

/* Files that are memory: what the mapping itself costs, and what its page faults may make of
 * the file. */
Test(price, of_tmpfs_is_the_file_where_a_mapping_can_make_pages_of_it)
{
	static const struct {
		const char *name;
		int prot, flags;
		enum backing backing;
		bool may_write, has_holes;
		enum price_kind kind, faults;
	} rows[] = {
		{ "shared RW", RW, MAP_SHARED, BACKING_TMPFS, true, false, PRICE_OBJECT_FILE, PRICE_NONE },
		{ "shared RO, mprotect may come", R, MAP_SHARED, BACKING_TMPFS, true, false, PRICE_OBJECT_FILE, PRICE_NONE },
		{ "shared NONE, mprotect may come", NONE, MAP_SHARED, BACKING_TMPFS, true, true, PRICE_OBJECT_FILE,
		  PRICE_NONE },
		{ "shared RO, to be read only", R, MAP_SHARED, BACKING_TMPFS, false, false, PRICE_EXEMPT, PRICE_NONE },
		{ "shared RO, of a file with holes", R, MAP_SHARED, BACKING_TMPFS, false, true, PRICE_OBJECT_FILE,
		  PRICE_NONE },
		{ "private RW", RW, MAP_PRIVATE, BACKING_TMPFS, true, false, PRICE_PRIVATE, PRICE_NONE },
		{ "private RW, of a file with holes", RW, MAP_PRIVATE, BACKING_TMPFS, true, true, PRICE_PRIVATE,
		  PRICE_OBJECT_FILE },
		{ "private RO, of a file with holes", R, MAP_PRIVATE, BACKING_TMPFS, false, true, PRICE_NONE,
		  PRICE_OBJECT_FILE },
		{ "shared RO, on a disk, with holes", R, MAP_SHARED, BACKING_FILE, true, true, PRICE_EXEMPT, PRICE_NONE },
		{ "private RW, on a disk, with holes", RW, MAP_PRIVATE, BACKING_FILE, true, true, PRICE_PRIVATE, PRICE_NONE },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		struct price_request r = { .prot = rows[i].prot, .flags = rows[i].flags, .backing = rows[i].backing,
					   .may_write = rows[i].may_write, .has_holes = rows[i].has_holes };
		check(rows[i].name, price_of_mmap(r), rows[i].kind, share_of_mmap(rows[i].kind));
		check(rows[i].name, price_of_faults(r), rows[i].faults, share_of_mmap(rows[i].faults));
	}
}

Test(price, of_mprotect_is_for_what_nobody_paid)
{
	static const struct {
		const char *name;
		int prot;
		enum price_kind kind;
		enum price_share share;
	} rows[] = {
		{ "NONE or RO to RW", RW, PRICE_PRIVATE, SHARE_UNPAID },
		{ "to W", W, PRICE_PRIVATE, SHARE_UNPAID },
		{ "to RWX", RW | PROT_EXEC, PRICE_PRIVATE, SHARE_UNPAID },
		{ "the stack to RWX", RW | PROT_EXEC | PROT_GROWSDOWN, PRICE_PRIVATE, SHARE_UNPAID },
		{ "RW to RO", R, PRICE_NONE, SHARE_NOTHING },
		{ "RW to RX", RX, PRICE_NONE, SHARE_NOTHING },
		{ "RW to NONE", NONE, PRICE_NONE, SHARE_NOTHING },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		check(rows[i].name, price_of_mprotect(rows[i].prot), rows[i].kind, rows[i].share);
}

Test(price, of_mremap_is_that_of_the_matrix)
{
	enum { MAYMOVE = MREMAP_MAYMOVE, FIXED = MREMAP_MAYMOVE | MREMAP_FIXED, KEEP = MREMAP_MAYMOVE | 4 };
	static const struct {
		const char *name;
		struct price_mremap r;
		enum price_kind kind;
		enum price_share share;
	} rows[] = {
		{ "RW grown", { 16, 32, MAYMOVE, true, false }, PRICE_PRIVATE, SHARE_GROWTH },
		{ "RW grown in place", { 16, 32, 0, true, false }, PRICE_PRIVATE, SHARE_GROWTH },
		{ "RW grown to a fixed place", { 16, 32, FIXED, true, false }, PRICE_PRIVATE, SHARE_GROWTH },
		{ "RW shrunk", { 32, 16, MAYMOVE, true, false }, PRICE_NONE, SHARE_TAIL },
		{ "RW shrunk and moved", { 32, 16, FIXED, true, false }, PRICE_NONE, SHARE_TAIL },
		{ "RW moved", { 16, 16, MAYMOVE, true, false }, PRICE_NONE, SHARE_NOTHING },
		{ "RW moved over RW", { 16, 16, FIXED, true, false }, PRICE_NONE, SHARE_NOTHING },
		{ "RW moved, the old range kept", { 16, 16, KEEP, true, false }, PRICE_PRIVATE, SHARE_COPY },
		{ "shared moved, the old range kept", { 16, 16, KEEP, false, true }, PRICE_EXEMPT, SHARE_COPY },
		{ "NONE moved, the old range kept", { 16, 16, KEEP, false, false }, PRICE_NONE, SHARE_NOTHING },
		{ "old size 0, shared", { 0, 16, MAYMOVE, false, true }, PRICE_EXEMPT, SHARE_WHOLE },
		{ "old size 0, private RW", { 0, 16, MAYMOVE, true, false }, PRICE_NONE, SHARE_NOTHING },
		{ "old size 0, private NONE", { 0, 16, MAYMOVE, false, false }, PRICE_NONE, SHARE_NOTHING },
		{ "NONE grown", { 16, 32, MAYMOVE, false, false }, PRICE_NONE, SHARE_NOTHING },
		{ "NONE that was charged grown", { 16, 32, MAYMOVE, true, false }, PRICE_PRIVATE, SHARE_GROWTH },
		{ "exempt grown", { 16, 32, MAYMOVE, false, true }, PRICE_EXEMPT, SHARE_GROWTH },
		{ "exempt shrunk", { 32, 16, MAYMOVE, false, true }, PRICE_NONE, SHARE_TAIL },
		{ "in both planes counts as charged", { 16, 32, MAYMOVE, true, true }, PRICE_PRIVATE, SHARE_GROWTH },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		check(rows[i].name, price_of_mremap(rows[i].r), rows[i].kind, rows[i].share);
}

Test(price, of_brk_is_its_growth)
{
	check("grown", price_of_brk(100, 101), PRICE_PRIVATE, SHARE_GROWTH);
	check("shrunk", price_of_brk(101, 100), PRICE_NONE, SHARE_TAIL);
	check("within a page", price_of_brk(100, 100), PRICE_NONE, SHARE_NOTHING);
}

Test(price, of_shmget_is_the_segment_when_it_is_made)
{
	static const struct {
		const char *name;
		int key, flags;
		enum price_kind kind;
		enum price_share share;
	} rows[] = {
		{ "private", IPC_PRIVATE, 0600, PRICE_OBJECT_SYSV, SHARE_WHOLE },
		{ "private, not reserved", IPC_PRIVATE, SHM_NORESERVE | 0600, PRICE_OBJECT_SYSV, SHARE_WHOLE },
		{ "made", 42, IPC_CREAT | 0600, PRICE_OBJECT_SYSV, SHARE_WHOLE },
		{ "made exclusively", 42, IPC_CREAT | IPC_EXCL | 0600, PRICE_OBJECT_SYSV, SHARE_WHOLE },
		{ "made of huge pages", IPC_PRIVATE, SHM_HUGETLB | 0600, PRICE_EXEMPT, SHARE_NOTHING },
		{ "found", 42, 0, PRICE_NONE, SHARE_NOTHING },
		{ "found, of huge pages", 42, SHM_HUGETLB, PRICE_NONE, SHARE_NOTHING },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		check(rows[i].name, price_of_shmget(rows[i].key, rows[i].flags), rows[i].kind, rows[i].share);
	check("attached", price_of_shmat(), PRICE_EXEMPT, SHARE_NOTHING);
}

Test(price, of_a_child_is_all_its_parent_has_or_nothing)
{
	check("fork", price_of_clone(0), PRICE_PRIVATE, SHARE_PARENT);
	check("clone as fork", price_of_clone(CLONE_CHILD_SETTID), PRICE_PRIVATE, SHARE_PARENT);
	check("a new namespace", price_of_clone(CLONE_NEWPID | CLONE_NEWUSER), PRICE_PRIVATE, SHARE_PARENT);
	check("vfork without CLONE_VM is a fork", price_of_clone(CLONE_VFORK), PRICE_PRIVATE, SHARE_PARENT);
	check("vfork, posix_spawn, system, popen", price_of_clone(CLONE_VM | CLONE_VFORK), PRICE_NONE, SHARE_NOTHING);
	check("a thread", price_of_clone(CLONE_VM | CLONE_THREAD | CLONE_SIGHAND), PRICE_NONE, SHARE_NOTHING);
}

Test(price, of_a_thread_is_its_stack_unless_it_brings_one)
{
	check("pthread_create", price_of_thread(false), PRICE_PRIVATE, SHARE_WHOLE);
	check("with a stack of its own", price_of_thread(true), PRICE_NONE, SHARE_NOTHING);
}

Test(price, says_which_rule_decided)
{
	const struct {
		struct price price;
		const char *rule;
	} rows[] = {
		{ price_of_mmap((struct price_request){ .prot = R, .flags = PRIV_ANON, .backing = BACKING_ANON }), "private, not writable" },
		{ price_of_mmap((struct price_request){ .prot = R, .flags = MAP_ANONYMOUS, .backing = BACKING_ANON }),
		  "neither private nor shared" },
		{ price_of_mremap((struct price_mremap){ 1, 1, MREMAP_MAYMOVE, false, false }), "moved" },
		{ price_of_mremap((struct price_mremap){ 1, 1, MREMAP_DONTUNMAP, false, false }),
		  "moved, and the old range kept, not charged" },
		{ price_of_mremap((struct price_mremap){ 1, 2, 0, false, false }), "grown, not charged" },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++)
		cr_assert_eq(strcmp(rows[i].price.rule, rows[i].rule), 0, "\"%s\", not \"%s\"", rows[i].price.rule,
			     rows[i].rule);
}
