/* SPDX-License-Identifier: MIT */
/* Objects that are charged to the account: files of tmpfs and memfds that grow and shrink
 * under their mappings, and SysV segments. And files on disk, which cost nothing shared. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/place.h"

#define FILE_PAGES 512

/* --- files --- */

static int file_open(struct actor *a, enum thing_kind kind, bool in_shm)
{
	if (kind == THING_DISK) {
		say(a, "open(/tmp, O_TMPFILE)");
		return open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	}
	say(a, "%s", in_shm ? "open(/dev/shm, O_TMPFILE)" : "memfd_create()");
	return in_shm ? open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : memfd_create("exact", MFD_CLOEXEC);
}

static void make_file(struct actor *a, struct dice *d)
{
	enum thing_kind kind = chance(d, 75) ? THING_TMPFS : THING_DISK;
	uint32_t thing = thing_new(&a->model);
	struct stat st;
	if (thing == NO_THING || thing > THINGS_WANTED)
		return;
	int fd = file_open(a, kind, chance(d, 40));
	say_result(a, fd);
	if (fd < 0 || fstat(fd, &st) != 0)
		return;
	if (ftruncate(fd, (off_t)bytes_of(roll(d, 64))) != 0)
		fail("a new file cannot be sized");
	a->model.thing[thing] = (struct thing){ .kind = kind, .fd = fd, .dev = st.st_dev, .ino = st.st_ino };
}

static struct thing *file_pick(struct actor *a, struct dice *d)
{
	uint64_t first = roll(d, THINGS);
	for (uint64_t i = 0; i < THINGS; i++) {
		struct thing *t = &a->model.thing[(first + i) % THINGS];
		if ((t->kind == THING_DISK || t->kind == THING_TMPFS) && t->fd >= 0)
			return t;
	}
	return NULL;
}

static bool is_charged(struct actor *a, const struct thing *t)
{
	return t->kind == THING_TMPFS && thing_is_held(&a->model, (uint32_t)(t - a->model.thing));
}

static void size_file(struct actor *a, struct dice *d)
{
	struct thing *t = file_pick(a, d);
	if (!t || t->foreign)
		return;
	off_t bytes = chance(d, 3) ? -1 : (off_t)(bytes_of(roll(d, FILE_PAGES)) + (chance(d, 10) ? 1 : 0));
	uint64_t kind = roll(d, 100), before = books_refusals();
	char path[32];
	struct stat st;
	snprintf(path, sizeof path, "/proc/self/fd/%d", t->fd);
	if (fstat(t->fd, &st) != 0)
		return;
	say(a, "%s(%d, %ld)", kind < 70 ? "ftruncate" : kind < 85 ? "truncate" : "syscall:ftruncate", t->fd, bytes);
	long r = kind < 70 ? ftruncate(t->fd, bytes) :
		 kind < 85 ? truncate(path, bytes) :
			     syscall(SYS_ftruncate, t->fd, bytes);
	say_result(a, r);
	/* What is beyond the end stays there when the file becomes longer. */
	if (r == 0 && is_charged(a, t))
		t->pages = max_u64(pages_of((uint64_t)bytes), bytes > st.st_size ? t->pages : 0);
	else if (r != 0 && errno == ENOMEM)
		was_refused(a, before, (uint64_t)bytes);
}

static void allocate_file(struct actor *a, struct dice *d)
{
	static const int modes[] = { 0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0x100 };
	struct thing *t = file_pick(a, d);
	if (!t || t->foreign)
		return;
	int mode = PICK(d, modes);
	off_t at = (off_t)bytes_of(roll(d, FILE_PAGES / 2)), bytes = (off_t)bytes_roll(d);
	uint64_t kind = roll(d, 3), before = books_refusals();
	if (bytes > (off_t)bytes_of(FILE_PAGES))
		bytes = PAGE_BYTES;
	if (kind == 2)
		mode = 0;
	say(a, "%s(%d, %#x, %ld, %ld)", kind == 0 ? "fallocate" : kind == 1 ? "syscall:fallocate" : "posix_fallocate",
	    t->fd, mode, at, bytes);
	long r = kind == 0 ? fallocate(t->fd, mode, at, bytes) :
		 kind == 1 ? syscall(SYS_fallocate, t->fd, mode, at, bytes) :
			     posix_fallocate(t->fd, at, bytes);
	say_result(a, r);
	if (r == 0 && mode == FALLOC_FL_KEEP_SIZE && !is_charged(a, t))
		t->written = true; /* beyond its end, perhaps, and the end is all that a mapping asks for */
	if (r == 0 && (mode & ~FALLOC_FL_KEEP_SIZE) == 0 && is_charged(a, t))
		t->pages = max_u64(t->pages, pages_of((uint64_t)(at + bytes)));
	else if (r != 0)
		was_refused(a, before, (uint64_t)(at + bytes));
}

