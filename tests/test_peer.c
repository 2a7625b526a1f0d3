/* SPDX-License-Identifier: MIT */
/* What is said over the socket, by the honest and by others. The test itself is a peer. */
#include "tests/broker_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "daemon/unseen.h"

static void begin(void)
{
	broker_begin("pool { limit = 100M }\n"
		     "account a { limit = 64M guarantee = 8M warn = 50% fork = 25% }\n"
		     "account b { limit = 64M guarantee = 20M users = {12345} }\n"
		     "account watched { limit = 16M mode = observe }\n");
}

TestSuite(peer, .timeout = 30, .init = begin);

/* Sends `bytes` as one packet on a new connection; the reply, or 0 when it was hung up. */
static ssize_t say(const void *packet, size_t bytes, void *reply, size_t reply_bytes)
{
	int fd = peer_connect(door_name);
	cr_assert(fd >= 0 && send(fd, packet, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
	turn();
	ssize_t n = recv(fd, reply, reply_bytes, MSG_DONTWAIT);
	close(fd);
	turn();
	return n;
}

Test(peer, answers_every_malformed_message_and_hangs_up)
{
	struct request_join whole = { .head = peer_head(OPCODE_JOIN) };
	struct message head = peer_head(OPCODE_POOL), version = head, magic = head, opcode = head, none = head;
	static char large[4096];
	version.version = PROTOCOL_VERSION + 1;
	magic.magic = 4711;
	opcode.opcode = OPCODE_N;
	none.opcode = 0;
	const struct {
		const char *name;
		const void *packet;
		size_t bytes;
		enum status status;
	} table[] = {
		{ "one byte", "x", 1, STATUS_MALFORMED },
		{ "less than a head", &head, sizeof head - 1, STATUS_MALFORMED },
		{ "a wrong magic", &magic, sizeof magic, STATUS_MALFORMED },
		{ "another version", &version, sizeof version, STATUS_VERSION },
		{ "an unknown opcode", &opcode, sizeof opcode, STATUS_MALFORMED },
		{ "no opcode", &none, sizeof none, STATUS_MALFORMED },
		{ "a join that is cut", &whole, sizeof whole - 1, STATUS_MALFORMED },
		{ "a head that wants to join", &whole, sizeof whole.head, STATUS_MALFORMED },
		{ "more than anything", large, sizeof large, STATUS_MALFORMED },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		struct message reply[8] = { 0 };
		int fd = peer_connect(door_name);
		send(fd, table[i].packet, table[i].bytes, MSG_NOSIGNAL);
		turn();
		cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) == sizeof *reply, "%s", table[i].name);
		cr_assert(reply->magic == PROTOCOL_MAGIC && reply->version == PROTOCOL_VERSION, "%s", table[i].name);
		cr_assert(reply->status == table[i].status, "%s: status %u", table[i].name, reply->status);
		cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) == 0, "%s: not hung up", table[i].name);
		close(fd);
		cr_assert(b.peers.n == 0);
	}
}

Test(peer, survives_random_packets)
{
	uint32_t seed = 3;
	for (int round = 0; round < 3000; round++) {
		uint8_t packet[300], reply[512];
		struct message head = peer_head((enum opcode)(round % 8));
		for (size_t i = 0; i < sizeof packet; i++)
			packet[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
		if (round % 2)
			memcpy(packet, &head, sizeof head);
		size_t sizes[] = { sizeof(struct request_join), sizeof(struct request_extend), sizeof(struct request_adopt),
				   sizeof(struct request_account), 1 + seed % 299 };
		cr_assert(say(packet, sizes[round % 5], reply, sizeof reply) > 0, "round %d", round);
	}
	for (uint32_t i = 0; i < b.config.accounts; i++)
		cr_assert(!b.account[i].damaged && b.account[i].granted == account(b.account[i].name)->granted);
	cr_assert(used("a") == 0 && account("a")->granted == 2048);
}

Test(peer, drops_descriptors_that_are_sent_along)
{
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	for (rlim_t i = 0; i < files.rlim_cur + 100 && i < 3000; i++) {
		union {
			struct cmsghdr header;
			char room[CMSG_SPACE(sizeof(int))];
		} control = { .room = { 0 } };
		struct request_pool q = { .head = peer_head(OPCODE_POOL) };
		struct iovec part = { &q, sizeof q };
		struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				    .msg_controllen = sizeof control };
		int zero = 0, fd = peer_connect(door_name);
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &zero, sizeof zero);
		cr_assert(fd >= 0 && sendmsg(fd, &m, 0) == sizeof q, "round %lu", i);
		turn();
		close(fd);
		turn();
	}
	int next = dup(0);
	cr_assert(next < 100, "descriptor %d is the first free one", next);
}

