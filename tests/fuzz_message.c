/* SPDX-License-Identifier: MIT */
/* Peers of several users that say anything, on as many connections as they like, with
 * descriptors, hanging up whenever they want. Nobody writes to a ledger here, so nothing may
 * ever be damaged; and nobody gets what its user, or its membership, does not give it. */
#include "tests/fuzz_broker.h"

#include <fcntl.h>

#define STEPS 128
#define LINES 12

static uint32_t honest_used; /* h's */

static const uid_t users[] = { USER_X, USER_X, USER_OTHER, USER_H, USER_Y, 0, USER_BROKER };

/* Connections that are open. */
static struct line {
	int fd; /* -1: none */
	uint32_t process;
	struct world_process who; /* that opened it; there may be another at its place by now */
} line[LINES];

/* Any but the first members of h and y. */
static uint32_t feed_process(struct feed *f)
{
	return PROCESS_X + feed_byte(f) % (WORLD_PROCESSES - PROCESS_X);
}

/* --- who may what --- */

/* Is it in, or the child of one who is? */
static bool is_related(const struct account *a, const struct world_process *p)
{
	return registry_find(&b, a, p->pid) || registry_find(&b, a, p->parent);
}

static bool may(const struct account *a, const struct world_process *p)
{
	return p->uid == 0 || p->uid == b.uid || admission_allows(&a->admission, p->uid);
}

static void fd_check(const struct answer *a, const struct world_process *p, const struct account *of)
{
	bool reads = a->head.opcode == OPCODE_ACCOUNT;
	must(of && inode_of(a->fd) == of->inode && may(of, p));
	must((fcntl(a->fd, F_GETFL) & O_ACCMODE) == (reads ? O_RDONLY : O_RDWR));
}

static void answer_check(const struct answer *a, const struct world_process *p, bool was_related)
{
	static const size_t bytes[OPCODE_N] = {
		[OPCODE_JOIN] = sizeof a->join, [OPCODE_EXTEND] = sizeof a->extend, [OPCODE_ADOPT] = sizeof a->join,
		[OPCODE_POOL] = sizeof a->pool, [OPCODE_ACCOUNT] = sizeof a->account,
		[OPCODE_RANK] = sizeof a->rank,
	};
	const struct message *m = &a->head;
	must(m->magic == PROTOCOL_MAGIC && m->version == PROTOCOL_VERSION && m->status < STATUS_N);
	if (m->status == STATUS_VERSION || (m->status == STATUS_MALFORMED && a->bytes == sizeof *m))
		return;
	must(m->opcode < OPCODE_N && a->bytes == bytes[m->opcode]);
	const char *name = m->opcode == OPCODE_ACCOUNT ? a->account.account : a->join.account;
	const struct account *of = account(name);
	if (m->status != STATUS_OK)
		must(a->fd < 0);
	else if (m->opcode == OPCODE_JOIN || m->opcode == OPCODE_ADOPT)
		must(of && (may(of, p) || was_related) && a->join.pid == p->pid && a->join.slot < LEDGER_SLOTS);
	must(m->status != STATUS_OK || (a->fd >= 0) == (m->opcode == OPCODE_JOIN || m->opcode == OPCODE_ACCOUNT));
	if (a->fd >= 0 && !(m->opcode == OPCODE_JOIN && was_related))
		fd_check(a, p, of);
}

/* --- lines --- */

static void line_close(struct line *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

static void line_open(struct line *l, uint32_t process)
{
	line_close(l);
	*l = (struct line){ world_connect(process), process, world.process[process] };
}

/* Whom the kernel names as the peer. */
static struct world_process *line_peer(struct line *l)
{
	struct world_process *now = &world.process[l->process];
	return now->start_ticks == l->who.start_ticks ? now : &l->who;
}

static void line_hear(struct line *l, bool was_related)
{
	struct answer a = { .fd = -1 };
	answer_receive(l->fd, &a);
	if (a.bytes > 0)
		answer_check(&a, line_peer(l), was_related);
	if (a.bytes > 0 && a.head.opcode == OPCODE_JOIN && a.head.status == STATUS_OK)
		line_peer(l)->maps = inode_of(a.fd);
	answer_end(&a);
}

/* With a descriptor along, if `fd` is one. */
static void line_say(struct line *l, const void *packet, size_t n, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = { 0 } };
	struct iovec part = { (void *)packet, n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						       .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof fd);
	}
	sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- packets --- */

