/* SPDX-License-Identifier: MIT */
/* SIGKILL at every step of the ledger's protocol (reserve/crash.h), one step after another:
 * of a member, while others go on, and of the broker, while members are killed under it and
 * the next broker takes over. After each death the books must be exact: what the living say
 * they have is what is charged, what the dead had is back, and when all are gone everything
 * is zero. A step that is never reached is a failure too.
 *
 * The broker is the real one (daemon/), turned by hand in a process of its own with a clock
 * that hurries, so that what it waits for comes soon. This process is its keeper.
 *
 * usage: stress_crash [PASSES [POINT]]    (1, all of them) */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "daemon/log.h"
#include "daemon/recover.h"
#include "reserve/crash.h"
#include "tests/broker_turn.h"
#include "tests/member_life.h"

enum role { MEMBER, BROKER, ROLE_N, BOTH = ROLE_N };

enum { MEMBERS = 4, STEPS = 300, PATIENCE_MS = 10000, REACH_MS = 3000, MISSED_TRIES = 5 };

#define HURRY 20
#define UNATTACHED_US (long)(2 * UNATTACHED_GRACE_NS / 1000 / HURRY)

/* What is to happen to those of one role who are armed: whoever comes by the point for the
 * `each`th time is killed, `left` times. */
struct arm {
	uint32_t point;
	int32_t each, countdown, left;
};

static struct board {
	struct life life;
	struct cell cell[MEMBERS];
	struct arm arm[ROLE_N];
	uint32_t killed[ROLE_N][CRASH_POINT_N], passed[ROLE_N][CRASH_POINT_N];
	uint32_t config; /* which of the two the broker is to have in force */
} *board;

static const struct {
	const char *name;
	enum role who;
} points[CRASH_POINT_N] = {
#define CRASH_ROW(number, name, who) [number] = { #name, who },
	CRASH_POINTS(CRASH_ROW)
#undef CRASH_ROW
};

static enum role role;
static bool armed;

void crash_point(enum crash_point point)
{
	struct arm *arm = board ? &board->arm[role] : NULL;
	if (!arm)
		return;
	__atomic_fetch_add(&board->passed[role][point], 1, __ATOMIC_RELAXED);
	if (!armed || arm->point != point || __atomic_sub_fetch(&arm->countdown, 1, __ATOMIC_RELAXED) != 0)
		return;
	if (--arm->left > 0)
		__atomic_store_n(&arm->countdown, arm->each, __ATOMIC_RELAXED);
	__atomic_fetch_add(&board->killed[role][point], 1, __ATOMIC_RELAXED);
	kill(getpid(), SIGKILL);
}

static bool comes_by(enum role who, uint32_t point)
{
	return points[point].name && (points[point].who == who || points[point].who == BOTH);
}

static uint32_t deaths(enum role who)
{
	return __atomic_load_n(&board->killed[who][board->arm[who].point], __ATOMIC_RELAXED);
}

static void arm(enum role who, uint32_t point, int32_t each, int32_t times)
{
	board->arm[who] = (struct arm){ .point = point, .each = each, .countdown = each, .left = times };
}

/* --- failures --- */

static int failures;
static uint32_t refused, early;
static char round_name[128];

static void fail(const char *what)
{
	printf("FAIL %s: %s\n", round_name, what);
	fflush(stdout);
	failures++;
}

static uint64_t now_us(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000;
}

/* --- the broker --- */

static const char *const configs[] = {
	"pool { limit = 40M }\naccount a { limit = 16M guarantee = 4M }\naccount b { limit = 32M guarantee = 8M }\n"
	"account bad { limit = 1M guarantee = 256K }\n",
	"pool { limit = 40M }\naccount a { limit = 14M guarantee = 5M warn = 70% }\n"
	"account b { limit = 30M guarantee = 9M fork = 90% }\naccount bad { limit = 1M guarantee = 128K }\n",
};