Test(peer, closes_the_silent)
{
	int fd = peer_connect(door_name);
	char byte;
	turn();
	cr_assert(b.peers.n == 1);
	cr_assert(peers_next_ns(&b.peers) <= b.now_ns + PEER_SILENCE_NS);
	turn_for_ms(1500);
	cr_assert(b.peers.n == 1);
	turn_for_ms(700);
	cr_assert(b.peers.n == 0 && recv(fd, &byte, 1, MSG_DONTWAIT) == 0);
}

static void crowd(int n)
{
	for (int i = 0; i < n; i++) {
		cr_assert(peer_connect(door_name) >= 0);
		turn();
	}
}

Test(peer, makes_room_at_the_cost_of_whoever_takes_most)
{
	int line[2];
	cr_assert(pipe(line) == 0);
	pid_t quiet = fork_tied();
	if (quiet == 0) { /* one connection that says nothing */
		if (peer_connect(door_name) < 0 || write(line[1], "y", 1) != 1)
			_exit(2);
		pause();
		_exit(0);
	}
	close(line[1]);
	turn();
	turn_until_said(line[0]);
	crowd(600);
	cr_assert(b.peers.n == PEERS);
	uint32_t places = 0;
	for (uint32_t i = 0; i < PEERS; i++)
		places += b.peers.peer[i].pid == quiet;
	kill(quiet, SIGKILL);
	waitpid(quiet, NULL, 0);
	cr_assert(places == 1, "the one that takes one place lost it");
}

static int join_in_child(const char *name, uid_t uid)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		if (uid && setuid(uid) != 0)
			_exit(99);
		int status = peer_join(door_name, name, &m);
		_exit(status < 0 ? 98 : status);
	}
	return turn_until_exit(pid);
}

Test(peer, joins_by_name_and_gets_what_it_needs)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		if (peer_join(door_name, "a", &m) != 0)
			_exit(1);
		const struct slot *s = &m.ledger->slot[m.slot];
		const struct ledger_header *h = &m.ledger->header;
		_exit(m.pid != getpid() || s->pid != getpid() || s->uid != getuid() || s->start_ticks == 0 ? 2 :
		      SLOT_STATE(s->state) != SLOT_LIVE || SLOT_GEN(s->state) != m.generation ? 3 :
		      h->limit != 16384 || h->guarantee != 2048 || h->warn != 8192 || h->fork_percent != 25 ? 4 :
		      purse_read(&h->purse) != PURSE(2048, 0) || h->joins != 1 || m.renewed ? 5 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
	cr_assert(account("a")->members == 0);
}

