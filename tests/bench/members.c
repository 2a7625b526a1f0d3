/* SPDX-License-Identifier: MIT */
/* What members cost the broker, and the broker them. The socket is SOLVENT_SOCKET's, the
 * account SOLVENT_ACCOUNT's. The members are light ones, by reserve/ alone, so that it is the
 * broker that is measured and not the start of programs.
 *
 * usage: members join            "join NANOSECONDS": asked, answered, and the ledger mapped
 *        members churn N S PID   N members at once, each of which starts, charges and dies, for
 *                                S seconds; PID is the broker. Lines of NAME VALUE
 *        members churn N S 0     The same with a process in the broker's place that answers and
 *                                does nothing else: how long the machine makes one wait */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "include/protocol.h"
#include "reserve/gather.h"
#include "reserve/purse.h"
#include "tests/bench/stopwatch.h"
#include "tests/peer.h"

enum { JOINS = 500, WAITS = 1 << 20, LIFE_MS = 4000 };

/* Shared with the members. Of each wait for an answer of the broker's how long it was, and what is
 * left of it without the time that the member itself could have run and had no processor. */
static struct board {
	uint32_t waits_n, refused, failed;
	float wait_us[WAITS], broker_us[WAITS];
} *board;

static const char *socket_name, *account_name;

/* How long this process has been runnable without running, in ns (the second number of
 * /proc/PID/schedstat, Documentation/scheduler/sched-stats.rst). */
static double queued(void)
{
	char text[128];
	unsigned long long ns = 0;
	int fd = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	sscanf(text, "%*u %llu", &ns);
	return (double)ns;
}

struct wait {
	double queued, from;
};

static struct wait wait_begin(void)
{
	struct wait w = { queued(), 0 };
	w.from = stopwatch_now();
	return w;
}

static void wait_note(const struct wait *w)
{
	double all = stopwatch_now() - w->from, own = queued() - w->queued;
	uint32_t n = __atomic_fetch_add(&board->waits_n, 1, __ATOMIC_RELAXED);
	if (n < WAITS) {
		board->wait_us[n] = (float)(all / 1e3);
		board->broker_us[n] = (float)((all > own ? all - own : 0) / 1e3);
	}
}

static bool join(struct peer_member *ret)
{
	struct wait w = wait_begin();
	if (peer_join(socket_name, account_name, ret) != 0) {
		__atomic_fetch_add(&board->failed, 1, __ATOMIC_RELAXED);
		return false;
	}
	wait_note(&w);
	return true;
}

/* As peer_extend. */
static int ask(void *member, uint32_t pages, enum refusal_reason *ret_reason)
{
	struct wait w = wait_begin();
	int error = peer_extend(member, pages, ret_reason);
	wait_note(&w);
	return error;
}

/* --- join --- */

static void join_once(void)
{
	struct peer_member m;
	pid_t pid = fork();
	if (pid == 0)
		_exit(join(&m) ? 0 : 1);
	waitpid(pid, NULL, 0);
}

static double wait_at(const float *us, double quantile)
{
	static double values[WAITS];
	uint32_t n = board->waits_n < WAITS ? board->waits_n : WAITS;
	for (uint32_t i = 0; i < n; i++)
		values[i] = us[i];
	qsort(values, n, sizeof *values, stopwatch_order);
	return n ? values[(size_t)(quantile * (n - 1))] : 0;
}

static int join_run(void)
{
	for (int i = 0; i < JOINS; i++)
		join_once();
	printf("join %.0f\n", wait_at(board->wait_us, 0.5) * 1e3);
	return board->failed != 0;
}

/* --- churn --- */

static void sleep_ms(double ms)
{
	struct timespec t = { (time_t)(ms / 1e3), (long)(ms * 1e6) % 1000000000L };
	nanosleep(&t, NULL);
}

/* Starts, charges some MiB in two goes, lives for a while and dies as it is. */
static void member_run(unsigned seed) __attribute__((noreturn));
static void member_run(unsigned seed)
{
	struct peer_member m;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!join(&m))
		_exit(1);
	for (int i = 0; i < 2; i++) {
		struct gather g = { .ledger = m.ledger, .slot = m.slot, .generation = m.generation, .ask = ask, .context = &m };
		if (gather_take(&g, 100 + rand_r(&seed) % 1000) != REASON_NONE)
			__atomic_fetch_add(&board->refused, 1, __ATOMIC_RELAXED);
		sleep_ms(rand_r(&seed) % (LIFE_MS / 2));
	}
	_exit(0);
}

