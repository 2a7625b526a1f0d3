/* SPDX-License-Identifier: MIT */
/* The price list: what a call costs, from its arguments alone.
 *
 * Strict means vm.overcommit_memory=2 (Documentation/mm/overcommit-accounting.rst;
 * mm/vma.c:accountable_mapping, mm/shmem.c:shmem_acct_size, mm/mprotect.c, mm/mremap.c),
 * with these differences:
 *   - MAP_NORESERVE costs like any other private writable mapping, unless the account says
 *     noreserve_free (sanitizers, whose shadow would be terabytes);
 *   - a mapping of tmpfs or a memfd that can make pages of it reserves the whole file, so
 *     that a full budget is ENOMEM here and not SIGBUS later;
 *   - MAP_GROWSDOWN is refused: it grows without asking, and the kernel leaks its charge
 *     (mm/vma.c:acct_stack_growth).
 *
 * Pure: no system call, no state. What a price means for the page map is said with each
 * kind; how many pages it is for is the share. */
#pragma once

#include "include/base.h"

enum price_kind {
	PRICE_NONE,        /* nothing now; chargeable when made writable. Marks: as they were */
	PRICE_EXEMPT,      /* nothing, ever, as private memory. Marks: EXEMPT */
	PRICE_PRIVATE,     /* page for page to the member. Marks: CHARGED */
	PRICE_OBJECT_ANON, /* a new shared object, once, whole, whatever the protection. Marks: EXEMPT */
	PRICE_OBJECT_FILE, /* the inode's object, reserved whole once. Marks: EXEMPT */
	PRICE_OBJECT_SYSV, /* a new SysV segment, once, whole, attached or not. No marks */
	PRICE_REFUSED,     /* refused by policy (REASON_POLICY) */
	PRICE_KIND_N
};

/* Which pages the price is for. */
enum price_share {
	SHARE_NOTHING, /* none */
	SHARE_WHOLE,   /* the call's length; for OBJECT_FILE the file's size */
	SHARE_UNPAID,  /* the pages of the range neither CHARGED nor EXEMPT: pagemap_pay */
	SHARE_GROWTH,  /* new size less old size */
	SHARE_TAIL,    /* old size less new size, given back: what was CHARGED there */
	SHARE_COPY,    /* as many as are CHARGED in the old range; the marks are copied */
	SHARE_PARENT,  /* all that the process has charged as private */
	SHARE_N
};

struct price {
	enum price_kind kind;
	enum price_share share;
	const char *rule; /* the row that decided, as a phrase for people; static */
};

/* What is mapped. */
enum backing {
	BACKING_ANON,    /* MAP_ANONYMOUS, whatever fd says */
	BACKING_FILE,    /* a file on a disk file system */
	BACKING_TMPFS,   /* tmpfs, memfd_create, shm_open */
	BACKING_ZERO,    /* /dev/zero */
	BACKING_HUGETLB, /* hugetlbfs, memfd_create(MFD_HUGETLB) */
	BACKING_DEVICE,  /* any other device */
	BACKING_N
};

struct price_request {
	int prot;
	int flags;
	enum backing backing;
	bool noreserve_free; /* the account's knob, struct ledger_header */
	bool may_write;      /* the descriptor is open for writing, too: mprotect may allow it */
	bool has_holes;      /* the file has fewer pages than it is long */
};

/* mmap. The mapping replaces what was in its range: forget that first when MAP_FIXED. An
 * mmap that the kernel will refuse (no type, file and MAP_HUGETLB) may still have a price:
 * it is given back with the error. */
struct price price_of_mmap(struct price_request r);

/* What page faults in a private mapping may add: in a file on tmpfs the pages of its holes, read
 * or written (mm/shmem.c:shmem_fault), beside the copies that the price above is for. OBJECT_FILE
 * or NONE; for a shared mapping the price above says it. */
struct price price_of_faults(struct price_request r);

/* mprotect, pkey_mprotect. Writable: PRIVATE for the unpaid pages. Not writable: nothing,
 * and what was charged stays so: the kernel keeps the charge of whatever was written
 * (mm/mprotect.c), and which pages were is not ours to know. */
struct price price_of_mprotect(int prot);

struct price_mremap {
	uint64_t old_pages; /* 0: duplicate a shared mapping */
	uint64_t new_pages;
	int flags;
	bool charged; /* marks of the last page of the old range, the first when old_pages is 0; of a copy of any */
	bool exempt;
};

/* mremap. The kind is that of the pages that come to be: growth, copy or duplicate. That
 * the marks of the others go with them, and that MREMAP_FIXED forgets what was there, is
 * not a price. */
struct price price_of_mremap(struct price_mremap r);

/* brk and sbrk, from and to a break rounded up to pages. */
struct price price_of_brk(uint64_t old_pages, uint64_t new_pages);

/* A shmget that makes a new segment; one that finds an old segment costs nothing, which
 * only the kernel knows: give the price back then. */
struct price price_of_shmget(int key, int flags);
/* What shmat maps: EXEMPT, the segment was paid for when it was made. */
struct price price_of_shmat(void);

/* fork, clone, clone3 by their CLONE_ flags: 0 for fork, daemon and forkpty; CLONE_VM |
 * CLONE_VFORK for vfork, posix_spawn, system and popen. */
struct price price_of_clone(uint64_t flags);

/* pthread_create and thrd_create: the stack's size, unless the program brought its own
 * (pthread_attr_setstack). */
struct price price_of_thread(bool own_stack);
