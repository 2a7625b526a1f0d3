/* SPDX-License-Identifier: MIT */
/* A broker in the fuzzer's world (tests/fuzz_world.h), with two honest accounts that must
 * not notice anything: `h` has what it was guaranteed, to the page; `y` has more than that,
 * which may be taken back as far as it is idle. `x` is the attacker's. */
#pragma once

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/births.h"
#include "daemon/broker.h"
#include "daemon/damage.h"
#include "daemon/funds.h"
#include "daemon/request.h"
#include "daemon/settle.h"
#include "daemon/unattached.h"
#include "reserve/gather.h"
#include "reserve/purse.h"
#include "reserve/transfer.h"
#include "tests/fuzz.h"
#include "tests/fuzz_world.h"

enum { USER_H = 1000, USER_Y, USER_X, USER_OTHER, USER_BROKER };
enum { PROCESS_H, PROCESS_Y, PROCESS_X }; /* and all after it are the attacker's */

#define POOL_PAGES 25600u
#define H_PAGES 4096u
#define Y_GUARANTEE 1024u
#define Y_USED 500u
#define X_GUARANTEE 2048u
#define X_LIMIT 16384u

static struct broker b;

static const struct config world_config = {
	.pool = POOL_PAGES,
	.accounts = 3,
	.account = {
		{ "h", { .limit = H_PAGES, .guarantee = H_PAGES, .warn = H_PAGES, .fork_percent = 100 },
		  { .users = 1, .user = { USER_H } } },
		{ "y", { .limit = PAGES_MAX, .guarantee = Y_GUARANTEE, .warn = PAGES_MAX, .fork_percent = 100 },
		  { .users = 1, .user = { USER_Y } } },
		{ "x", { .limit = X_LIMIT, .guarantee = X_GUARANTEE, .warn = 100, .fork_percent = 50 },
		  { .users = 1, .user = { USER_X } } },
	},
};

__attribute__((unused)) static struct account *account(const char *name)
{
	return broker_find(&b, name);
}

/* --- its life --- */

static void broker_zero(void)
{
	memset(&b, 0, offsetof(struct broker, account));
	memset(&b.books, 0, sizeof b - offsetof(struct broker, books));
}

__attribute__((unused)) static void broker_begin(void)
{
	broker_zero();
	must(broker_init(&b) == 0);
	b.uid = USER_BROKER;
	b.now_ns = world_now();
	peers_init(&b.peers, epoll_create1(EPOLL_CLOEXEC), 0);
}

/* As if it had been killed: everything it had is closed, nothing is settled. */
__attribute__((unused)) static void broker_end(void)
{
	/* What is written down from now on is not in the books that the next one gets. */
	must(mmap(b.books, sizeof *b.books, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, b.books_fd, 0) == b.books);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		struct account *a = &b.account[i];
		if (!a->ledger)
			continue;
		for (uint32_t s = 0; s < LEDGER_SLOTS && a->members > 0; s++)
			member_unwatch(&b, a, s);
		damage_forget(a);
		a->book = &(struct book){ 0 };
		account_forget(a);
	}
	peers_close(&b.peers);
	close(b.peers.epoll);
	close(b.registry.epoll);
	munmap(b.books, sizeof *b.books);
	close(b.books_fd);
}

/* One turn of its loop, `ns` after the last. How long it took in this world. */
__attribute__((unused)) static uint64_t turn(uint64_t ns)
{
	struct epoll_event e[64];
	world.base_ns += ns;
	b.now_ns = world_now();
	uint64_t before = world.spent_ns;
	world.in_turn = true;
	peers_accept(&b, -1);
	int n = epoll_wait(b.peers.epoll, e, 64, 0);
	for (int i = 0; i < n; i++)
		peer_ready(&b, e[i].data.u32);
	if (world.heard[0] != 0)
		unattached_hear(&b, -1);
	registry_hear(&b);
	settle_deaths(&b);
	broker_tick(&b);
	world.in_turn = false;
	return world.spent_ns - before;
}

