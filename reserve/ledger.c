/* SPDX-License-Identifier: MIT */
/* The memory of a ledger: making it, sealing it, and telling a sound one from another. */
#include "reserve/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reserve/crash.h"
#include "reserve/purse.h"

#define LEDGER_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static void header_fill(struct ledger_header *h, const char *name)
{
	h->version = LEDGER_VERSION;
	h->page_bytes = PAGE_BYTES;
	h->total_bytes = LEDGER_BYTES;
	h->slots_at = LEDGER_SLOTS_AT;
	h->slot_bytes = sizeof(struct slot);
	h->slots = LEDGER_SLOTS;
	h->objects_at = LEDGER_OBJECTS_AT;
	h->object_bytes = sizeof(struct object);
	h->objects = LEDGER_OBJECTS;
	h->refusals_at = LEDGER_REFUSALS_AT;
	h->refusal_bytes = sizeof(struct refusal);
	h->refusals = LEDGER_REFUSALS;
	strncpy(h->name, name, sizeof h->name - 1);
	h->magic = LEDGER_MAGIC;
}

void ledger_format(struct ledger *l, const char *name)
{
	/* MADV_REMOVE gives the pages back and reads as zero afterwards; where it is
	 * refused the long way does the same. */
	if (madvise(l, LEDGER_BYTES, MADV_REMOVE) != 0)
		memset(l, 0, sizeof *l);
	header_fill(&l->header, name);
}

/* Written only where it differs: most of a ledger was never touched. */
static void part_set(void *part, const void *to, size_t bytes)
{
	if (memcmp(part, to, bytes) != 0)
		memcpy(part, to, bytes);
}

/* Where a slot's step numbers go on: above whatever counts as done. A child that was given up
 * may still be about to confirm what its parent did. Only what no honest slot can have counted
 * to begins again. */
static uint64_t steps_done(const struct slot *slot)
{
	uint64_t step = max_u64(slot->step, slot->confirmed);
	return step <= SIGNATURE_STEP_MASK / 2 ? step : 0;
}

static void slot_sweep(struct slot *slot)
{
	uint64_t done = steps_done(slot);
	struct slot fresh = { .state = SLOT_WORD(SLOT_GEN(slot->state), 0, SLOT_FREE),
			      .step = done, .confirmed = done };
	/* What is given out next must not count as done, at no moment: a number that rises does
	 * so before what is confirmed, and one that begins again after it. */
	if (slot->step < done)
		slot->step = done;
	/* Release, the fences here: in this order for whoever settles our death. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	CRASH_POINT(SWEEP_NUMBERED);
	part_set(&slot->confirmed, &fresh.confirmed, sizeof fresh.confirmed);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	CRASH_POINT(SWEEP_UNCONFIRMED);
	part_set(slot, &fresh, sizeof fresh);
}

static void object_sweep(struct object *object, uint64_t by)
{
	uint64_t word = object->state & ~OBJECT_LEAVING;
	struct object fresh = { .state = OBJECT_WORD(OBJECT_GEN(word), 0, OBJECT_FREE) };
	if (OBJECT_KIND(word) != OBJECT_FREE)
		fresh = (struct object){ .purse = { object->purse.word, by }, .state = word,
					 .key_a = object->key_a, .key_b = object->key_b };
	part_set(object, &fresh, sizeof fresh);
}

/* The signatures first, everywhere: whoever replaces one confirms it, in a slot that would
 * believe it of a step of its own where steps begin again. So this may be cut short. */
void ledger_sweep(struct ledger *l, uint64_t by)
{
	const uint64_t nobody = 0;
	l->header.purse.by = by; /* model: clean */
	CRASH_POINT(SWEEP_SIGNED);
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		object_sweep(&l->object[o], by);
		/* What is left of segments must be found again to be released, wherever the top says
		 * that looking may stop. */
		if (OBJECT_KIND(l->object[o].state) != OBJECT_FREE)
			top_raise(&l->header.object_top, o + 1);
	}
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		part_set(&l->slot[s].purse.by, &nobody, sizeof nobody);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	CRASH_POINT(SWEEP_UNSIGNED);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
		slot_sweep(&l->slot[s]);
	CRASH_POINT(SWEEP_DONE);
}

