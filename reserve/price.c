/* SPDX-License-Identifier: MIT */
/* The law on one page. A call is turned into facts; the first row of the list whose facts
 * all hold decides. The rows stand in the order of the argument in docs: who asks for a
 * price and who checks one (tests/test_price.c) can read down the same list. */
#include "reserve/price.h"

#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08 /* Linux 6.11, include/uapi/linux/mman.h */
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4 /* Linux 5.7 */
#endif

enum fact {
	/* mmap, mprotect */
	WRITE = 1 << 0,
	PRIVATE = 1 << 1,
	SHARED = 1 << 2,
	DROPPABLE = 1 << 3,
	GROWSDOWN = 1 << 4,
	NORESERVE = 1 << 5, /* and the account lets it be free */
	ANON = 1 << 6,
	TMPFS = 1 << 7,
	HUGETLB = 1 << 8,
	/* mremap, brk */
	GROWS = 1 << 9,
	SHRINKS = 1 << 10,
	KEEPS = 1 << 11,      /* MREMAP_DONTUNMAP */
	DUPLICATES = 1 << 12, /* old size 0 */
	CHARGED = 1 << 13,
	EXEMPT = 1 << 14,
	/* shmget */
	CREATES = 1 << 15,
	/* clone, threads */
	SAME_MEMORY = 1 << 16, /* CLONE_VM */
	OWN_STACK = 1 << 17,
	/* mmap of a file */
	MAY_WRITE = 1 << 18,
	HOLES = 1 << 19,
};

enum call {
	CALL_MMAP,
	CALL_FAULTS,
	CALL_MPROTECT,
	CALL_MREMAP,
	CALL_BRK,
	CALL_SHMGET,
	CALL_SHMAT,
	CALL_CLONE,
	CALL_THREAD,
	CALL_N
};

struct row {
	enum call call;
	uint32_t facts;
	struct price price;
};

/* The last row of each call has no facts: it always decides. */
static const struct row price_list[] = {
	{ CALL_MMAP, GROWSDOWN, { PRICE_REFUSED, SHARE_NOTHING, "grows down without asking" } },
	{ CALL_MMAP, DROPPABLE, { PRICE_EXEMPT, SHARE_NOTHING, "droppable" } },
	{ CALL_MMAP, HUGETLB, { PRICE_EXEMPT, SHARE_NOTHING, "huge pages have a pool of their own" } },
	{ CALL_MMAP, PRIVATE | NORESERVE, { PRICE_EXEMPT, SHARE_NOTHING, "not reserved, free in this account" } },
	{ CALL_MMAP, PRIVATE | WRITE, { PRICE_PRIVATE, SHARE_WHOLE, "private and writable" } },
	{ CALL_MMAP, PRIVATE, { PRICE_NONE, SHARE_NOTHING, "private, not writable" } },
	{ CALL_MMAP, SHARED | ANON, { PRICE_OBJECT_ANON, SHARE_WHOLE, "shared anonymous memory" } },
	{ CALL_MMAP, SHARED | TMPFS | WRITE, { PRICE_OBJECT_FILE, SHARE_WHOLE, "shared and writable, on tmpfs" } },
	{ CALL_MMAP, SHARED | TMPFS | MAY_WRITE, { PRICE_OBJECT_FILE, SHARE_WHOLE, "shared, on tmpfs, may become writable" } },
	{ CALL_MMAP, SHARED | TMPFS | HOLES, { PRICE_OBJECT_FILE, SHARE_WHOLE, "shared, on tmpfs, reading fills its holes" } },
	{ CALL_MMAP, SHARED, { PRICE_EXEMPT, SHARE_NOTHING, "shared, the file's own memory" } },
	{ CALL_MMAP, 0, { PRICE_NONE, SHARE_NOTHING, "neither private nor shared" } },

	{ CALL_FAULTS, PRIVATE | TMPFS | HOLES, { PRICE_OBJECT_FILE, SHARE_WHOLE, "on tmpfs, faults fill its holes" } },
	{ CALL_FAULTS, 0, { PRICE_NONE, SHARE_NOTHING, "faults make no pages but its own" } },

	{ CALL_MPROTECT, WRITE, { PRICE_PRIVATE, SHARE_UNPAID, "made writable" } },
	{ CALL_MPROTECT, 0, { PRICE_NONE, SHARE_NOTHING, "not made writable, what was charged stays" } },

	{ CALL_MREMAP, DUPLICATES | EXEMPT, { PRICE_EXEMPT, SHARE_WHOLE, "another view of a shared mapping" } },
	{ CALL_MREMAP, DUPLICATES, { PRICE_NONE, SHARE_NOTHING, "only shared mappings are duplicated" } },
	{ CALL_MREMAP, KEEPS | CHARGED, { PRICE_PRIVATE, SHARE_COPY, "moved, and the old range kept" } },
	{ CALL_MREMAP, KEEPS | EXEMPT, { PRICE_EXEMPT, SHARE_COPY, "moved, and the old range kept, never charged" } },
	{ CALL_MREMAP, KEEPS, { PRICE_NONE, SHARE_NOTHING, "moved, and the old range kept, not charged" } },
	{ CALL_MREMAP, GROWS | CHARGED, { PRICE_PRIVATE, SHARE_GROWTH, "grown" } },
	{ CALL_MREMAP, GROWS | EXEMPT, { PRICE_EXEMPT, SHARE_GROWTH, "grown, never charged" } },
	{ CALL_MREMAP, GROWS, { PRICE_NONE, SHARE_NOTHING, "grown, not charged" } },
	{ CALL_MREMAP, SHRINKS, { PRICE_NONE, SHARE_TAIL, "shrunk" } },
	{ CALL_MREMAP, 0, { PRICE_NONE, SHARE_NOTHING, "moved" } },

	{ CALL_BRK, GROWS, { PRICE_PRIVATE, SHARE_GROWTH, "the break grows" } },
	{ CALL_BRK, SHRINKS, { PRICE_NONE, SHARE_TAIL, "the break shrinks" } },
	{ CALL_BRK, 0, { PRICE_NONE, SHARE_NOTHING, "the break stays" } },

	{ CALL_SHMGET, CREATES | HUGETLB, { PRICE_EXEMPT, SHARE_NOTHING, "huge pages have a pool of their own" } },
	{ CALL_SHMGET, CREATES, { PRICE_OBJECT_SYSV, SHARE_WHOLE, "a new shared segment" } },
	{ CALL_SHMGET, 0, { PRICE_NONE, SHARE_NOTHING, "a shared segment that exists" } },

	{ CALL_SHMAT, 0, { PRICE_EXEMPT, SHARE_NOTHING, "a shared segment, paid for when it was made" } },

	{ CALL_CLONE, SAME_MEMORY, { PRICE_NONE, SHARE_NOTHING, "runs in the memory of its parent" } },
	{ CALL_CLONE, 0, { PRICE_PRIVATE, SHARE_PARENT, "a copy of its parent" } },

	{ CALL_THREAD, OWN_STACK, { PRICE_NONE, SHARE_NOTHING, "on a stack that the program brought" } },
	{ CALL_THREAD, 0, { PRICE_PRIVATE, SHARE_WHOLE, "a thread's stack" } },
};