/* --- a question --- */

struct answer {
	size_t bytes; /* 0: it hung up */
	int fd;       /* that came with it, or -1; close it with answer_end */
	union {
		struct message head;
		struct reply_join join;
		struct reply_extend extend;
		struct reply_pool pool;
		struct reply_account account;
		struct reply_rank rank;
		char room[4096]; /* more than any */
	};
};

static void answer_receive(int fd, struct answer *a)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct iovec part = { a->room, sizeof a->room };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	a->bytes = n > 0 ? (size_t)n : 0;
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (c) {
		must(c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)));
		memcpy(&a->fd, CMSG_DATA(c), sizeof a->fd);
	}
}

/* `process` says it, the broker has a turn. */
__attribute__((unused)) static struct answer ask(uint32_t process, const void *packet, size_t bytes)
{
	struct answer a = { .fd = -1 };
	int fd = world_connect(process);
	if (fd < 0)
		return a;
	if (send(fd, packet, bytes, MSG_NOSIGNAL) == (ssize_t)bytes) {
		turn(0);
		answer_receive(fd, &a);
	}
	close(fd);
	return a;
}

static inline uint64_t inode_of(int fd)
{
	struct stat st;
	must(fstat(fd, &st) == 0);
	return st.st_ino;
}

__attribute__((unused)) static void answer_end(struct answer *a)
{
	if (a->fd >= 0)
		close(a->fd);
	a->fd = -1;
}

static inline struct message head_of(enum opcode opcode)
{
	return (struct message){ .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION, .opcode = (uint16_t)opcode };
}

__attribute__((unused)) static struct answer ask_join(uint32_t process, const char *name)
{
	struct request_join q = { .head = head_of(OPCODE_JOIN) };
	strncpy(q.account, name, sizeof q.account - 1);
	return ask(process, &q, sizeof q);
}

__attribute__((unused)) static struct answer ask_extend(uint32_t process, const char *name, uint32_t slot,
							uint32_t pages)
{
	struct request_extend q = { .head = head_of(OPCODE_EXTEND), .slot = slot, .pages = pages };
	strncpy(q.account, name, sizeof q.account - 1);
	return ask(process, &q, sizeof q);
}

__attribute__((unused)) static struct answer ask_adopt(uint32_t process, const char *name, uint32_t slot,
						       uint32_t generation)
{
	struct request_adopt q = { .head = head_of(OPCODE_ADOPT), .slot = slot, .generation = generation };
	strncpy(q.account, name, sizeof q.account - 1);
	return ask(process, &q, sizeof q);
}

/* --- the honest --- */

#define WATCHED_BYTES 4096u

static struct honest {
	uint32_t y_slot, y_used; /* of its account */
	/* all of h's ledger that is not empty, by pages */
	_Alignas(64) uint8_t header[WATCHED_BYTES], slots[WATCHED_BYTES], objects[WATCHED_BYTES];
	blkcnt_t blocks;
	struct book book;
} honest;

static void h_copy(void)
{
	struct stat st;
	const struct account *h = account("h");
	must(fstat(h->fd, &st) == 0);
	memcpy(honest.header, h->ledger, WATCHED_BYTES);
	memcpy(honest.slots, h->ledger->slot, WATCHED_BYTES);
	memcpy(honest.objects, h->ledger->object, WATCHED_BYTES);
	honest.blocks = st.st_blocks;
	honest.book = *h->book;
}

static uint32_t y_take(uint32_t pages)
{
	struct account *y = account("y");
	struct gather g = { .ledger = y->ledger, .slot = honest.y_slot,
			    .generation = SLOT_GEN(slot_read(y->ledger, honest.y_slot)) };
	if (gather_take(&g, pages) != REASON_NONE)
		return 0;
	honest.y_used = PURSE_USED(purse_read(&y->ledger->header.purse));
	return pages;
}

