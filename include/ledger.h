/* SPDX-License-Identifier: MIT */
/* The account ledger: the published format of the memory a broker shares with the
 * members of one account.
 *
 * One account is one sealed memfd of LEDGER_BYTES. The broker maps every account it
 * owns; a member maps its own account and nothing else; readers (solvent status,
 * log, audit) map it read-only. It is hostile input to everyone: a word is read once
 * into a local, checked, then used. Offsets are fixed, fields have fixed widths,
 * there are no pointers. Every field names its writer.
 *
 * The protocol that moves pages between the purses is in reserve/transfer.h. */
#pragma once

#include "include/base.h"

#define LEDGER_MAGIC 0x315245474445534cull /* "LSEDGER1", little endian */
#define LEDGER_VERSION 1

#define LEDGER_SLOTS 4096u    /* members of one account at a time */
#define LEDGER_OBJECTS 1024u  /* shared objects charged to one account at a time */
#define LEDGER_REFUSALS 512u  /* newest refusals kept */
#define ACCOUNT_NAME_BYTES 64 /* with the terminating NUL */
#define COMM_BYTES 16         /* TASK_COMM_LEN, include/linux/sched.h */
#define BUILD_ID_BYTES 20     /* SHA-1, the linker's default */

/* A purse: `word` is granted:32 | used:32 in pages, `by` is the signature of the
 * last transfer that moved `granted` (see SIGNATURE below). Charges change `used`
 * alone with a 64-bit compare-and-swap on `word`; transfers change both halves with
 * a 128-bit one, so that whoever died in the middle of a transfer can be told to
 * have done it or not. */
struct purse {
	_Alignas(16) uint64_t word;
	uint64_t by;
};

#define PURSE(granted, used) ((uint64_t)(granted) << 32 | (uint32_t)(used))
#define PURSE_GRANTED(word) ((uint32_t)((word) >> 32))
#define PURSE_USED(word) ((uint32_t)(word))

/* A signature names the slot for which a transfer was made and that slot's step
 * number: (slot + 1):16 | step:48. 0 is nobody. */
#define SIGNATURE(slot, step) (((uint64_t)(slot) + 1) << 48 | ((step) & SIGNATURE_STEP_MASK))
#define SIGNATURE_STEP_MASK ((1ull << 48) - 1)
#define SIGNATURE_STEP(by) ((by) & SIGNATURE_STEP_MASK)
#define SIGNATURE_SLOT(by) ((uint32_t)((by) >> 48) - 1) /* >= LEDGER_SLOTS when nobody */
/* The broker signs its own changes of an account's grant with a slot number of its own. */
#define SIGNATURE_BROKER_SLOT 0xfffeu

/* Why an account was told that memory is getting short. */
enum alert_level { ALERT_BUDGET = 1, ALERT_WARN, ALERT_ACT, ALERT_LEVEL_N };

enum account_mode { ACCOUNT_ENFORCE = 0, ACCOUNT_OBSERVE = 1, ACCOUNT_MODE_N };

/* A member's life. FREE -> EMBRYO by the member that is about to fork (it owns the
 * slot until the child adopts it); FREE -> LIVE by the broker for a process that
 * joins; EMBRYO -> LIVE by the child, or by the broker for it; -> FREE by the broker
 * when the process is gone, or by the owner of an embryo whose fork failed.
 *
 * UNATTACHED is the broker's alone: a process that belongs to the account and has no shim
 * (static, set-uid, a cleared environment), charged by the broker for what the kernel
 * counts; or, with pid 0, what it found of the members beside their own charge (`unseen`).
 * FREE -> UNATTACHED when one is found, LIVE -> UNATTACHED when a member has called execve
 * and did not come back, UNATTACHED -> LIVE when it joins after all. */
enum slot_state { SLOT_FREE = 0, SLOT_EMBRYO = 1, SLOT_LIVE = 2, SLOT_UNATTACHED = 3, SLOT_STATE_N };

/* state word: generation:32 | (owner + 1):24 | state:8. One compare-and-swap moves a
 * slot; the generation grows each time it becomes FREE. */