/* Not charged beyond what a mapping has reserved (WHAT IT CANNOT SEE). */
static void write_file(struct actor *a, struct dice *d)
{
	struct thing *t = file_pick(a, d);
	static const char data[100];
	if (!t || t->foreign)
		return;
	off_t at = (off_t)bytes_of(roll(d, 80));
	say(a, "pwrite(%d, 100 bytes, %ld)", t->fd, at);
	say_result(a, pwrite(t->fd, data, sizeof data, at));
	t->written = true;
}

/* A file without a name and without a mapping is gone; with one it stays. */
static void close_file(struct actor *a, struct dice *d)
{
	struct thing *t = file_pick(a, d);
	if (!t || thing_is_mapped(&a->model, (uint32_t)(t - a->model.thing)))
		return;
	say(a, "close(%d)", t->fd);
	say_result(a, close(t->fd));
	t->fd = -1;
}

/* --- SysV --- */

static void make_segment(struct actor *a, struct dice *d)
{
	uint32_t thing = thing_new(&a->model);
	size_t bytes = chance(d, 5) ? 0 : bytes_roll(d);
	int flags = SEGMENT_MODE | (chance(d, 30) ? SHM_NORESERVE : 0);
	uint64_t before = books_refusals();
	bool raw = chance(d, 15);
	if (thing == NO_THING || thing > THINGS_WANTED)
		return;
	say(a, "%s(IPC_PRIVATE, %#zx, %#o)", raw ? "syscall:shmget" : "shmget", bytes, flags);
	int id = raw ? (int)syscall(SYS_shmget, IPC_PRIVATE, bytes, flags) : shmget(IPC_PRIVATE, bytes, flags);
	say_result(a, id);
	if (id < 0) {
		was_refused(a, before, bytes);
		return;
	}
	a->model.thing[thing] = (struct thing){ .kind = THING_SYSV, .fd = -1, .shmid = id, .pages = pages_of(bytes) };
}

static struct thing *segment_pick(struct actor *a, struct dice *d)
{
	uint64_t first = roll(d, THINGS);
	for (uint64_t i = 0; i < THINGS; i++)
		if (a->model.thing[(first + i) % THINGS].kind == THING_SYSV)
			return &a->model.thing[(first + i) % THINGS];
	return NULL;
}

static void attach(struct actor *a, struct dice *d)
{
	struct thing *t = segment_pick(a, d);
	if (!t)
		return;
	static const int how[] = { 0, 0, SHM_RDONLY, SHM_REMAP, SHM_REMAP | SHM_RND, SHM_RND };
	int flags = PICK(d, how);
	struct place p = place_in_window(a, d);
	uintptr_t addr = flags & (SHM_REMAP | SHM_RND) ? p.addr + (chance(d, 20) ? 100 : 0) : 0;
	bool raw = chance(d, 15);
	if (!place_is_in_window(a, addr, bytes_of(t->pages)) && addr)
		return;
	say(a, "%s(%d, %#lx, %#x)", raw ? "syscall:shmat" : "shmat", t->shmid, addr, flags);
	long at = raw ? syscall(SYS_shmat, t->shmid, addr, flags) : (long)shmat(t->shmid, (void *)addr, flags);
	say_result(a, at);
	if (at == -1)
		return;
	struct run run = { (uintptr_t)at, (uintptr_t)at + bytes_of(t->pages),
			   IS_MAPPED | IS_EXEMPT | IS_HOLDING | IS_READABLE, (uint32_t)(t - a->model.thing), 0 };
	run.is |= flags & SHM_RDONLY ? IS_FIXED : IS_WRITABLE;
	model_put(&a->model, run);
}

/* ipc/shm.c:ksys_shmdt: the first piece that lies where it would lie had the segment been
 * attached at `addr`, and all others of that segment that do. */
