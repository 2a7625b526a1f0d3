/* SPDX-License-Identifier: MIT */
/* What a broker finds when it starts: a note of a keeper with any text, descriptors of
 * anything under its numbers, books and ledgers of which any word may be another. It takes
 * what it can use, and is a broker in the end. */
#include "tests/fuzz_broker.h"

#include <fcntl.h>
#include <stdarg.h>

#include "daemon/recover.h"
#include "daemon/state.h"

#define FIRST 10 /* the keeper's descriptors are numbered from here */
#define NUMBERS 8
#define PROCESS_KEEPER 8

static int kept[NUMBERS]; /* and are these */
static int note = -1;
static int32_t keeper;

int __wrap_openat(int dir, const char *path, int flags, ...);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_readlink(const char *path, char *ret, size_t n);
ssize_t __wrap_readlink(const char *path, char *ret, size_t n);

/* The note; or nothing. */
int __wrap_openat(int dir, const char *path, int flags, ...)
{
	char own[32];
	must(dir == -2 && strcmp(path, "keeper") == 0);
	snprintf(own, sizeof own, "/proc/self/fd/%d", note);
	return __real_open(own, flags & ~O_NOFOLLOW);
}

/* "/proc/PID/fd/N" of the keeper, and of nobody else, as one of our own. */
static const char *own_path(const char *path)
{
	static char own[32];
	int pid, number;
	must(sscanf(path, "/proc/%d/fd/%d", &pid, &number) == 2 && pid == keeper);
	bool there = number >= FIRST && number < FIRST + NUMBERS;
	snprintf(own, sizeof own, "/proc/self/fd/%d", there ? kept[number - FIRST] : -1);
	return own;
}

int __wrap_open(const char *path, int flags, ...)
{
	return __real_open(strncmp(path, "/proc/self/", 11) == 0 ? path : own_path(path), flags);
}

ssize_t __wrap_readlink(const char *path, char *ret, size_t n)
{
	return __real_readlink(own_path(path), ret, n);
}

/* --- what is found --- */

static int memory_of(const char *name, const void *bytes, size_t n)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	must(fd >= 0 && write(fd, bytes, n) == (ssize_t)n);
	return fd;
}

/* As the broker before wrote it, or any text. */
static void note_write(struct feed *f)
{
	char text[600];
	uint8_t kind = feed_byte(f);
	size_t n = feed_number(f, 2) % (sizeof text - 200);
	if (kind % 4 == 0) {
		feed_bytes(f, text, n);
	} else {
		uint64_t start = world_find(keeper)->start_ticks + (kind % 8 == 7);
		int head = snprintf(text, sizeof text, "solvent-keeper 1\npid %d start %lu\nbooks %d\n", keeper, start,
				    FIRST + feed_byte(f) % NUMBERS);
		for (uint8_t i = feed_byte(f) % 8; i > 0; i--)
			head += snprintf(text + head, sizeof text - (size_t)head, "ledger %d\n",
					 FIRST + feed_byte(f) % (NUMBERS + 2));
		n = (size_t)head;
		if (kind & 8)
			text[feed_number(f, 2) % n] = (char)feed_byte(f);
	}
	note = memory_of("note", text, n);
}

static void words_change(struct feed *f, void *at, size_t bytes)
{
	for (uint8_t i = feed_byte(f) % 16; i > 0; i--) {
		size_t where = feed_number(f, 3) % (bytes / 8) * 8;
		if (feed_byte(f) & 1)
			where %= 1024;
		uint64_t value;
		memcpy(&value, (char *)at + where, sizeof value);
		uint8_t how = feed_byte(f);
		value = how % 4 == 0 ? feed_number(f, 8) : how % 4 == 1 ? value ^ 1ull << feed_byte(f) % 64 :
			how % 4 == 2 ? UINT64_MAX : value + feed_byte(f);
		memcpy((char *)at + where, &value, sizeof value);
	}
}

/* The broker before: it had members, and is gone. */
static bool before(struct feed *f)
{
	broker_begin();
	must(broker_configure(&b, &world_config) == 0);
	honest_begin();
	uint8_t changes = feed_byte(f);
	if (changes & 1)
		words_change(f, b.books, sizeof *b.books);
	for (uint32_t i = 0; i < 3; i++)
		if (changes & 2u << i)
			words_change(f, b.account[i].ledger, LEDGER_BYTES);
	int fds[NUMBERS] = { dup(b.books_fd), dup(b.account[0].fd), dup(b.account[1].fd), dup(b.account[2].fd),
			     memory_of("solvent-else", "", 0), ledger_create("x"), dup(b.account[2].fd),
			     memory_of("else", "", 0) };
	memcpy(kept, fds, sizeof kept);
	broker_end();
	return changes == 0;
}

static void books_check(void)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		const struct account *a = &b.account[i];
		if (a->ledger) {
			must(a->book == &b.books->book[i] && memchr(a->name, '\0', sizeof a->name) && a->name[0]);
			must(a->book->granted == a->granted && a->policy.mode < ACCOUNT_MODE_N);
		} else {
			must(b.books->book[i].name[0] == '\0');
		}
	}
}

static void next(struct kept *k)
{
	broker_begin();
	if (k->books >= 0 || k->ledgers > 0)
		recover(&b, k);
	must(broker_configure(&b, &world_config) == 0);
	books_check();
	for (int i = 0; i < 4; i++)
		turn(SLOW_NS);
	for (int i = 0; i < 3; i++)
		must(account(world_config.account[i].name));
	books_check();
}

/* Somebody joins, if it is not damaged. */
static void life_goes_on(bool unchanged)
{
	world_birth(PROCESS_X, 0, USER_X);
	struct answer a = ask_join(PROCESS_X, "x");
	must(a.bytes == sizeof a.join);
	must(a.head.status == STATUS_OK || a.head.status == STATUS_DAMAGED);
	must(!unchanged || a.head.status == STATUS_OK);
	answer_end(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	unsigned open_before = descriptors();
	struct kept k;
	world_begin();
	world_birth(PROCESS_KEEPER, 0, USER_BROKER);
	keeper = world.process[PROCESS_KEEPER].pid;
	bool unchanged = before(&f);
	note_write(&f);
	state_read(&(struct state){ .dir = -2, .lock = -1, .path = "/run/somewhere" }, &k);
	if (k.keeper >= 0)
		close(k.keeper);
	next(&k);
	life_goes_on(unchanged);
	broker_end();
	for (int i = 0; i < NUMBERS; i++)
		close(kept[i]);
	close(note);
	world_end();
	must(descriptors() == open_before);
	return 0;
}
