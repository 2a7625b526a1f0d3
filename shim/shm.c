/* SPDX-License-Identifier: MIT */
/* Shared memory that is not made by mmap: SysV segments, and tmpfs or memfd files that
 * grow under a mapping which already paid for them. */
#include <errno.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "reserve/price.h"
#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/shared.h"

/* --- SysV --- */

static bool segment_exists(key_t key)
{
	return key != IPC_PRIVATE && !raw_failed(raw_call3(SYS_shmget, key, 0, 0));
}

static enum refusal_reason segment_claim(uint64_t pages, struct shared_claim *claim)
{
	enum refusal_reason reason = shared_claim(pages, claim);
	if (afford_may_help(reason) && afford_purge())
		reason = shared_claim(pages, claim);
	return reason;
}

SHIM_EXPORT int shmget(key_t key, size_t bytes, int flags)
{
	struct shared_claim claim = { .active = false };
	bool makes = price_of_shmget(key, flags).kind == PRICE_OBJECT_SYSV && !segment_exists(key);
	enum refusal_reason reason = makes ? segment_claim(pages_of(bytes), &claim) : REASON_NONE;
	if (reason != REASON_NONE) {
		door_refused(OP_SHM, bytes, reason);
		return (int)door_result(-ENOMEM);
	}
	long id = raw_call3(SYS_shmget, key, bytes, flags);
	if (raw_failed(id)) {
		shared_cancel(&claim);
		return (int)door_result(id);
	}
	shared_publish(&claim, OBJECT_SYSV, (uint64_t)id, (uint64_t)(uint32_t)key);
	if (claim.active)
		shared_unhold(claim.object); /* it lives by its existence, not by our bit */
	return (int)id;
}

SHIM_EXPORT void *shmat(int id, const void *addr, int flags)
{
	struct shmid_ds segment;
	uint32_t object = shared_segment_hold((uint64_t)id);
	long r = raw_call3(SYS_shmat, id, addr, flags);
	if (raw_failed(r) || raw_failed(raw_call3(SYS_shmctl, id, IPC_STAT, &segment))) {
		shared_unhold(object);
		return (void *)door_result(r);
	}
	uint64_t pages = pages_of(segment.shm_segsz);
	struct lifted over;
	marks_lift((uintptr_t)r, pages, &over); /* SHM_REMAP replaces what was there */
	charge_give(over.charged, CATEGORY_MAP);
	pagemap_set(&marks, PAGEMAP_EXEMPT, (uintptr_t)r, pages);
	shared_mapped((void *)r, bytes_of(pages), object);
	return (void *)r;
}

SHIM_EXPORT int shmdt(const void *addr)
{
	uint32_t object;
	size_t bytes;
	bool ours = shared_find(addr, &object, &bytes);
	long r = raw_call1(SYS_shmdt, addr);
	if (!raw_failed(r) && ours) {
		pagemap_clear(&marks, PAGEMAP_EXEMPT, (uintptr_t)addr, pages_of(bytes));
		shared_unmapped((void *)addr, bytes);
	}
	return (int)door_result(r);
}

SHIM_EXPORT int shmctl(int id, int command, struct shmid_ds *buffer)
{
	long r = raw_call3(SYS_shmctl, id, command, buffer);
	if (!raw_failed(r) && command == IPC_RMID)
		shared_segment_removed((uint64_t)id);
	return (int)door_result(r);
}

/* --- files that are memory --- */

/* A file this account holds a mapping of grows: its object grows first. */
static enum refusal_reason file_grow(int fd, uint64_t bytes)
{
	struct stat st;
	uint32_t object;
	if (self.state != SELF_MEMBER || raw_failed(raw_call2(SYS_fstat, fd, &st)) || !S_ISREG(st.st_mode) ||
	    bytes <= (uint64_t)st.st_size || !shared_is_held(OBJECT_FILE, st.st_dev, st.st_ino))
		return REASON_NONE;
	return shared_hold(OBJECT_FILE, st.st_dev, st.st_ino, pages_of(bytes), &object);
}

SHIM_EXPORT int ftruncate(int fd, off_t bytes)
{
	enum refusal_reason reason = bytes > 0 ? file_grow(fd, (uint64_t)bytes) : REASON_NONE;
	if (reason != REASON_NONE) {
		door_refused(OP_SHM, (uint64_t)bytes, reason);
		return (int)door_result(-ENOMEM);
	}
	return (int)door_result(raw_call2(SYS_ftruncate, fd, bytes));
}

SHIM_EXPORT int ftruncate64(int fd, off64_t bytes) __attribute__((alias("ftruncate")));