static struct config config[ARRAY_N(configs)];
static struct broker *first; /* made the ledgers; this process keeps them */
static pid_t broker;
static char socket_name[64];
static int log_fd;

static void complain(void *context, const char *sentence)
{
	(void)context;
	printf("FAIL %s\n", sentence);
	exit(1);
}

static void configs_read(void)
{
	for (size_t i = 0; i < ARRAY_N(configs); i++) {
		char path[64];
		int fd = memfd_create("test-config", MFD_CLOEXEC);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		if (write(fd, configs[i], strlen(configs[i])) < 0)
			abort();
		config_read(path, complain, NULL, &config[i]);
		close(fd);
	}
}

static struct kept keep(void)
{
	struct kept k = { .books = dup(first->books_fd), .keeper = -1 };
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (first->account[i].ledger)
			k.ledger[k.ledgers++] = dup(first->account[i].fd);
	return k;
}

static void broker_follow(uint32_t *seen)
{
	if (*seen != board->config)
		broker_configure(&b, &config[*seen = board->config]);
}

static void broker_run(bool is_armed, int ready) __attribute__((noreturn));
static void broker_run(bool is_armed, int ready)
{
	struct kept k = keep();
	uint32_t seen = board->config;
	role = BROKER;
	armed = is_armed;
	turn_hurry = HURRY;
	dup2(log_fd, STDERR_FILENO);
	if (broker_init(&b) != 0)
		abort();
	b.now_ns = clock_ns(CLOCK_MONOTONIC) * HURRY;
	recover(&b, &k);
	broker_configure(&b, &config[seen]);
	if (listener_open(socket_name, &door) != 0)
		abort();
	peers_init(&b.peers, epoll_create1(EPOLL_CLOEXEC), 0);
	if (write(ready, "y", 1) != 1)
		abort();
	for (;;) {
		struct pollfd any[] = { { door.fd, POLLIN, 0 }, { b.peers.epoll, POLLIN, 0 },
					{ b.registry.epoll, POLLIN, 0 } };
		turn();
		broker_follow(&seen);
		poll(any, ARRAY_N(any), 1);
	}
}

/* Returns when it listens, or has died of what it was armed with. */
static void broker_start(bool is_armed)
{
	int ready[2];
	char byte;
	if (pipe2(ready, O_CLOEXEC) != 0)
		abort();
	broker = fork_tied();
	if (broker == 0)
		broker_run(is_armed, ready[1]);
	close(ready[1]);
	if (read(ready[0], &byte, 1) < 0)
		abort();
	close(ready[0]);
}

static void broker_end(void)
{
	if (broker > 0) {
		kill(broker, SIGKILL);
		waitpid(broker, NULL, 0);
	}
	broker = 0;
}

/* --- members --- */

static pid_t pids[MEMBERS];
static const char *const account_of[MEMBERS] = { "a", "a", "a", "b" };
static uint64_t seed = 20261125;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((seed >> 33) % n);
}

/* A member is small, or the account would be full of what the kernel counts of it. */
static void broker_memory_drop(void)
{
	uintptr_t from = ((uintptr_t)&b + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1), to = (uintptr_t)(&b + 1) & ~(PAGE_BYTES - 1);
	munmap((void *)from, to - from);
	free(first);
}

static void member_start(int i, bool is_armed)
{
	board->cell[i] = (struct cell){ .account = account_of[i][0] - 'a' };
	uint64_t its_seed = seed + random_below(1u << 30);
	pids[i] = fork_tied();
	if (pids[i] != 0)
		return;
	role = MEMBER;
	armed = is_armed;
	life = &board->life;
	me = &board->cell[i];
	close(log_fd);
	broker_memory_drop();
	member_live(socket_name, account_of[i], i == 2, its_seed, STEPS);
}

/* Everybody's orphans are ours: waits for whoever has ended, and strikes members off. */
static void ended_collect(void)
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		if (pid == broker)
			broker = 0;
		if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL)
			fail("somebody died of another signal");
		for (int i = 0; i < MEMBERS; i++)
			if (pids[i] == pid)
				pids[i] = 0;
	}
}