/* All but what it began with. */
__attribute__((unused)) static void y_give_back(void)
{
	struct account *y = account("y");
	struct gather g = { .ledger = y->ledger, .slot = honest.y_slot,
			    .generation = SLOT_GEN(slot_read(y->ledger, honest.y_slot)) };
	struct purse *p = &y->ledger->slot[honest.y_slot].purse;
	uint32_t used = PURSE_USED(purse_read(p));
	purse_give(p, used > Y_USED ? used - Y_USED : 0);
	gather_trim(&g);
	honest.y_used = PURSE_USED(purse_read(&y->ledger->header.purse));
}

/* Both accounts get a member that holds something. */
__attribute__((unused)) static void honest_begin(void)
{
	world_birth(PROCESS_H, 0, USER_H);
	world_birth(PROCESS_Y, 0, USER_Y);
	struct answer a = ask_join(PROCESS_H, "h");
	must(a.bytes == sizeof a.join && a.head.status == STATUS_OK && inode_of(a.fd) == account("h")->inode);
	struct gather g = { .ledger = account("h")->ledger, .slot = a.join.slot, .generation = a.join.generation };
	must(gather_take(&g, 1000) == REASON_NONE);
	int o = object_claim(g.ledger, g.slot);
	must(o >= 0 && transfer_to_object(g.ledger, g.slot, (uint32_t)o, 0, 200));
	object_publish(g.ledger, (uint32_t)o, OBJECT_ANON, 0, 0);
	answer_end(&a);
	world.process[PROCESS_H].maps = account("h")->inode;
	h_copy();
	a = ask_join(PROCESS_Y, "y");
	must(a.bytes == sizeof a.join && a.head.status == STATUS_OK && inode_of(a.fd) == account("y")->inode);
	honest.y_slot = a.join.slot;
	answer_end(&a);
	world.process[PROCESS_Y].maps = account("y")->inode;
	must(y_take(Y_USED) == Y_USED);
}

/* A broker that takes a ledger over counts itself there. */
__attribute__((unused)) static void honest_survived(void)
{
	((struct ledger_header *)honest.header)->broker_epoch++;
	honest.book = *account("h")->book;
}

/* Reading makes pages too: then all but what was copied must still be empty. */
static void h_grown(const struct ledger *l)
{
	static const uint8_t empty[WATCHED_BYTES];
	for (uint32_t at = 0; at < LEDGER_BYTES / WATCHED_BYTES * WATCHED_BYTES; at += WATCHED_BYTES)
		must(at == 0 || at == LEDGER_SLOTS_AT || at == LEDGER_OBJECTS_AT ||
		     memcmp((const char *)l + at, empty, WATCHED_BYTES) == 0);
}

/* Nobody else's doing shows in their ledgers, nor in what the broker keeps of them. */
__attribute__((unused)) static void honest_check(void)
{
	struct stat st;
	const struct account *h = account("h"), *y = account("y");
	must(fstat(h->fd, &st) == 0);
	if (st.st_blocks != honest.blocks)
		h_grown(h->ledger);
	honest.blocks = st.st_blocks;
	/* That it was counted changes nothing for it, nor how long the broker sleeps. */
	((struct ledger_header *)honest.header)->counts = h->ledger->header.counts;
	((struct ledger_header *)honest.header)->calm = h->ledger->header.calm;
	must(memcmp(honest.header, h->ledger, WATCHED_BYTES) == 0);
	must(memcmp(honest.slots, h->ledger->slot, WATCHED_BYTES) == 0);
	must(memcmp(honest.objects, h->ledger->object, WATCHED_BYTES) == 0);
	must(memcmp(&honest.book, h->book, sizeof honest.book) == 0);
	must(!h->damaged && h->members == 1 && h->granted == H_PAGES);
	uint64_t word = purse_read(&y->ledger->header.purse);
	must(!y->damaged && y->members == 1 && PURSE_USED(word) == honest.y_used);
	must(PURSE_GRANTED(word) == y->granted && y->book->granted == y->granted);
	must(y->granted >= Y_GUARANTEE && y->granted >= honest.y_used);
}
