/* SPDX-License-Identifier: MIT */
/* The broker asks shmctl on reaping and once a second. It sees its own IPC namespace only:
 * in a container with another one a segment nobody holds is taken for removed. */
#include "daemon/sysv.h"

#include <errno.h>
#include <sys/shm.h>

#include "daemon/births.h"
#include "reserve/crash.h"
#include "reserve/transfer.h"

/* Gone, or somebody else's by now, or marked to go with its last attachment (man 2
 * shmctl: IPC_RMID; the key becomes IPC_PRIVATE then). One we may not ask about exists. */
static bool segment_is_gone(uint64_t id, uint64_t key)
{
	struct shmid_ds ds;
	if (id > INT32_MAX)
		return true;
	if (shmctl((int)id, IPC_STAT, &ds) != 0)
		return errno == EINVAL || errno == EIDRM;
	return (ds.shm_perm.mode & SHM_DEST) != 0 || ds.shm_perm.__key != (key_t)key;
}

/* `ret_word`: its state then. */
static bool is_left_over(const struct ledger *l, uint32_t o, uint64_t *ret_word)
{
	/* Keys that are of the next object there do no harm: the state has changed by then. */
	*ret_word = object_word(l, o);
	if (OBJECT_KIND(*ret_word) != OBJECT_SYSV || object_is_held(l, o))
		return false;
	return (*ret_word & OBJECT_REMOVED) != 0 || segment_is_gone(l->object[o].key_a, l->object[o].key_b);
}

/* A release is a transfer, and a transfer needs a slot to be made in the name of. False:
 * there is none. Its last holder may have ended it since it was judged, and the next segment be
 * in its place: that stays. */
static bool object_end(struct ledger *l, uint32_t o, uint64_t word)
{
	int s = slot_claim(l, SLOT_LIVE, 0);
	if (s < 0)
		return false;
	CRASH_POINT(SYSV_CLAIMED);
	object_mark_removed(l, o, word);
	object_release(l, (uint32_t)s, o);
	CRASH_POINT(SYSV_RELEASED);
	slot_free(l, (uint32_t)s);
	return true;
}

void sysv_release(struct account *a)
{
	uint64_t word;
	for (uint32_t o = 0; o < ledger_objects(a->ledger); o++)
		if (is_left_over(a->ledger, o, &word) && !object_end(a->ledger, o, word))
			return;
}

/* --- between shmget(2) and its entry --- */

static bool segment_is_named(const struct ledger *l, int id)
{
	for (uint32_t o = 0; o < ledger_objects(l); o++)
		if (OBJECT_KIND(object_word(l, o)) == OBJECT_SYSV && l->object[o].key_a == (uint64_t)id)
			return true;
	return false;
}

/* The one of that size that this process made. -1: none. (man 2 shmctl: SHM_STAT_ANY, Linux 4.17) */
static int segment_made(const struct ledger *l, int32_t pid, uint32_t pages, key_t *ret_key)
{
	struct shm_info info;
	struct shmid_ds ds;
	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
	for (int i = 0; i <= last; i++) {
		int id = shmctl(i, SHM_STAT_ANY, &ds);
		if (id < 0 || ds.shm_cpid != pid || pages_of(ds.shm_segsz) != pages || segment_is_named(l, id))
			continue;
		*ret_key = ds.shm_perm.__key;
		return id;
	}
	return -1;
}

static void object_name(struct ledger *l, uint32_t o, int32_t pid)
{
	uint32_t pages = object_has(l, o);
	key_t key;
	int id = pages ? segment_made(l, pid, pages, &key) : -1;
	if (id >= 0)
		object_publish(l, o, OBJECT_SYSV, (uint64_t)id, (uint64_t)(uint32_t)key);
}

void sysv_name(struct account *a, uint32_t s)
{
	struct ledger *l = a->ledger;
	int32_t pid = births_pid(a, s, slot_read(l, s));
	for (uint32_t o = 0; pid != 0 && o < ledger_objects(l); o++) {
		uint64_t word = object_word(l, o);
		if (OBJECT_KIND(word) == OBJECT_CLAIMED && OBJECT_MAKER(word) == s)
			object_name(l, o, pid);
	}
}