#define SLOT_WORD(gen, owner1, state) ((uint64_t)(gen) << 32 | (uint64_t)(owner1) << 8 | (state))
#define SLOT_STATE(word) ((enum slot_state)((word) & 0xff))
#define SLOT_OWNER(word) ((uint32_t)((word) >> 8 & 0xffffff) - 1) /* of an embryo */
#define SLOT_GEN(word) ((uint32_t)((word) >> 32))

/* What a slot was doing when it died. The order of the two steps of each, debit
 * first, is in reserve/transfer.c. */
enum intent_op {
	INTENT_NONE = 0,
	INTENT_FUND,    /* account -> purse of slot `target` */
	INTENT_RETURN,  /* purse of slot `target` -> account; also a sibling's idle slack */
	INTENT_OBJECT,  /* own purse -> object `target` */
	INTENT_DESTROY, /* object `target` -> account */
	INTENT_OP_N
};

/* Slot flags. */
#define SLOT_OBSERVED 1u /* over the limit by observation only */
#define SLOT_FOREIGN_PID 2u /* `pid` may be of another pid namespace: do not look it up, unless the
			     * broker has (start_ticks is not 0) */
#define SLOT_TURNED 4u /* UNATTACHED, and its process may be attached all the same: it was to be looked at
			* again when the broker was killed; by the broker */

enum category {
	CATEGORY_IMAGE,  /* writable segments of the program and its libraries, TLS, ld.so */
	CATEGORY_STACK,  /* main thread's stack allowance */
	CATEGORY_HEAP,   /* jemalloc's commitments */
	CATEGORY_MAP,    /* the program's own mappings, brk included */
	CATEGORY_THREAD, /* thread stacks */
	CATEGORY_SOLVENT, /* our own page map */
	CATEGORY_UNSEEN, /* found by the audit; and what fork could not tell apart */
	CATEGORY_N
};

struct slot {
	/* line 0: charged by its own process alone, on every mmap; read with each */
	struct purse purse;
	uint32_t peak; /* highest used seen; own process, approximate between transfers */
	uint32_t asked; /* raised by the broker when memory is short: what the heap keeps is to be given back */
	uint32_t reserved0[10];

	/* line 1: the transfer in progress. Written by the one who acts for the slot:
	 * its process under its slow lock, or the broker when the process is gone. */
	_Alignas(64) uint64_t intent_op; /* written last (release), cleared first */
	uint64_t intent_step;            /* the first of two consecutive steps */
	uint32_t intent_pages;
	uint32_t intent_target;
	uint64_t step;      /* last step number given out; never goes back, whoever holds the slot */
	uint64_t confirmed; /* highest step known done; raised by whoever replaces our signature */
	uint32_t embryos;   /* slots this one may own as embryos; raised before claiming */
	uint32_t letting_go; /* 1 + the object this slot is about to hold no longer, 0: none */
	uint32_t reserved1[2];

	/* line 2: identity. The broker on join; parent or child on fork, same values. */
	_Alignas(64) uint64_t state;
	int32_t pid; /* 0: not known yet; -1: born, and its parent could not say; or live, and given up */
	uint32_t flags;
	uint64_t start_ticks; /* field 22 of /proc/PID/stat, 0 while unknown; by the broker */
	uint32_t uid;         /* by the broker */
	uint32_t unseen;      /* pages of a live member found by the audit, charged elsewhere; by the broker */
	char comm[COMM_BYTES];
	uint64_t joined_ns; /* CLOCK_REALTIME */
	uint32_t drift;     /* pages the kernel counts and the account could not pay; by the broker */
	uint32_t reserved3;

	/* line 3: where the charge went; own process, relaxed, for people to read. Their
	 * sum equals `used` at quiet moments. */
	_Alignas(64) uint32_t category[CATEGORY_N];
	uint32_t refusals;
	uint32_t soft;   /* pages of the heap given back and still writable: the kernel counts them */
	uint32_t credit; /* pages this child was let in without paying for (fork = N%) */
	uint32_t reserved4[6];
};