/* --- the books --- */

static struct ledger *ledger_of(const char *name)
{
	return broker_find(first, name)->ledger;
}

static const char *purse_wrong(const struct ledger *l)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		uint64_t word = purse_read(&l->slot[s].purse);
		if (PURSE_USED(word) > PURSE_GRANTED(word))
			return "a purse uses more than it was granted";
	}
	uint64_t word = purse_read(&l->header.purse);
	return PURSE_USED(word) > PURSE_GRANTED(word) ? "the account uses more than it was granted" : NULL;
}

static const struct cell *cell_in(const char *account, uint32_t s)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && board->cell[i].slot == s && strcmp(account_of[i], account) == 0)
			return &board->cell[i];
	return NULL;
}

static bool is_inhabited(const char *account)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && strcmp(account_of[i], account) == 0)
			return true;
	return false;
}

static const char *slot_wrong(const struct ledger *l, const char *account, uint32_t s)
{
	const struct slot *slot = &l->slot[s];
	uint64_t word = purse_read(&slot->purse), state = slot_read(l, s);
	const struct cell *c = cell_in(account, s);
	if (SLOT_STATE(state) == SLOT_FREE && c)
		return "a member has lost its slot";
	/* Pages that strayed into an empty slot are at hand for whoever needs them, and may have
	 * come too late to find it empty. */
	if (SLOT_STATE(state) == SLOT_FREE)
		return word != 0 && (PURSE_USED(word) != 0 || !is_inhabited(account)) ? "an empty slot has pages" : NULL;
	if (SLOT_STATE(state) == SLOT_UNATTACHED && slot->pid == 0 && is_inhabited(account))
		return NULL;
	if (!c)
		return SLOT_STATE(state) == SLOT_EMBRYO ? "an embryo was left" : "a slot was left";
	if (SLOT_STATE(state) != SLOT_LIVE)
		return "a member is taken for something else";
	if (slot->intent_op != INTENT_NONE || slot->letting_go != 0 || slot->embryos != 0)
		return "a member at rest is in the middle of something";
	return PURSE_USED(word) != c->used ? "a member is not charged what it took" : NULL;
}

static const char *object_wrong(const struct ledger *l, const char *account, uint32_t o)
{
	const struct object *object = &l->object[o];
	uint64_t word = purse_read(&object->purse);
	bool is_free = OBJECT_KIND(object->state) == OBJECT_FREE;
	uint32_t pages = board->life.object_pages[account[0] - 'a'][o];
	if (is_free && word != 0)
		return "a free object has pages";
	if (OBJECT_KIND(object->state) == OBJECT_CLAIMED || (!is_free && !object_is_held(l, o)))
		return "an object was left";
	if (!is_free && word != PURSE(pages, pages))
		return "an object is not charged what it cost";
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		const struct cell *c = object->holders[s / 64] >> s % 64 & 1 ? cell_in(account, s) : NULL;
		if ((object->holders[s / 64] >> s % 64 & 1) != (c && c->holds[o / 64] >> o % 64 & 1))
			return "an object is held by somebody who does not hold it";
	}
	return NULL;
}

/* When nobody moves: what is wrong with the account, or NULL. */
static const char *account_wrong(const char *account)
{
	const struct ledger *l = ledger_of(account);
	const char *what = purse_wrong(l);
	uint64_t held = 0;
	for (uint32_t s = 0; s < LEDGER_SLOTS && !what; s++) {
		held += PURSE_GRANTED(purse_read(&l->slot[s].purse));
		what = slot_wrong(l, account, s);
	}
	for (uint32_t o = 0; o < LEDGER_OBJECTS && !what; o++) {
		held += PURSE_GRANTED(purse_read(&l->object[o].purse));
		what = object_wrong(l, account, o);
	}
	return what || held == PURSE_USED(purse_read(&l->header.purse)) ? what :
	       "the account's used is not what its members and objects hold";
}