static void member_start(unsigned seed)
{
	if (fork() == 0)
		member_run(seed);
}

/* User and system time of a process, in seconds. */
static double cpu_of(int pid)
{
	char path[64], text[1024];
	unsigned long user = 0, system = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	FILE *f = fopen(path, "r");
	const char *rest = f && fgets(text, sizeof text, f) ? strrchr(text, ')') : NULL;
	if (rest)
		sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
	if (f)
		fclose(f);
	return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

/* Every question is answered with a place in an account of which nobody keeps the books. */
static void answer_all(int door, int ledger) __attribute__((noreturn));
static void answer_all(int door, int ledger)
{
	struct request_join q;
	struct reply_join r = { .head = peer_head(OPCODE_JOIN) };
	struct iovec part = { &r, sizeof r };
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .align = { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	memcpy(CMSG_DATA(&control.align), &ledger, sizeof ledger);
	for (;; r.slot = (r.slot + 1) % LEDGER_SLOTS) {
		int fd = accept(door, NULL, NULL);
		if (recv(fd, &q, sizeof q, 0) > 0)
			sendmsg(fd, &m, MSG_NOSIGNAL);
		close(fd);
	}
}

static int answerer_start(void)
{
	static char name[64];
	struct sockaddr_un address;
	struct ledger *l;
	uint32_t length;
	snprintf(name, sizeof name, "@solvent-bench-%d", getpid());
	socket_name = name;
	int door = socket(AF_UNIX, SOCK_SEQPACKET, 0), ledger = ledger_create("bench");
	if (protocol_address(name, &address, &length) != 0 || ledger_map(ledger, true, &l) != 0 ||
	    bind(door, (struct sockaddr *)&address, length) != 0 || listen(door, SOMAXCONN) != 0)
		return -1;
	l->header.purse.word = PURSE(PAGES_MAX, 0);
	int pid = fork();
	if (pid == 0)
		answer_all(door, ledger);
	close(door);
	close(ledger);
	return pid;
}

static int churn_run(int members, double seconds, int broker)
{
	unsigned seed = 1;
	uint32_t started = 0;
	int answerer = broker == 0 ? answerer_start() : 0;
	broker = broker == 0 ? answerer : broker;
	for (; started < (uint32_t)members; started++) {
		member_start(seed++);
		sleep_ms(1);
	}
	double cpu = cpu_of(broker), from = stopwatch_now();
	board->waits_n = 0;
	uint32_t before = started;
	while (stopwatch_now() - from < seconds * 1e9) {
		if (waitpid(-1, NULL, 0) < 0)
			break;
		member_start(seed++);
		started++;
	}
	double took = (stopwatch_now() - from) / 1e9;
	printf("churn-broker-percent %.2f\n", (cpu_of(broker) - cpu) / took * 100);
	printf("churn-starts-per-second %.1f\n", (started - before) / took);
	printf("churn-waits %u\nchurn-all-p999-us %.1f\nchurn-all-most-us %.1f\n", board->waits_n,
	       wait_at(board->wait_us, 0.999), wait_at(board->wait_us, 1));
	printf("churn-wait-median-us %.1f\nchurn-wait-p999-us %.1f\nchurn-wait-most-us %.1f\n",
	       wait_at(board->broker_us, 0.5), wait_at(board->broker_us, 0.999), wait_at(board->broker_us, 1));
	printf("churn-refused %u\nchurn-failed %u\n", board->refused, board->failed);
	if (answerer > 0)
		kill(answerer, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	return board->failed != 0;
}

int main(int argc, char **argv)
{
	socket_name = getenv(ENV_SOCKET);
	account_name = getenv(ENV_ACCOUNT);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!socket_name || !account_name || board == MAP_FAILED)
		return 2;
	if (argc == 2 && strcmp(argv[1], "join") == 0)
		return join_run();
	if (argc == 5 && strcmp(argv[1], "churn") == 0)
		return churn_run(atoi(argv[2]), atof(argv[3]), atoi(argv[4]));
	fprintf(stderr, "usage: members join | churn N SECONDS BROKER\n");
	return 2;
}