enum object_kind {
	OBJECT_FREE = 0,
	OBJECT_CLAIMED, /* being filled or emptied by its maker, or by whoever was leaving it */
	OBJECT_ANON,    /* MAP_SHARED|MAP_ANONYMOUS, /dev/zero shared */
	OBJECT_FILE,    /* memfd or tmpfs inode, reserved at writable MAP_SHARED */
	OBJECT_SYSV,    /* shmget segment */
	OBJECT_KIND_N
};

/* state word: generation:32 | (maker + 1):16 | flags:8 | kind:8. The maker is
 * in the word so that a claim and its claimer are one step; so is whoever is leaving it,
 * in the same place. */
#define OBJECT_WORD(gen, maker1, kind) ((uint64_t)(gen) << 32 | (uint64_t)(maker1) << 16 | (kind))
#define OBJECT_KIND(word) ((enum object_kind)((word) & 0xff))
#define OBJECT_REMOVED 0x100ull /* SysV: IPC_RMID done, dies with its last holder */
#define OBJECT_LEAVING 0x200ull /* nobody held it when last seen: who finds it looks who is quicker */
#define OBJECT_OFFERED 0x400ull /* its maker looks whether it is the only one: cannot be found yet */
#define OBJECT_MAKER(word) ((uint32_t)((word) >> 16 & 0xffff) - 1)
#define OBJECT_GEN(word) ((uint32_t)((word) >> 32))

#define HOLDER_WORDS (LEDGER_SLOTS / 64)

/* A shared object is charged once, to the account, for as long as any member holds
 * it. Its pages move by signed transfers like a purse; granted == used always. */
struct object {
	struct purse purse;
	uint64_t state;
	uint64_t key_a; /* FILE: st_dev; SYSV: shmid */
	uint64_t key_b; /* FILE: st_ino; SYSV: key */
	uint32_t reserved[6];
	uint64_t holders[HOLDER_WORDS]; /* one bit a slot; set by the holder, or by a parent for its embryo */
};

enum refusal_op {
	OP_NONE = 0,
	OP_MALLOC,
	OP_MMAP,
	OP_MREMAP,
	OP_MPROTECT,
	OP_BRK,
	OP_SHM,
	OP_FORK,
	OP_THREAD,
	OP_EXEC,
	OP_DLOPEN,
	OP_JOIN,
	OP_N
};

enum refusal_reason {
	REASON_NONE = 0,
	REASON_LIMIT,    /* the account's limit */
	REASON_POOL,     /* the limit would allow it, the pool has no more */
	REASON_BROKER,   /* the grant is short and no broker answered */
	REASON_SLOTS,    /* the ledger has no free slot (fork) */
	REASON_OBJECTS,  /* the ledger has no free object */
	REASON_TABLE,    /* the process's own tables could not grow */
	REASON_POLICY,   /* MAP_GROWSDOWN */
	REASON_N
};

#define REFUSAL_FRAMES 32
#define REFUSAL_MODULES 8
#define REFUSAL_NO_MODULE 0xff

/* One refusal. `seq` is 2 * number + 1 while being written and 2 * number + 2 when
 * whole: a reader copies the record and accepts it if seq was even and unchanged. */
struct refusal {
	uint64_t seq;
	uint64_t time_ns; /* CLOCK_REALTIME */
	int32_t pid;
	int32_t tid;
	char comm[COMM_BYTES];
	uint16_t op;     /* enum refusal_op */
	uint16_t reason; /* enum refusal_reason */
	uint16_t observed; /* 1: not refused, only noted */
	uint16_t frames;
	uint64_t bytes;  /* asked for */
	uint32_t limit;  /* pages, then */
	uint32_t used;   /* pages of the account, then */
	uint32_t member_used;
	uint32_t reserved0;
	uint64_t offset[REFUSAL_FRAMES]; /* return address less the module's load bias, or the raw address */
	uint8_t module[REFUSAL_FRAMES];  /* index into modules, or REFUSAL_NO_MODULE */
	struct refusal_module {
		uint8_t build_id[BUILD_ID_BYTES]; /* zero: none */
		char name[44];                    /* the end of its path */
	} modules[REFUSAL_MODULES];
	uint8_t reserved1[152];
};