static const char *any_wrong(void)
{
	const char *what = account_wrong("a");
	return what ? what : account_wrong("b");
}

static void explain(const struct ledger *l)
{
	uint64_t word = purse_read(&l->header.purse);
	printf("  %s: %u of %u pages, limit %u guarantee %u magic %d\n", l->header.name, PURSE_USED(word), PURSE_GRANTED(word), l->header.limit, l->header.guarantee, l->header.magic == LEDGER_MAGIC);
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		const struct slot *t = &l->slot[s];
		word = purse_read(&t->purse);
		if (SLOT_STATE(t->state) == SLOT_FREE && word == 0)
			continue;
		printf("  slot %u state %d owner %d pid %d (%s) purse %u/%u intent %d embryos %u letting go %u\n", s,
		       SLOT_STATE(t->state), (int)SLOT_OWNER(t->state), t->pid, kill(t->pid, 0) == 0 ? "alive" : "gone", PURSE_USED(word), PURSE_GRANTED(word),
		       (int)t->intent_op, t->embryos, t->letting_go);
	}
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++) {
		word = purse_read(&l->object[o].purse);
		if (OBJECT_KIND(l->object[o].state) != OBJECT_FREE || word != 0 || object_is_held(l, o))
			printf("  object %u state %llx purse %u/%u of %u held %d\n", o, (unsigned long long)l->object[o].state,
			       PURSE_USED(word), PURSE_GRANTED(word), board->life.object_pages[l->header.name[0] - 'a'][o], object_is_held(l, o));
	}
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && strcmp(account_of[i], l->header.name) == 0)
			printf("  member %d pid %d slot %u used %u\n", i, pids[i], board->cell[i].slot, board->cell[i].used);
}

/* Nothing in these accounts was ever written over. */
static void log_check(void)
{
	static off_t at;
	char text[65536];
	ssize_t n = pread(log_fd, text, sizeof text - 1, at);
	while (n > 0 && text[n - 1] != '\n') /* it is being written */
		n--;
	text[n > 0 ? n : 0] = '\0';
	at += n > 0 ? n : 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if ((strstr(line, "written over") && !strstr(line, "\"bad\"")) || strstr(line, "not used"))
			fail(line), explain(ledger_of("a")), explain(ledger_of("b"));
}

/* --- a round --- */

static bool all_paused(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && !board->cell[i].paused)
			return false;
	return true;
}

/* Everybody stands still, the broker has time: in the end the books must be right. */
static void quiet_check(void)
{
	const char *what = "members do not come to rest";
	board->life.pause = true;
	for (uint64_t until = now_us() + PATIENCE_MS * 1000; now_us() < until; sleep_us(200)) {
		ended_collect();
		log_check();
		if (broker == 0)
			broker_start(false);
		if (all_paused() && !(what = any_wrong()))
			break;
	}
	if (what) {
		fail(what);
		explain(ledger_of("a"));
		explain(ledger_of("b"));
	}
	board->life.pause = false;
}

/* All go, by themselves or not. */
static void end_all(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && random_below(2))
			kill(pids[i], SIGKILL);
	board->life.stop = true;
	while (pids[0] || pids[1] || pids[2] || pids[3]) {
		ended_collect();
		sleep_us(100);
	}
	quiet_check();
	for (int i = 0; i < 2; i++) {
		const struct ledger *l = ledger_of(i == 0 ? "a" : "b");
		uint64_t word = purse_read(&l->header.purse);
		if (PURSE_USED(word) != 0 || PURSE_GRANTED(word) < l->header.guarantee ||
		    (PURSE_GRANTED(word) > l->header.limit && board->config == 0))
			fail("the empty account has another grant than its policy says");
	}
	if (board->life.wrong)
		fail(board->life.sentence);
	refused += board->life.refused;
	early += board->life.early;
	board->life = (struct life){ .unattached_us = UNATTACHED_US };
	log_check();
}