/* As a child leaves it that was late for its embryo, in a slot that is free. */
Test(peer, owes_nothing_that_another_left_in_its_slot)
{
	pid_t pid;
	account("a")->ledger->slot[0].credit = 1000;
	account("a")->ledger->slot[0].soft = 1000;
	pid = fork_tied();
	if (pid == 0) {
		struct request_join q = { .head = peer_head(OPCODE_JOIN), .account = "a" };
		struct reply_join r;
		struct ledger *l;
		int fd = -1;
		if (peer_question(door_name, &q, sizeof q, &r, sizeof r, &fd) != 0 || ledger_map(fd, false, &l) != 0)
			_exit(1);
		_exit(r.slot != 0 ? 2 : l->slot[0].credit != 0 || l->slot[0].soft != 0 ? 3 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
}

Test(peer, turns_away_with_a_reason)
{
	cr_assert(join_in_child("nothing", 0) == STATUS_NO_ACCOUNT);
	cr_assert(join_in_child("", 0) == STATUS_NO_ACCOUNT, "there are three, and none is called default");
	cr_assert(join_in_child("b", 0) == 0, "root and the broker's own user always may");
	cr_assert(b.turned_away == 2);
	struct request_join q = { .head = peer_head(OPCODE_JOIN) };
	struct reply_join r;
	memset(q.account, 'x', sizeof q.account);
	cr_assert(say(&q, sizeof q, &r, sizeof r) == sizeof r && r.head.status == STATUS_MALFORMED);
	cr_assert(b.turned_away == 3);
}

Test(peer, admits_by_uid)
{
	if (getuid() != 0)
		cr_skip_test("only root can be other users");
	cr_assert(join_in_child("b", 12345) == 0);
	cr_assert(join_in_child("b", 12346) == STATUS_NOT_ALLOWED);
	cr_assert(join_in_child("a", 12345) == STATUS_NOT_ALLOWED);
	cr_assert(account("b")->turned_away == 1 && account("a")->turned_away == 1);
}

Test(peer, admits_by_cgroup)
{
	cr_assert(broker_configure(&b, config_of("account a { cgroup = / }\naccount b { cgroup = /not/there }\n"
						 "account default { }\n")) == 0);
	cr_assert(join_in_child("a", 0) == 0);
	cr_assert(join_in_child("b", 0) == STATUS_NOT_ALLOWED);
	cr_assert(join_in_child("", 0) == 0, "default");
}

Test(peer, chooses_the_only_account_when_none_is_named)
{
	cr_assert(broker_configure(&b, config_of("account only { }")) == 0);
	cr_assert(join_in_child("", 0) == 0);
}

/* The same process asks again, as it does after execve. */
Test(peer, keeps_the_slot_and_the_charge_of_a_process_that_comes_again)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m, again;
		if (peer_join(door_name, "a", &m) != 0 || peer_take(&m, 700) != REASON_NONE)
			_exit(1);
		int o = object_claim(m.ledger, m.slot);
		if (o < 0)
			_exit(2);
		/* execve in the middle of a transfer: debited, not credited */
		struct slot *s = &m.ledger->slot[m.slot];
		s->step += 2;
		s->intent_step = s->step - 1;
		s->intent_pages = 50;
		s->intent_target = m.slot;
		s->intent_op = INTENT_FUND;
		purse_transfer(&m.ledger->header.purse, (struct purse_change){ 0, 50 },
			       SIGNATURE(m.slot, s->intent_step), m.ledger);
		if (peer_join(door_name, "a", &again) != 0)
			_exit(3);
		if (!again.renewed || again.slot != m.slot || again.generation != m.generation)
			_exit(4);
		if (PURSE_USED(purse_read(&s->purse)) != 700 || s->intent_op != INTENT_NONE)
			_exit(5);
		_exit(OBJECT_KIND(m.ledger->object[o].state) != OBJECT_FREE ||
		      PURSE_USED(purse_read(&m.ledger->header.purse)) != PURSE_GRANTED(purse_read(&s->purse)) ? 6 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
	cr_assert(used("a") == 0 && !account_unclean(account("a")));
}

Test(peer, moves_a_process_that_joins_another_account)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m, other;
		if (peer_join(door_name, "a", &m) != 0 || peer_take(&m, 700) != REASON_NONE ||
		    peer_join(door_name, "b", &other) != 0)
			_exit(1);
		_exit(other.renewed || PURSE_USED(purse_read(&m.ledger->header.purse)) != 0 ||
		      SLOT_STATE(slot_read(m.ledger, m.slot)) != SLOT_FREE);
	}
	cr_assert(turn_until_exit(pid) == 0);
	cr_assert(b.registry.members == 0);
}

/* --- grants --- */

/* A child that takes `pages` in account `name` and then uses `given` less, which stay in its own
 * purse; its reason, or 90 and above. */