struct ledger_header {
	/* line 0-3: written by the broker before anyone else maps it, then constant */
	uint64_t magic;
	uint32_t version;
	uint32_t page_bytes;
	uint64_t total_bytes;
	uint32_t slots_at, slot_bytes, slots;
	uint32_t objects_at, object_bytes, objects;
	uint32_t refusals_at, refusal_bytes, refusals;
	uint32_t reserved0;
	char name[ACCOUNT_NAME_BYTES];

	/* policy; written by the broker, at creation and at a reload */
	_Alignas(64) uint32_t limit; /* PAGES_MAX: infinity */
	uint32_t guarantee;
	uint32_t warn;
	uint32_t mode;         /* enum account_mode */
	uint32_t fork_percent; /* 100: strict */
	uint32_t noreserve_free; /* 1: MAP_NORESERVE costs nothing (sanitizers) */
	uint32_t broker_epoch; /* grows with each broker that takes the ledger over */
	uint32_t reserved1[7];
	/* counts the alerts, and says what the last was for (enum alert_level); by the broker, which
	 * wakes whoever waits for the first by futex(2) */
	uint32_t alert;
	uint32_t alert_level;

	/* the account's purse: granted by the broker, used = what the slots and objects hold */
	_Alignas(64) struct purse purse;

	/* the doorbell: raised by whoever makes or adopts an embryo; the broker looks for
	 * processes it does not know yet when it has moved */
	_Alignas(64) uint64_t births;
	/* not 0: the broker sleeps long, for nothing has happened in a while; who rings wakes it by
	 * connecting to its socket. By the broker, which reads `births` after it has written this;
	 * whoever rings reads it after that (both sequentially consistent, so that one of the two
	 * sees the other) */
	uint32_t calm;

	/* counters: any member, relaxed */
	_Alignas(64) uint64_t refusal_count;
	uint64_t refused_pages;
	uint64_t observed_count;
	uint64_t refusal_head; /* number of the next record */
	uint32_t peak;         /* highest purse.used seen */
	uint32_t slot_hint;    /* where to look for a free slot next */
	uint64_t joins;
	uint64_t forks;
	/* one above the highest slot and object ever claimed: where looking may stop. Raised
	 * before the claim shows; any member */
	uint32_t slot_top;
	uint32_t object_top;

	/* the audit, by the broker: sums of the slots' `unseen` and `drift`, and how often a
	 * process was counted mapping by mapping */
	uint32_t unseen;
	uint32_t drift;
	uint64_t counts;
};

#define LEDGER_HEADER_BYTES 4096u
#define LEDGER_SLOTS_AT LEDGER_HEADER_BYTES
#define LEDGER_OBJECTS_AT (LEDGER_SLOTS_AT + LEDGER_SLOTS * (uint32_t)sizeof(struct slot))
#define LEDGER_REFUSALS_AT (LEDGER_OBJECTS_AT + LEDGER_OBJECTS * (uint32_t)sizeof(struct object))
#define LEDGER_BYTES ((size_t)LEDGER_REFUSALS_AT + LEDGER_REFUSALS * sizeof(struct refusal))

struct ledger {
	struct ledger_header header;
	uint8_t padding[LEDGER_HEADER_BYTES - sizeof(struct ledger_header)];
	struct slot slot[LEDGER_SLOTS];
	struct object object[LEDGER_OBJECTS];
	struct refusal refusal[LEDGER_REFUSALS];
};

_Static_assert(sizeof(struct purse) == 16, "format");
_Static_assert(sizeof(struct slot) == 256, "format");
_Static_assert(sizeof(struct object) == 576, "format");
_Static_assert(sizeof(struct refusal) == 1024, "format");
_Static_assert(sizeof(struct ledger_header) <= LEDGER_HEADER_BYTES, "format");
_Static_assert(offsetof(struct ledger_header, purse) == 192, "format");
_Static_assert(offsetof(struct ledger, slot) == LEDGER_SLOTS_AT, "format");
_Static_assert(offsetof(struct ledger, object) == LEDGER_OBJECTS_AT, "format");
_Static_assert(offsetof(struct ledger, refusal) == LEDGER_REFUSALS_AT, "format");
_Static_assert(sizeof(struct ledger) == LEDGER_BYTES, "format");