static bool watch(void)
{
	const char *what = purse_wrong(ledger_of("a"));
	log_check(); /* now, while whoever is in the ledger can be shown */
	ended_collect();
	if (!what && broker == 0 && board->arm[BROKER].point == 0)
		what = "the broker is gone, and nobody meant it to be";
	if (what)
		fail(what);
	return what != NULL;
}

static bool members_are_at_it(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i] && !board->cell[i].ended)
			return true;
	return false;
}

/* `n` members, of whom `victims` may be killed; the others go on. */
static void member_round(uint32_t point, int each, int victims, int n)
{
	snprintf(round_name, sizeof round_name, "%d of %d members at %s, each %d. time", victims, n, points[point].name,
		 each);
	arm(MEMBER, point, each, victims);
	uint32_t before = deaths(MEMBER);
	for (int i = 0; i < n; i++)
		member_start(i, i < victims);
	while (deaths(MEMBER) - before < (uint32_t)victims && members_are_at_it() && !watch())
		sleep_us(100);
	quiet_check();
	end_all();
}

/* Where members are killed to bring the broker to `point`. */
static uint32_t feeding_point(uint32_t point)
{
	if (point == CRASH_REPAIR_CONFIRMED || point == CRASH_REPAIR_TURNED)
		return random_below(2) ? CRASH_FUND_DEBITED : CRASH_OBJECT_DEBITED;
	if (point == CRASH_STRAY_FOUND)
		return CRASH_FUND_CREDITED;
	do
		point = random_below(CRASH_POINT_N);
	while (!comes_by(MEMBER, point));
	return point;
}

static void scribble(void)
{
	pid_t pid = fork_tied();
	if (pid != 0)
		return;
	struct peer_member m;
	role = MEMBER;
	if (peer_join(socket_name, "bad", &m) == 0)
		m.ledger->header.purse.word = PURSE(1u << 20, 77);
	_exit(0);
}

static void members_kill(void)
{
	for (int i = 0; i < MEMBERS; i++)
		if (pids[i])
			kill(pids[i], SIGKILL);
}

/* Something for the broker to do. */
static void disturb(uint32_t point)
{
	int i = (int)random_below(MEMBERS);
	if (board->arm[MEMBER].countdown <= 0)
		arm(MEMBER, feeding_point(point), 1 + (int)random_below(3), 1);
	board->life.deadly = random_below(4) == 0;
	if (random_below(16) == 0)
		members_kill();
	else if (!pids[i])
		member_start(i, true);
	else if (random_below(8) == 0)
		kill(pids[i], SIGKILL);
	if (random_below(4) == 0)
		board->config ^= 1;
	if (random_below(4) == 0)
		scribble();
}

static void watch_for_us(uint64_t us, enum role who, uint32_t before)
{
	for (uint64_t until = now_us() + us; now_us() < until && deaths(who) == before && !watch();)
		sleep_us(200);
}

/* The broker is killed, and perhaps the next one too, while members come and go. */
static void broker_round(uint32_t point, int each)
{
	snprintf(round_name, sizeof round_name, "the broker at %s, the %d. time", points[point].name, each);
	broker_end();
	arm(BROKER, point, each, 1);
	uint32_t before = deaths(BROKER);
	broker_start(true);
	for (uint64_t until = now_us() + REACH_MS * 1000; deaths(BROKER) == before && now_us() < until;) {
		disturb(point);
		watch_for_us(2000, BROKER, before);
	}
	broker_end();
	board->life.deadly = false;
	arm(MEMBER, 0, 0, 0);
	arm(BROKER, point, 1, 1);
	before = deaths(BROKER);
	broker_start(random_below(2)); /* which may die of it too */
	watch_for_us(5000, BROKER, before);
	arm(BROKER, 0, 0, 0);
	broker_end(); /* or it might be dying of it still, unseen */
	broker_start(false);
	quiet_check();
	board->config = 0;
	end_all();
}