static int take_and_give_in_child(const char *name, uint32_t pages, uint32_t given, bool stay, pid_t *ret_pid)
{
	int line[2];
	cr_assert(pipe(line) == 0);
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		char said = peer_join(door_name, name, &m) != 0 ? 90 : (char)peer_take(&m, pages);
		if (said == REASON_NONE)
			purse_give(&m.ledger->slot[m.slot].purse, given);
		if (write(line[1], &said, 1) != 1 || !stay)
			_exit(0);
		for (;;)
			pause();
	}
	int said = turn_until_said(line[0]);
	close(line[0]);
	close(line[1]);
	if (stay)
		*ret_pid = pid;
	else
		turn_until_exit(pid);
	return said;
}

static int take_in_child(const char *name, uint32_t pages, bool stay, pid_t *ret_pid)
{
	return take_and_give_in_child(name, pages, 0, stay, ret_pid);
}

Test(peer, extends_to_the_page_and_not_beyond)
{
	cr_assert(take_in_child("a", 16384, false, NULL) == REASON_NONE, "exactly its limit");
	cr_assert(take_in_child("a", 16385, false, NULL) == REASON_LIMIT);
	cr_assert(account("a")->granted <= 16384);
}

Test(peer, keeps_what_another_was_guaranteed)
{
	/* 25600 in the pool, 5120 of them b's, whatever a does. */
	pid_t pid;
	cr_assert(broker_configure(&b, config_of("pool { limit = 100M } account a { } account b { guarantee = 20M }")) == 0);
	cr_assert(take_in_child("a", 20481, false, NULL) == REASON_POOL);
	cr_assert(take_in_child("a", 20480, true, &pid) == REASON_NONE);
	cr_assert(take_in_child("b", 5121, false, NULL) == REASON_POOL);
	cr_assert(take_in_child("b", 5120, false, NULL) == REASON_NONE);
	end(pid);
}

Test(peer, takes_idle_grant_back_from_others)
{
	pid_t pid;
	cr_assert(broker_configure(&b, config_of("pool { limit = 100M } account a { } account b { guarantee = 20M }")) == 0);
	cr_assert(take_in_child("a", 20000, false, NULL) == REASON_NONE);
	cr_assert(used("a") == 0 && account("a")->granted >= 20000, "it kept its grant");
	cr_assert(take_in_child("b", 25600, true, &pid) == REASON_NONE, "all there is");
	cr_assert(account("a")->granted == 0);
	cr_assert(take_in_child("a", 1, false, NULL) == REASON_POOL);
	end(pid);
	cr_assert(take_in_child("a", 20480, false, NULL) == REASON_NONE);
	cr_assert(account("b")->granted == 5120, "its guarantee is left to it");
}

Test(peer, takes_idle_slack_back_from_members_of_others)
{
	pid_t idle, pid;
	cr_assert(broker_configure(&b, config_of("pool { limit = 100M } account a { } account b { } account c { }")) == 0);
	cr_assert(take_and_give_in_child("a", 20000, 19000, true, &idle) == REASON_NONE);
	cr_assert(take_in_child("b", 24601, false, NULL) == REASON_POOL, "a uses 1000 of 25600");
	cr_assert(take_in_child("b", 24600, true, &pid) == REASON_NONE);
	cr_assert(account("a")->granted == 1000 && used("a") == 1000);
	cr_assert(account("a")->unseen_slot == 0 && b.registry.members == 2);
	cr_assert(take_in_child("c", 1, false, NULL) == REASON_POOL);
	end(pid);
	end(idle);
}

Test(peer, takes_idle_slack_back_when_the_limit_falls)
{
	pid_t idle;
	cr_assert(broker_configure(&b, config_of("account a { limit = 100M }")) == 0);
	cr_assert(take_and_give_in_child("a", 20000, 19000, true, &idle) == REASON_NONE);
	cr_assert(broker_configure(&b, config_of("account a { limit = 8M }")) == 0);
	cr_assert(account("a")->granted == 2048 && used("a") == 1000);
	end(idle);
}

