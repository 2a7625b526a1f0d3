/* SPDX-License-Identifier: MIT */
/* What keeps accounts apart: a member maps its own ledger and can neither cut it nor reach
 * another, a reader can write to none, and nobody reaches what the broker and its keeper
 * hold. Another user's eyes are needed for most of it, so most of it is root's to test. */
#include "tests/broker_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/uio.h>

#include "daemon/keeper.h"

#define USER_A 12345
#define USER_B 12346

static void begin(void)
{
	broker_begin("pool { limit = 100M }\n"
		     "account a { limit = 64M guarantee = 8M users = {12345} }\n"
		     "account b { limit = 64M guarantee = 8M users = {12346} }\n");
}

TestSuite(walls, .timeout = 30, .init = begin);

static void root_only(void)
{
	if (getuid() != 0)
		cr_skip_test("only root can be other users");
}

/* What a child says of itself, as another user: the number of the line that was wrong, or 0.
 * It is given the door and nothing else of the broker's. */
#define want(condition) \
	do { \
		if (!(condition)) \
			_exit(__LINE__ % 250 + 1); \
	} while (0)

static pid_t child_as(uid_t uid, void (*does)(void))
{
	pid_t parent = getpid(), pid = fork();
	if (pid == 0) {
		close(b.books_fd);
		for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
			if (b.account[i].ledger)
				close(b.account[i].fd);
		want(getuid() != 0 || (setgid(uid) == 0 && setuid(uid) == 0));
		tie_to(parent);
		does();
		_exit(0);
	}
	return pid;
}

static void expect(uid_t uid, void (*does)(void))
{
	int status = turn_until_exit(child_as(uid, does));
	cr_assert(status == 0, "status %d: the line's number mod 250, and 1", status);
}

static uint64_t inode_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* As peer_join, but for the bare descriptor. -1: none came. */
static int join_descriptor(const char *name, int *ret_status)
{
	struct request_join q = { .head = peer_head(OPCODE_JOIN) };
	struct reply_join r;
	int fd = -1;
	strcpy(q.account, name);
	*ret_status = peer_question(door_name, &q, sizeof q, &r, sizeof r, &fd);
	return fd;
}

static int reader_descriptor(uint32_t index, struct reply_account *ret)
{
	struct request_account q = { .head = peer_head(OPCODE_ACCOUNT), .index = index };
	int fd = -1;
	return peer_question(door_name, &q, sizeof q, ret, sizeof *ret, &fd) == 0 ? fd : -1;
}

/* --- a member --- */

static void own_ledger_and_no_other(void)
{
	struct reply_account r;
	int status, fd = join_descriptor("b", &status);
	want(fd < 0 && status == STATUS_NOT_ALLOWED);
	fd = join_descriptor("a", &status);
	want(fd >= 0 && status == STATUS_OK && inode_of(fd) == b.account[0].inode);
	int seen = reader_descriptor(0, &r);
	want(seen >= 0 && strcmp(r.account, "a") == 0 && inode_of(seen) == b.account[0].inode);
	want(reader_descriptor(1, &r) < 0 && r.head.status == STATUS_END);
}

Test(walls, hands_a_member_its_own_ledger_and_no_other)
{
	root_only();
	expect(USER_A, own_ledger_and_no_other);
	cr_assert(account("b")->members == 0 && account("b")->turned_away == 1);
}