union packet {
	struct message head;
	struct request_join join;
	struct request_extend extend;
	struct request_adopt adopt;
	struct request_account account;
	struct request_rank rank;
	uint8_t byte[320];
};

static void feed_name(struct feed *f, char name[ACCOUNT_NAME_BYTES])
{
	static const char *const names[] = { "x", "y", "h", "", "x\n", "default" };
	uint8_t i = feed_byte(f);
	if (i % 8 < ARRAY_N(names))
		strcpy(name, names[i % 8]);
	else
		feed_bytes(f, name, i % 2 ? ACCOUNT_NAME_BYTES : i % ACCOUNT_NAME_BYTES);
}

/* Well-formed but for what is in it. Its size. */
static size_t feed_request(struct feed *f, union packet *p)
{
	p->head = head_of(1 + feed_byte(f) % (OPCODE_N - 1));
	switch (p->head.opcode) {
	case OPCODE_JOIN:
		feed_name(f, p->join.account);
		return sizeof p->join;
	case OPCODE_EXTEND:
		feed_name(f, p->extend.account);
		p->extend.slot = (uint32_t)feed_number(f, feed_byte(f) % 4);
		p->extend.pages = (uint32_t)feed_number(f, feed_byte(f) % 4);
		return sizeof p->extend;
	case OPCODE_ADOPT:
		feed_name(f, p->adopt.account);
		p->adopt.slot = (uint32_t)feed_number(f, feed_byte(f) % 4);
		p->adopt.generation = feed_byte(f);
		return sizeof p->adopt;
	case OPCODE_ACCOUNT:
		p->account.index = (uint32_t)feed_number(f, feed_byte(f) % 4);
		return sizeof p->account;
	case OPCODE_RANK:
		p->rank.watch = (uint32_t)feed_number(f, feed_byte(f) % 4);
		p->rank.from = (uint32_t)feed_number(f, feed_byte(f) % 4);
		p->rank.round = feed_byte(f);
		return sizeof p->rank;
	default:
		return sizeof p->head;
	}
}

static size_t feed_packet(struct feed *f, union packet *p)
{
	size_t n;
	memset(p, 0, sizeof *p);
	switch (feed_byte(f) % 4) {
	case 0:
		n = feed_number(f, 2) % sizeof p->byte;
		feed_bytes(f, p->byte, n);
		return n;
	case 1:
		n = feed_request(f, p) + feed_byte(f) - 128u; /* too long or too short */
		p->byte[feed_byte(f) % 16] ^= feed_byte(f);
		return n % sizeof p->byte;
	default:
		return feed_request(f, p);
	}
}

/* --- steps --- */

static void step_open(struct feed *f)
{
	struct line *l = &line[feed_byte(f) % LINES];
	line_open(l, feed_process(f));
}

static bool relation(const union packet *p, struct line *l)
{
	const char *name = p->join.account;
	const struct account *a = memchr(name, '\0', ACCOUNT_NAME_BYTES) ? account(name[0] ? name : "x") : NULL;
	return a && is_related(a, line_peer(l));
}

static void step_say(struct feed *f)
{
	union packet p;
	struct line *l = &line[feed_byte(f) % LINES];
	if (l->fd < 0)
		line_open(l, feed_process(f));
	if (l->fd < 0)
		return;
	uint8_t how = feed_byte(f);
	size_t n = feed_packet(f, &p);
	bool related = relation(&p, l);
	line_say(l, &p, n, how & 1 ? l->fd : -1);
	turn(0);
	if (how & 2)
		line_close(l);
	else
		line_hear(l, related);
}

/* Several packets before the broker has a turn, and no ear for the answers. */
static void step_babble(struct feed *f)
{
	union packet p;
	struct line *l = &line[feed_byte(f) % LINES];
	if (l->fd < 0)
		line_open(l, feed_process(f));
	for (uint8_t i = feed_byte(f) % 8; l->fd >= 0 && i > 0; i--)
		line_say(l, &p, feed_packet(f, &p), -1);
	turn(0);
	line_close(l);
}