int ledger_create(const char *name)
{
	int fd = memfd_create("solvent-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	struct ledger_header h = { 0 };
	header_fill(&h, name);
	if (ftruncate(fd, LEDGER_BYTES) != 0 || fcntl(fd, F_ADD_SEALS, LEDGER_SEALS) != 0 ||
	    pwrite(fd, &h, sizeof h, 0) != (ssize_t)sizeof h) {
		int error = errno;
		close(fd);
		return -error;
	}
	return fd;
}

static bool geometry_is_ours(const struct ledger_header *h)
{
	return h->page_bytes == PAGE_BYTES && h->total_bytes == LEDGER_BYTES &&
	       h->slots_at == LEDGER_SLOTS_AT && h->slot_bytes == sizeof(struct slot) &&
	       h->slots == LEDGER_SLOTS && h->objects_at == LEDGER_OBJECTS_AT &&
	       h->object_bytes == sizeof(struct object) && h->objects == LEDGER_OBJECTS &&
	       h->refusals_at == LEDGER_REFUSALS_AT && h->refusal_bytes == sizeof(struct refusal) &&
	       h->refusals == LEDGER_REFUSALS;
}

bool ledger_is_sound(const struct ledger *l, const char *name)
{
	const struct ledger_header *h = &l->header;
	return h->magic == LEDGER_MAGIC && h->version == LEDGER_VERSION && geometry_is_ours(h) &&
	       strncmp(h->name, name, sizeof h->name) == 0;
}

/* No page of a shared mapping is copied by fork, so a child takes a fault for each that it uses; but one
 * that it only reads maps what else is in the same 64 KiB of addresses (mm/memory.c:do_fault_around).
 * At a multiple of these that is the header and the first slots. */
#define FAULT_AROUND_BYTES ((uintptr_t)64 << 10)

/* Somebody may be faster where it is to be: then it lies anywhere. */
static void *map_in_one_window(int fd, int prot)
{
	void *p = mmap(NULL, LEDGER_BYTES, prot, MAP_SHARED, fd, 0);
	uintptr_t below = (uintptr_t)p & ~(FAULT_AROUND_BYTES - 1);
	if (p == MAP_FAILED || (uintptr_t)p == below)
		return p;
	munmap(p, LEDGER_BYTES);
	return mmap((void *)below, LEDGER_BYTES, prot, MAP_SHARED, fd, 0);
}

int ledger_map(int fd, bool writable, struct ledger **ret)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	int seals = fcntl(fd, F_GET_SEALS);
	/* Unsealed memory could shrink under us and turn a read into SIGBUS. */
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || st.st_size < (off_t)sizeof(struct ledger_header))
		return -EBADMSG;
	if (st.st_size != (off_t)LEDGER_BYTES)
		return -EPROTO;
	struct ledger *l = map_in_one_window(fd, PROT_READ | (writable ? PROT_WRITE : 0));
	if (l == MAP_FAILED)
		return -errno;
	int error = l->header.magic != LEDGER_MAGIC ? -EBADMSG :
		    l->header.version != LEDGER_VERSION || !geometry_is_ours(&l->header) ? -EPROTO : 0;
	if (error) {
		ledger_unmap(l);
		return error;
	}
	*ret = l;
	return 0;
}

void ledger_unmap(struct ledger *l)
{
	munmap(l, LEDGER_BYTES);
}

uint64_t ledger_used(const struct ledger *l)
{
	uint64_t used = 0;
	for (uint32_t s = 0; s < ledger_slots(l); s++) {
		enum slot_state state = SLOT_STATE(slot_read(l, s));
		uint64_t word = purse_read(&l->slot[s].purse);
		if (state == SLOT_LIVE || state == SLOT_UNATTACHED)
			used += PURSE_USED(word);
		else if (state == SLOT_EMBRYO)
			used += PURSE_GRANTED(word);
	}
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		used += object_has(l, o);
	return used;
}
