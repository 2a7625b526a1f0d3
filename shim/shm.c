/* SPDX-License-Identifier: MIT */
/* SysV shared memory: charged when it is made, until it is removed and detached. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "reserve/price.h"
#include "reserve/purse.h"
#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/marks.h"
#include "shim/present.h"
#include "shim/raw.h"
#include "shim/removal.h"
#include "shim/self.h"
#include "shim/shared.h"

/* --- making --- */

/* Also one that we may not have. */
static bool segment_exists(key_t key)
{
	long id = key == IPC_PRIVATE ? -ENOENT : raw_call3(SYS_shmget, key, 0, 0);
	return id != -ENOENT && id != -ENOSYS;
}

static enum refusal_reason segment_claim(uint64_t pages, struct shared_claim *claim)
{
	enum refusal_reason reason = shared_claim(pages, claim);
	if (afford_may_help(reason) && afford_purge())
		reason = shared_claim(pages, claim);
	return reason;
}

/* One that is not there. With IPC_EXCL, so that of two who ask at once, members or threads, one makes it
 * and pays. */
static long segment_make(key_t key, size_t bytes, int flags)
{
	struct shared_claim claim = { .active = false };
	enum refusal_reason reason = segment_claim(pages_of(bytes), &claim);
	if (reason != REASON_NONE) {
		door_refused(OP_SHM, bytes, reason);
		return -ENOMEM;
	}
	long id = raw_call3(SYS_shmget, key, bytes, flags | IPC_EXCL);
	if (raw_failed(id)) {
		shared_cancel(&claim);
		return id;
	}
	shared_publish(&claim, OBJECT_SYSV, (uint64_t)id, (uint64_t)(uint32_t)key);
	/* It lives by its existence, not by our bit. */
	if (claim.active)
		shared_unhold(&(struct shared_holding){ .object = claim.object });
	return id;
}

/* One that is there; not to be made should it go meanwhile. */
static long segment_find(key_t key, size_t bytes, int flags)
{
	return flags & IPC_EXCL ? -EEXIST : raw_call3(SYS_shmget, key, bytes, flags & ~IPC_CREAT);
}

SHIM_EXPORT int shmget(key_t key, size_t bytes, int flags)
{
	if (price_of_shmget(key, flags).kind != PRICE_OBJECT_SYSV)
		return (int)door_result(raw_call3(SYS_shmget, key, bytes, flags));
	for (;;) {
		bool exists = segment_exists(key);
		long id = exists ? segment_find(key, bytes, flags) : segment_make(key, bytes, flags);
		/* Somebody else has made or removed it between our look and our call. */
		if (exists ? id != -ENOENT : id != -EEXIST || flags & IPC_EXCL)
			return (int)door_result(id);
	}
}

SHIM_EXPORT int shmctl(int id, int command, struct shmid_ds *buffer)
{
	long r = raw_call3(SYS_shmctl, id, command, buffer);
	if (!raw_failed(r) && command == IPC_RMID)
		shared_segment_removed((uint64_t)id);
	return (int)door_result(r);
}

/* --- attaching --- */

/* 0: it may not be asked, and is not the account's. */
static uint64_t segment_pages(int id, uint32_t object)
{
	struct shmid_ds segment;
	if (!raw_failed(raw_call3(SYS_shmctl, id, IPC_STAT, &segment)))
		return pages_of(segment.shm_segsz);
	return object < LEDGER_OBJECTS ? object_has(self.ledger, object) : 0;
}

static void attached_mark(uintptr_t at, uint64_t pages, uint32_t object)
{
	/* A stack that libc unmapped unseen may have been here. */
	charge_give(pagemap_clear(&marks, PAGEMAP_CHARGED, at, pages), CATEGORY_MAP);
	pagemap_set(&marks, PAGEMAP_EXEMPT, at, pages);
	shared_mapped(&(struct shared_range){ .addr = at, .pages = pages, .object = object });
}

/* With SHM_REMAP it replaces what is there, also when it fails in the end. False: no memory
 * to remember what that was. */
static bool attach(int id, uintptr_t addr, int flags, uint64_t pages, long *ret)
{
	struct removal over;
	uintptr_t at = flags & SHM_RND ? addr & ~(PAGE_BYTES - 1) : addr;
	bool replaces = flags & SHM_REMAP && at % PAGE_BYTES == 0 && at >> PAGEMAP_ADDRESS_BITS == 0;
	if (!removal_begin_whole(at, replaces ? pages : 0, &over))
		return false;
	*ret = raw_call3(SYS_shmat, id, addr, flags);
	if (raw_failed(*ret))
		removal_undo_present(&over, 0, over.lifted.pages);
	charge_give((uint64_t)removal_end(&over), CATEGORY_MAP);
	return true;
}

SHIM_EXPORT void *shmat(int id, const void *addr, int flags)
{
	long r;
	if (self.state == SELF_OPEN)
		return (void *)door_result(raw_call3(SYS_shmat, id, addr, flags));
	struct shared_holding held = shared_segment_hold((uint64_t)id);
	uint64_t pages = segment_pages(id, held.object);
	if (!attach(id, (uintptr_t)addr, flags, pages, &r)) {
		shared_unhold(&held);
		door_refused(OP_SHM, bytes_of(pages), REASON_TABLE);
		return (void *)door_result(-ENOMEM);
	}
	if (raw_failed(r))
		shared_unhold(&held);
	else
		attached_mark((uintptr_t)r, pages, held.object);
	return (void *)door_result(r);
}

/* --- detaching --- */

static void exempt_clear(uint32_t taken)
{
	struct pagemap_run r;
	for (uintptr_t at = 0; shared_taken(taken, at, &r); at = r.addr + bytes_of(r.pages))
		pagemap_clear(&marks, PAGEMAP_EXEMPT, r.addr, r.pages);
}

/* Was it grown beyond the segment's end? The kernel leaves pieces behind that reach there
 * (ipc/shm.c:ksys_shmdt), and detaches whole what it was that was attached. */
static bool is_grown(uint32_t taken, uintptr_t end)
{
	struct pagemap_run r;
	for (uintptr_t at = 0; shared_taken(taken, at, &r); at = r.addr + bytes_of(r.pages))
		if (r.addr + bytes_of(r.pages) > end)
			return true;
	return false;
}

static void piece_mark(uint32_t taken, struct pagemap_run r)
{
	for (uint64_t at = 0; at < r.pages;) {
		uintptr_t addr = r.addr + bytes_of(at);
		uint64_t n = present_prefix(addr, r.pages - at);
		pagemap_set(&marks, PAGEMAP_EXEMPT, addr, n);
		shared_put(taken, addr, n, addr, false);
		at += n;
		at += present_missing(r.addr + bytes_of(at), r.pages - at);
	}
}

static void remaining_mark(uint32_t taken)
{
	struct pagemap_run r;
	for (uintptr_t at = 0; shared_taken(taken, at, &r); at = r.addr + bytes_of(r.pages))
		piece_mark(taken, r);
}

/* Looked for is what may remain only: where something was detached another thread may have
 * mapped memory of its own by now, which must not be taken for the segment's. */
SHIM_EXPORT int shmdt(const void *addr)
{
	uint64_t pages;
	uint32_t taken = shared_take_attached((uintptr_t)addr, &pages);
	bool may_remain = is_grown(taken, (uintptr_t)addr + bytes_of(pages));
	exempt_clear(taken);
	long r = raw_call1(SYS_shmdt, addr);
	if (raw_failed(r) || may_remain)
		remaining_mark(taken);
	shared_forget(taken);
	return (int)door_result(r);
}