Test(peer, refuses_nothing_to_an_observed_account)
{
	pid_t pid;
	cr_assert(take_in_child("watched", 100000, true, &pid) == REASON_NONE);
	cr_assert(account("watched")->granted == PAGES_MAX);
	/* it counts with what it uses: nothing is left but guarantees */
	cr_assert(take_in_child("a", 2049, false, NULL) == REASON_POOL);
	cr_assert(take_in_child("a", 2048, false, NULL) == REASON_NONE);
	end(pid);
}

Test(peer, says_there_is_enough_when_there_is)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		if (peer_join(door_name, "a", &m) != 0)
			_exit(1);
		struct request_extend q = { .head = peer_head(OPCODE_EXTEND), .account = "a", .slot = m.slot, .pages = 10 };
		struct reply_extend r;
		int status = peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL);
		_exit(status != 0 || r.pages != 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
}

Test(peer, extends_for_members_only)
{
	pid_t pid;
	cr_assert(take_in_child("a", 10, true, &pid) == REASON_NONE);
	struct member *m = registry_find(&b, account("a"), pid);
	const struct {
		const char *name;
		uint32_t slot;
		enum status status;
	} table[] = {
		{ "a", LEDGER_SLOTS, STATUS_NOT_MEMBER }, { "a", UINT32_MAX, STATUS_NOT_MEMBER },
		{ "b", 0, STATUS_NOT_MEMBER },            { "c", 0, STATUS_NO_ACCOUNT },
		{ "a", member_slot(account("a"), m), STATUS_NOT_MEMBER },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		struct request_extend q = { .head = peer_head(OPCODE_EXTEND), .slot = table[i].slot, .pages = 5000 };
		struct reply_extend r;
		strcpy(q.account, table[i].name);
		cr_assert(say(&q, sizeof q, &r, sizeof r) == sizeof r && r.head.status == table[i].status,
			  "row %zu: %u", i, r.head.status);
	}
	end(pid);
}

/* --- a socket in other hands --- */

static int descriptor_receive(int from)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	int fd = -1;
	struct iovec part = { &byte, 1 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	cr_assert(recvmsg(from, &m, 0) == 1 && CMSG_FIRSTHDR(&m));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
	return fd;
}

static void descriptor_send(int to, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	char byte = 0;
	struct iovec part = { &byte, 1 };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = sizeof control };
	*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
					       .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof fd);
	if (sendmsg(to, &m, 0) != 1)
		_exit(1);
}

/* A member asks once on a connection: no turn is needed to hear that it hung up. */
Test(peer, hangs_up_on_members_with_the_reply_and_listens_to_who_stays)
{
	struct request_join join = { .head = peer_head(OPCODE_JOIN), .account = "a" };
	struct request_pool pool = { .head = peer_head(OPCODE_POOL) };
	struct message reply[16];
	int fd = peer_connect(door_name);
	for (int i = 0; i < 3; i++) {
		cr_assert(send(fd, &pool, sizeof pool, MSG_NOSIGNAL) == (ssize_t)sizeof pool);
		turn();
		cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) == (ssize_t)sizeof(struct reply_pool) && b.peers.n == 1);
	}
	cr_assert(send(fd, &join, sizeof join, MSG_NOSIGNAL) == (ssize_t)sizeof join);
	turn();
	cr_assert(b.peers.n == 0 && b.registry.members == 1);
	cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) == (ssize_t)sizeof(struct reply_join));
	cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) == 0);
	close(fd);
}

/* A connection that has been accepted, of a process that has ended since, whose number is that of
 * process `pid` by now. */
static int connection_left(pid_t pid)
{
	int line[2];
	cr_assert(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) == 0);
	pid_t before = fork_tied();
	if (before == 0) {
		descriptor_send(line[1], peer_connect(door_name));
		pause();
	}
	int fd = descriptor_receive(line[0]);
	turn();
	end(before);
	close(line[0]);
	close(line[1]);
	for (uint32_t i = 0; i < PEERS; i++)
		if (b.peers.peer[i].fd >= 0 && b.peers.peer[i].pid == before) {
			b.peers.peer[i].pid = pid;
			return fd;
		}
	cr_assert_fail("it was not accepted");
	return -1;
}