static struct price price_find(enum call call, uint32_t facts)
{
	const struct row *row = price_list;
	while (row->call != call || (row->facts & facts) != row->facts)
		row++;
	return row->price;
}

static uint32_t fact_if(bool is, enum fact fact)
{
	return is ? fact : 0;
}

/* The type is a number, not bits: MAP_SHARED_VALIDATE (3) has the bit of MAP_PRIVATE (2). */
static uint32_t facts_of_type(int flags)
{
	switch (flags & MAP_TYPE) {
	case MAP_PRIVATE:
		return PRIVATE;
	case MAP_SHARED:
	case MAP_SHARED_VALIDATE:
		return SHARED;
	case MAP_DROPPABLE:
		return DROPPABLE;
	default:
		return 0;
	}
}

static uint32_t facts_of_mapping(struct price_request r)
{
	static const uint32_t facts_of_backing[BACKING_N] = {
		[BACKING_ANON] = ANON,
		[BACKING_ZERO] = ANON, /* drivers/char/mem.c:mmap_zero makes the same object */
		[BACKING_TMPFS] = TMPFS,
		[BACKING_HUGETLB] = HUGETLB,
	};
	return facts_of_type(r.flags) | facts_of_backing[r.backing] | fact_if(r.prot & PROT_WRITE, WRITE) |
	       fact_if(r.flags & MAP_GROWSDOWN, GROWSDOWN) | fact_if(r.flags & MAP_HUGETLB, HUGETLB) |
	       fact_if(r.flags & MAP_NORESERVE && r.noreserve_free, NORESERVE) |
	       fact_if(r.may_write, MAY_WRITE) | fact_if(r.has_holes, HOLES);
}

struct price price_of_mmap(struct price_request r)
{
	return price_find(CALL_MMAP, facts_of_mapping(r));
}

struct price price_of_faults(struct price_request r)
{
	return price_find(CALL_FAULTS, facts_of_mapping(r));
}

struct price price_of_mprotect(int prot)
{
	return price_find(CALL_MPROTECT, fact_if(prot & PROT_WRITE, WRITE));
}

struct price price_of_mremap(struct price_mremap r)
{
	return price_find(CALL_MREMAP,
			  fact_if(r.old_pages == 0, DUPLICATES) |
			  fact_if(r.flags & MREMAP_DONTUNMAP, KEEPS) |
			  fact_if(r.new_pages > r.old_pages, GROWS) |
			  fact_if(r.new_pages < r.old_pages, SHRINKS) |
			  fact_if(r.charged, CHARGED) | fact_if(r.exempt, EXEMPT));
}

struct price price_of_brk(uint64_t old_pages, uint64_t new_pages)
{
	return price_find(CALL_BRK, fact_if(new_pages > old_pages, GROWS) |
			  fact_if(new_pages < old_pages, SHRINKS));
}

/* SHM_NORESERVE is not a fact: with strict accounting it costs like any segment. */
struct price price_of_shmget(int key, int flags)
{
	return price_find(CALL_SHMGET, fact_if(key == IPC_PRIVATE || flags & IPC_CREAT, CREATES) |
			  fact_if(flags & SHM_HUGETLB, HUGETLB));
}

struct price price_of_shmat(void)
{
	return price_find(CALL_SHMAT, 0);
}

struct price price_of_clone(uint64_t flags)
{
	return price_find(CALL_CLONE, fact_if(flags & CLONE_VM, SAME_MEMORY));
}

struct price price_of_thread(bool own_stack)
{
	return price_find(CALL_THREAD, fact_if(own_stack, OWN_STACK));
}