static void sealed(void)
{
	int status, fd = join_descriptor("a", &status);
	want(fd >= 0);
	want(fcntl(fd, F_GET_SEALS) == (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	want(ftruncate(fd, 4096) != 0 && errno == EPERM);
	want(ftruncate(fd, (off_t)LEDGER_BYTES + 4096) != 0 && errno == EPERM);
	want(fallocate(fd, 0, (off_t)LEDGER_BYTES, 4096) != 0 && errno == EPERM);
	want(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) != 0 && errno == EPERM);
	want(lseek(fd, 0, SEEK_END) == (off_t)LEDGER_BYTES);
	/* Its mode is its owner's to change, who is the broker's user. */
	want(getuid() != USER_A || (fchmod(fd, 0666) != 0 && errno == EPERM));
}

Test(walls, lets_no_member_cut_or_seal_a_ledger)
{
	expect(USER_A, sealed);
	cr_assert(account_is_sound(account("a")));
}

/* --- a reader --- */

/* No way from a descriptor that reads to one that writes. */
static void stays_a_reader(int fd)
{
	char path[64];
	struct ledger *l;
	static const int ways[] = { O_RDWR, O_WRONLY, O_RDWR | O_TRUNC };
	want((fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY);
	want(write(fd, "x", 1) < 0 && pwrite(fd, "x", 1, 0) < 0 && ftruncate(fd, 0) != 0);
	want(mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	want(ledger_map(fd, true, &l) == -EACCES && ledger_map(fd, false, &l) == 0);
	want(mprotect(l, LEDGER_BYTES, PROT_READ | PROT_WRITE) != 0 && errno == EACCES);
	ledger_unmap(l);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	for (size_t i = 0; i < ARRAY_N(ways); i++)
		want(open(path, ways[i]) < 0 && errno == EACCES);
	want(fchmod(fd, 0666) != 0 && chmod(path, 0666) != 0 && fchown(fd, getuid(), getgid()) != 0);
}

static void reader(void)
{
	struct reply_account r;
	int fd = reader_descriptor(0, &r);
	want(fd >= 0 && inode_of(fd) == b.account[0].inode);
	stays_a_reader(fd);
	/* root in a namespace of one's own is nobody's root outside */
	if (unshare(CLONE_NEWUSER) == 0)
		stays_a_reader(fd);
}

Test(walls, gives_no_reader_a_way_to_write)
{
	root_only();
	expect(USER_A, reader);
	cr_assert(account_is_sound(account("a")));
}

/* --- what others hold --- */

static int32_t others[3]; /* whose descriptors and memory are tried */

/* Nothing of that process can be opened, nor written to. */
static void out_of_reach(int32_t pid)
{
	char path[64], byte = 0;
	struct iovec here = { &byte, 1 }, there = { &b, 1 };
	for (int fd = 0; fd < 64; fd++) {
		snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
		want(open(path, O_RDONLY) < 0 && open(path, O_PATH) < 0);
	}
	snprintf(path, sizeof path, "/proc/%d/mem", pid);
	want(open(path, O_RDWR) < 0);
	snprintf(path, sizeof path, "/proc/%d/map_files", pid);
	want(open(path, O_RDONLY | O_DIRECTORY) < 0);
	want(process_vm_readv(pid, &here, 1, &there, 1, 0) < 0);
	want(process_vm_writev(pid, &here, 1, &there, 1, 0) < 0);
}

static void others_are_out_of_reach(void)
{
	for (size_t i = 0; i < ARRAY_N(others); i++)
		out_of_reach(others[i]);
}

static void member_of_b(void)
{
	struct peer_member m;
	want(peer_join(door_name, "b", &m) == 0);
	pause();
}

Test(walls, keeps_the_broker_its_keeper_and_other_members_out_of_reach)
{
	root_only();
	char home[] = "/tmp/solvent-walls-XXXXXX", path[64];
	struct state state;
	struct keeper keeper = { 0 };
	cr_assert(mkdtemp(home) && state_open(home, 0700, &state) == 0);
	cr_assert(keeper_replace(&keeper, &b, &state) == 0);
	pid_t member = child_as(USER_B, member_of_b);
	while (account("b")->members == 0)
		turn();
	others[0] = getpid();
	others[1] = keeper.pid;
	others[2] = member;
	expect(USER_A, others_are_out_of_reach);
	end(member);
	keeper_end(&keeper);
	state_forget(&state);
	snprintf(path, sizeof path, "%s/lock", home);
	unlink(path);
	cr_assert(rmdir(home) == 0);
}