static enum status status_of(pid_t pid, const void *packet, size_t bytes)
{
	struct message reply[16];
	int fd = connection_left(pid);
	cr_assert(send(fd, packet, bytes, MSG_NOSIGNAL) == (ssize_t)bytes);
	turn();
	cr_assert(recv(fd, reply, sizeof reply, MSG_DONTWAIT) >= (ssize_t)sizeof *reply);
	close(fd);
	return reply->status;
}

Test(peer, takes_nobody_for_the_process_that_had_its_number)
{
	pid_t pid;
	cr_assert(take_in_child("a", 10, true, &pid) == REASON_NONE);
	pause_ms(30); /* so that they did not begin in the same tick */
	struct account *a = account("a");
	struct member *m = registry_find(&b, a, pid);
	struct request_join join = { .head = peer_head(OPCODE_JOIN), .account = "a" };
	struct request_extend extend = { .head = peer_head(OPCODE_EXTEND), .account = "a", .pages = 5000,
					 .slot = member_slot(a, m) };
	struct request_adopt adopt = { .head = peer_head(OPCODE_ADOPT), .account = "a", .slot = member_slot(a, m),
				       .generation = m->generation };
	uint32_t granted = a->granted;
	cr_assert(status_of(pid, &adopt, sizeof adopt) == STATUS_NOT_MEMBER);
	cr_assert(status_of(pid, &extend, sizeof extend) == STATUS_NOT_MEMBER && a->granted == granted);
	cr_assert(status_of(pid, &join, sizeof join) == STATUS_NOT_MEMBER);
	end(pid);
}

/* Where the kernel gives no pidfd of a peer. */
Test(peer, knows_a_process_by_when_it_began)
{
	struct proc_stat st;
	cr_assert(proc_stat(getpid(), &st) == 0);
	struct peer peer = { .fd = -1, .pid = getpid(), .start_ticks = st.start_ticks };
	cr_assert(peer_check(&peer) == 0);
	peer.start_ticks--;
	cr_assert(peer_check(&peer) == -ESRCH);
	peer.start_ticks = 0; /* and nothing was noted when it was accepted */
	cr_assert(peer_check(&peer) == -ESRCH);
}

/* --- a child in another pid namespace --- */

Test(peer, lets_a_child_adopt_the_slot_its_parent_conceived)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		struct embryo e;
		if (peer_join(door_name, "a", &m) != 0)
			_exit(1);
		struct gather g = peer_gather(&m);
		if (embryo_conceive(&g, 300, &e) != REASON_NONE)
			_exit(2);
		pid_t child = fork_tied();
		if (child == 0) {
			struct request_adopt q = { .head = peer_head(OPCODE_ADOPT), .account = "a", .slot = e.slot,
						   .generation = e.generation };
			struct reply_join r;
			__atomic_fetch_or(&m.ledger->slot[e.slot].flags, SLOT_FOREIGN_PID, __ATOMIC_RELAXED);
			if (!embryo_adopt(m.ledger, e, 300, 0))
				_exit(3);
			if (peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL) != 0 || r.pid != getpid())
				_exit(4);
			q.generation++;
			_exit(peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL) != STATUS_NOT_MEMBER);
		}
		int status;
		waitpid(child, &status, 0);
		_exit(status != 0 ? 5 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
	cr_assert(used("a") == 0 && account("a")->members == 0 && !account("a")->damaged);
}

Test(peer, gives_nobody_the_slot_of_another)
{
	pid_t pid;
	cr_assert(take_in_child("a", 10, true, &pid) == REASON_NONE);
	struct member *m = registry_find(&b, account("a"), pid);
	for (uint32_t s = 0; s < 3; s++) {
		struct request_adopt q = { .head = peer_head(OPCODE_ADOPT), .account = "a", .slot = s,
					   .generation = m->generation };
		struct reply_join r;
		cr_assert(say(&q, sizeof q, &r, sizeof r) == sizeof r && r.head.status == STATUS_NOT_MEMBER, "%u", s);
	}
	end(pid);
}