static void coverage_check(void)
{
	static const char *const who[] = { "a member", "the broker" };
	for (int r = 0; r < ROLE_N; r++)
		for (uint32_t p = 0; p < CRASH_POINT_N; p++)
			if (comes_by((enum role)r, p) && board->killed[r][p] == 0) {
				printf("FAIL %s was never killed at %s (came by %u times)\n", who[r], points[p].name,
				       board->passed[r][p]);
				failures++;
			}
}

static void prepare(void)
{
	snprintf(socket_name, sizeof socket_name, "@solvent-crash-%d", getpid());
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	board->life.unattached_us = UNATTACHED_US;
	first = calloc(1, sizeof *first);
	log_fd = memfd_create("test-log", MFD_CLOEXEC);
	fcntl(log_fd, F_SETFL, O_APPEND);
	if (board == MAP_FAILED || !first || log_fd < 0 || proc_open("/proc") != 0)
		abort();
	configs_read();
	if (broker_init(first) != 0 || broker_configure(first, &config[0]) != 0)
		abort();
	/* To read only: who can write to a ledger is taken for a member. */
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (first->account[i].ledger)
			mprotect(first->account[i].ledger, LEDGER_BYTES, PROT_READ);
	setvbuf(stdout, NULL, _IOLBF, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* A refusal is true: to the page, but for what came and went while it was said. */
static void refusals_check(void)
{
	if (early * 50 > refused + 50) {
		printf("FAIL %u of %u refusals were said while there was room\n", early, refused);
		failures++;
	}
}

static void summary(int rounds)
{
	uint32_t killed[ROLE_N] = { 0 }, there = 0;
	for (uint32_t p = 0; p < CRASH_POINT_N; p++) {
		there += points[p].name != NULL;
		for (int r = 0; r < ROLE_N; r++)
			killed[r] += board->killed[r][p];
	}
	printf("%u points, %d rounds: %u members and %u brokers killed at them; %u requests refused, %u of them early\n",
	       there, rounds, killed[MEMBER], killed[BROKER], refused, early);
	printf(failures ? "%d checks failed\n" : "all well\n", failures);
}

/* One pass over all points, each with other neighbours and another count than in the last. */
static int pass(int r, const char *only)
{
	int done = 0;
	for (uint32_t p = 0; p < CRASH_POINT_N && failures < 20; p++) {
		int n = 1 + (r + (int)p) % MEMBERS, each = 1 + (int)random_below(3 + (uint32_t)r / 4);
		if (only && (!points[p].name || strcmp(points[p].name, only) != 0))
			continue;
		if (comes_by(MEMBER, p))
			done++, member_round(p, each, 1 + (int)random_below((uint32_t)n), n);
		if (comes_by(BROKER, p))
			done++, broker_round(p, 1 + (int)random_below(r == 0 ? 1 : 4));
	}
	return done;
}

/* Whoever is armed may end before it comes by as often as it should: those points again, the
 * first time they are reached. */
static int missed_again(void)
{
	int done = 0;
	for (int tries = 0; tries < MISSED_TRIES; tries++)
		for (uint32_t p = 0; p < CRASH_POINT_N && failures < 20; p++) {
			if (comes_by(MEMBER, p) && board->killed[MEMBER][p] == 0)
				done++, member_round(p, 1, 1, MEMBERS);
			if (comes_by(BROKER, p) && board->killed[BROKER][p] == 0)
				done++, broker_round(p, 1);
		}
	return done;
}

int main(int argc, char **argv)
{
	int passes = argc > 1 ? atoi(argv[1]) : 1, rounds = 0;
	const char *only = argc > 2 ? argv[2] : NULL;
	prepare();
	broker_start(false);
	for (int r = 0; r < passes; r++)
		rounds += pass(r, only);
	if (!only)
		rounds += missed_again();
	broker_end();
	if (!only)
		coverage_check();
	refusals_check();
	summary(rounds);
	return failures != 0;
}