static bool lies_as_attached(const struct model *m, const struct run *run, uintptr_t addr)
{
	return run->thing != NO_THING && m->thing[run->thing].kind == THING_SYSV && run->is & IS_MAPPED &&
	       run->start >= addr && (run->start - addr) >> PAGE_SHIFT == run->page;
}

/* The kernel detaches its mappings whole; ours are in more pieces where there are guards. */
static void rest_look(struct model *m, uintptr_t addr)
{
	for (uintptr_t at = addr;;) {
		uint32_t i = 0;
		while (i < m->n && (m->run[i].start < at || !lies_as_attached(m, &m->run[i], addr)))
			i++;
		if (i == m->n)
			return;
		struct run rest = m->run[i];
		at = rest.end;
		model_look(m, rest.start, rest.end);
	}
}

static void detached(struct model *m, uintptr_t addr)
{
	uint32_t thing = NO_THING;
	for (uint32_t i = 0; i < m->n;) {
		const struct run *run = &m->run[i];
		bool fits = lies_as_attached(m, run, addr);
		bool first = fits && thing == NO_THING;
		if (first)
			thing = run->thing;
		bool inside = fits && run->end - addr <= bytes_of(m->thing[thing].pages);
		if (first || (inside && run->thing == thing))
			model_forget(m, run->start, run->end);
		else
			i++;
	}
	rest_look(m, addr);
}

/* Where something is attached, or would be if its first pages were there still: unless others
 * are at it, for somebody else's segment may be there by now. 0: nowhere. */
static uintptr_t attached_roll(struct actor *a, struct dice *d)
{
	uint64_t first = roll(d, RUNS);
	for (uint32_t i = 0; i < a->model.n; i++) {
		const struct run *run = &a->model.run[(first + i) % a->model.n];
		if (run->thing != NO_THING && a->model.thing[run->thing].kind == THING_SYSV &&
		    (options.threads == 0 || run->page == 0))
			return run->start - bytes_of(run->page);
	}
	return 0;
}

static void detach(struct actor *a, struct dice *d)
{
	struct place p = chance(d, 15) ? place_any(a, d) : place_in_run(a, d);
	uintptr_t attached = attached_roll(a, d);
	/* At another place it may be another actor's that is found, in a child of them, too. */
	if (options.threads != 0 && !attached)
		return;
	if (attached && (options.threads != 0 || chance(d, 80)))
		p.addr = attached;
	bool raw = chance(d, 15);
	say(a, "%s(%#lx)", raw ? "syscall:shmdt" : "shmdt", p.addr);
	long r = raw ? syscall(SYS_shmdt, p.addr) : shmdt((const void *)p.addr);
	say_result(a, r);
	if (r == 0)
		detached(&a->model, p.addr);
}

static void control(struct actor *a, struct dice *d)
{
	struct thing *t = segment_pick(a, d);
	struct shmid_ds buffer;
	int command = chance(d, 70) ? IPC_RMID : IPC_STAT;
	bool raw = chance(d, 15);
	if (!t || (t->foreign && command == IPC_RMID))
		return;
	say(a, "%s(%d, %s)", raw ? "syscall:shmctl" : "shmctl", t->shmid, command == IPC_RMID ? "RMID" : "STAT");
	long r = raw ? syscall(SYS_shmctl, t->shmid, command, &buffer) : shmctl(t->shmid, command, &buffer);
	say_result(a, r);
	if (r == 0 && command == IPC_RMID)
		t->removed = true;
}

void shared_clean(struct actor *a)
{
	for (uint32_t i = 0; i < THINGS; i++) {
		const struct thing *t = &a->model.thing[i];
		if (t->kind == THING_SYSV && !t->removed && !t->foreign)
			shmctl(t->shmid, IPC_RMID, NULL);
	}
}

const struct act acts_shared[] = {
	{ "open", 6, make_file, false },
	{ "ftruncate", 5, size_file, false },
	{ "fallocate", 4, allocate_file, false },
	{ "pwrite", 2, write_file, false },
	{ "close", 2, close_file, false },
	{ "shmget", 3, make_segment, false },
	{ "shmat", 6, attach, false },
	{ "shmdt", 5, detach, false },
	{ "shmctl", 3, control, false },
	{ 0 },
};