static void step_close(struct feed *f)
{
	line_close(&line[feed_byte(f) % LINES]);
}

/* Connections that stay and say nothing. */
static void step_crowd(struct feed *f)
{
	static int fds[PEERS + 20];
	uint32_t n = feed_byte(f);
	n = n < 250 ? n % 16 : ARRAY_N(fds);
	for (uint32_t i = 0; i < n; i++) {
		fds[i] = world_connect(feed_process(f));
		turn(0);
	}
	for (uint32_t i = 0; i < n; i++)
		if (fds[i] >= 0 && i % 2)
			close(fds[i]);
	turn(0);
	for (uint32_t i = 0; i < n; i++)
		if (fds[i] >= 0 && i % 2 == 0)
			close(fds[i]);
}

static void step_turn(struct feed *f)
{
	turn(feed_number(f, 2) * NS_PER_MS);
}

static void step_birth(struct feed *f)
{
	uint32_t i = feed_process(f), parent = feed_process(f);
	uid_t uid = users[feed_byte(f) % ARRAY_N(users)];
	world_birth(i, i == parent ? 0 : world.process[parent].pid, uid);
}

static void step_death(struct feed *f)
{
	world_death(feed_process(f));
}

static void step_knob(struct feed *f)
{
	uint8_t to = feed_byte(f);
	struct world_process *p = &world.process[feed_process(f)];
	world.no_pidfds = to & 1;
	world.no_peer_pidfd = to & 2;
	b.peers.has_pidfds &= !world.no_peer_pidfd;
	p->foreign = to & 4;
	p->secret = to & 8;
	b.registry.pidfds_most = to & 16 ? 2 : 1000;
}

static void (*const steps[])(struct feed *) = {
	step_say,   step_say,  step_say,  step_say,   step_open,  step_babble, step_close,
	step_crowd, step_turn, step_turn, step_birth, step_birth, step_death,  step_knob,
};

/* --- the whole --- */

/* h's own users may come and go in it, but what its first member has stays its own. */
static void check(void)
{
	const struct account *h = account("h"), *y = account("y");
	for (uint32_t i = 0; i < b.config.accounts; i++)
		must(!b.account[i].damaged && account_is_sound(&b.account[i]));
	must(memcmp(honest.slots, h->ledger->slot, sizeof(struct slot)) == 0);
	must(h->granted == H_PAGES && PURSE_USED(purse_read(&h->ledger->header.purse)) == honest_used);
	must(y->granted >= Y_GUARANTEE && PURSE_USED(purse_read(&y->ledger->header.purse)) == honest.y_used);
	must(funds_promised(&b) <= POOL_PAGES && b.peers.n <= PEERS);
}

/* Everybody goes: what they had comes back. */
static void leave(void)
{
	const struct account *x = account("x");
	for (uint32_t i = 0; i < LINES; i++)
		line_close(&line[i]);
	for (uint32_t i = PROCESS_X; i < WORLD_PROCESSES; i++)
		world_death(i);
	world.no_pidfds = false;
	for (int i = 0; i < 8; i++)
		turn(SLOW_NS);
	check();
	must(b.peers.n == 0 && b.registry.members == 2 && x->members == 0 && !account_unclean(x));
	must(PURSE_USED(purse_read(&x->ledger->header.purse)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	unsigned before = descriptors();
	world_begin();
	broker_begin();
	must(broker_configure(&b, &world_config) == 0);
	honest_begin();
	honest_used = PURSE_USED(purse_read(&account("h")->ledger->header.purse));
	for (uint32_t i = PROCESS_X; i < WORLD_PROCESSES; i++)
		world_birth(i, 0, users[i % ARRAY_N(users)]);
	for (uint32_t i = 0; i < LINES; i++)
		line[i] = (struct line){ .fd = -1 };
	for (int i = 0; i < STEPS && !feed_is_empty(&f); i++) {
		steps[feed_byte(&f) % ARRAY_N(steps)](&f);
		check();
	}
	leave();
	broker_end();
	world_end();
	must(descriptors() == before);
	return 0;
}