/* A member's child without a slot asks for `slot`. The status. */
static int adopt_in_child_of_member(uint32_t slot)
{
	struct request_adopt q = { .head = peer_head(OPCODE_ADOPT), .account = "a", .slot = slot,
				   .generation = SLOT_GEN(slot_read(account("a")->ledger, slot)) };
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		struct reply_join r;
		int status;
		if (peer_join(door_name, "a", &m) != 0)
			_exit(90);
		pid_t child = fork_tied();
		if (child == 0)
			_exit(peer_question(door_name, &q, sizeof q, &r, sizeof r, NULL));
		waitpid(child, &status, 0);
		_exit(WEXITSTATUS(status));
	}
	return turn_until_exit(pid);
}

/* The broker's own, or that of a child which was not looked at yet. */
Test(peer, gives_nobody_a_slot_that_is_taken)
{
	struct account *a = account("a");
	pid_t pid, other;
	cr_assert(take_in_child("a", 10, true, &pid) == REASON_NONE);
	unseen_set(&b, a, member_slot(a, registry_find(&b, a, pid)), 100);
	cr_assert(a->unseen_slot != 0);
	cr_assert(adopt_in_child_of_member(a->unseen_slot - 1) == STATUS_NOT_MEMBER);
	turn();
	cr_assert(!a->damaged && a->member[a->unseen_slot - 1].life == MEMBER_OURS);
	other = fork_tied();
	if (other == 0)
		for (;;)
			pause();
	int s = slot_claim(a->ledger, SLOT_LIVE, 0);
	cr_assert(s >= 0);
	a->ledger->slot[s].pid = other;
	cr_assert(adopt_in_child_of_member((uint32_t)s) == STATUS_NOT_MEMBER);
	cr_assert(a->ledger->slot[s].pid == other);
	end(other);
	end(pid);
}

/* --- readers --- */

Test(peer, shows_pool_and_accounts)
{
	struct request_pool q = { .head = peer_head(OPCODE_POOL) };
	struct reply_pool r;
	cr_assert(say(&q, sizeof q, &r, sizeof r) == sizeof r && r.head.status == STATUS_OK);
	cr_assert(r.limit == 25600 && r.granted == 2048 + 5120 && r.accounts == 3 && r.members == 0);
	cr_assert(r.broker_pid == getpid() && r.start_ns > 0 && r.version[0] != '\0');
	static const char *const names[] = { "a", "b", "watched" };
	for (uint32_t i = 0; i < 4; i++) {
		struct request_account qa = { .head = peer_head(OPCODE_ACCOUNT), .index = i };
		struct reply_account ra;
		cr_assert(say(&qa, sizeof qa, &ra, sizeof ra) == sizeof ra);
		cr_assert(ra.head.status == (i < 3 ? STATUS_OK : STATUS_END) && ra.index == i);
		cr_assert(i == 3 || strcmp(ra.account, names[i]) == 0);
	}
}

Test(peer, hands_out_ledgers_to_read_only)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct request_account q = { .head = peer_head(OPCODE_ACCOUNT), .index = 0 };
		struct reply_account r;
		struct ledger *l;
		char path[64];
		int fd = -1;
		if (peer_question(door_name, &q, sizeof q, &r, sizeof r, &fd) != 0 || fd < 0)
			_exit(1);
		if (ledger_map(fd, true, &l) == 0 || ledger_map(fd, false, &l) != 0)
			_exit(2);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (getuid() == 0 && setuid(12345) != 0)
			_exit(3);
		_exit(getuid() == 12345 && open(path, O_RDWR) >= 0 ? 4 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
}

Test(peer, shows_others_only_what_they_may_join)
{
	if (getuid() != 0)
		cr_skip_test("only root can be other users");
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct reply_pool p;
		struct reply_account r;
		if (setuid(12345) != 0 || peer_pool(door_name, &p) != 0)
			_exit(1);
		_exit(p.accounts != 1 ? 2 : peer_look(door_name, "b", &r, NULL) != 0 ? 3 :
		      peer_look(door_name, "a", &r, NULL) != STATUS_END ? 4 : 0);
	}
	cr_assert(turn_until_exit(pid) == 0);
}
