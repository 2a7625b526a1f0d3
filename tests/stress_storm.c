/* SPDX-License-Identifier: MIT */
/* The whole, for as long as it is told to: a real broker, members of four accounts, and
 * SIGKILL for members and for the broker, at any moment and at the same one.
 *
 *              members by reserve/ alone    real programs under the shim
 *   generous   light-rich                     real-rich
 *   tight      light-poor                     real-poor
 *
 * A generous account is guaranteed all of its limit and can never come near it, so it needs no
 * broker: any refusal there is false, and so is any other failure. In a tight one requests are
 * refused all the time; a refusal is true if the account is full when it is said, to the page
 * (what comes and goes meanwhile makes a few seem false). While there is no broker a
 * process cannot join: it waits for the next one, two seconds in the case of the shim, and
 * since no broker is away for as long as that here, one that does not start for want of a
 * broker was refused falsely too.
 *
 * In the end every page is back: used is 0 in every account, the grant is what the policy
 * says, every slot and object is free, and nothing is left running.
 *
 * usage: stress_storm [SECONDS]    (3) */
#include <errno.h>
#include <sys/resource.h>

#include "reserve/refusal.h"
#include "tests/broker_process.h"
#include "tests/member_life.h"

enum { ACCOUNTS = LIFE_ACCOUNTS, VICTIMS = 8, STEPS = 1 << 30, CANNOT_START = 125, AWAY_MS = 400, EMPTY_MS = 10000 };

static const struct {
	const char *name;
	bool real, generous;
	double pause_ms; /* between two kills, on average */
} account[ACCOUNTS] = {
	{ "light-rich", false, true, 20 },
	{ "light-poor", false, false, 20 },
	{ "real-rich", true, true, 60 },
	{ "real-poor", true, false, 60 },
};

static const char *const configuration =
	"pool { limit = 200G }\n"
	"account light-rich { limit = 64G guarantee = 64G }\n"
	"account light-poor { limit = 32M guarantee = 4M }\n"
	"account real-rich { limit = 64G guarantee = 64G }\n"
	"account real-poor { limit = 48M guarantee = 4M }\n";

static struct board {
	struct life life;
	struct cell cell[ACCOUNTS][VICTIMS];
	uint32_t started[ACCOUNTS], killed[ACCOUNTS], cannot_start[ACCOUNTS];
} *board;

static char victim_path[4096], library_path[4096], errors_path[ACCOUNTS][64];

/* --- one account's victims, and who kills them --- */

static void light_run(int a, int v, uint32_t seed) __attribute__((noreturn));
static void light_run(int a, int v, uint32_t seed)
{
	life = &board->life;
	me = &board->cell[a][v];
	*me = (struct cell){ .account = (uint32_t)a };
	member_live(socket_path, account[a].name, v == 0, (uint64_t)seed << 20 | (uint64_t)getpid(), STEPS);
}

static void real_run(int a) __attribute__((noreturn));
static void real_run(int a)
{
	int errors = open(errors_path[a], O_WRONLY | O_APPEND | O_CREAT, 0600);
	dup2(errors, STDERR_FILENO);
	close(errors);
	setenv("LD_PRELOAD", library_path, 1);
	setenv(ENV_SOCKET, socket_path, 1);
	setenv(ENV_ACCOUNT, account[a].name, 1);
	setenv(ENV_NO_BROKER, "strict", 1);
	execl(victim_path, "storm", account[a].generous ? "--spoilt" : "--life", (char *)NULL);
	_exit(127);
}

static pid_t victim_start(int a, int v, uint32_t seed)
{
	pid_t pid = fork_tied();
	if (pid == 0 && account[a].real)
		real_run(a);
	if (pid == 0)
		light_run(a, v, seed);
	board->started[a]++;
	return pid;
}

/* Whoever was not killed has something to say: but a program may be too large for what is
 * left of a tight account. */
static void status_check(int a, int status)
{
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return;
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_START && !account[a].generous) {
		board->cannot_start[a]++;
		return;
	}
	if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
		printf("FAIL in %s a process ended with status %x\n", account[a].name, status);
		__atomic_fetch_add(&board->life.wrong, 1, __ATOMIC_RELAXED);
	}
}

/* Everybody's orphans are ours. */
static void ended_collect(int a, pid_t pids[VICTIMS])
{
	int status;
	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
		status_check(a, status);
		for (int v = 0; v < VICTIMS; v++)
			if (pids[v] == pid) {
				board->killed[a] += WIFSIGNALED(status);
				pids[v] = 0;
			}
	}
}

/* A child of `pid`, or `pid` itself where it has none. */
static pid_t child_of(pid_t pid)
{
	char path[64], text[256];
	snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	pid_t child = (pid_t)strtol(text, NULL, 10);
	return child > 0 ? child : pid;
}

static void killer_run(int a) __attribute__((noreturn));
static void killer_run(int a)
{
	pid_t pids[VICTIMS] = { 0 };
	uint32_t seed = (uint32_t)getpid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	broker = 0; /* not ours */
	while (!board->life.stop) {
		uint32_t v = random_below(&seed, VICTIMS);
		ended_collect(a, pids);
		if (pids[v] == 0) {
			pids[v] = victim_start(a, (int)v, seed);
			continue;
		}
		sleep_ms(account[a].pause_ms * random_below(&seed, 1000) / 500);
		kill(random_below(&seed, 4) == 0 ? child_of(pids[v]) : pids[v], SIGKILL);
	}
	family_kill(&seed);
	_exit(0);
}

/* --- what the accounts say --- */

/* Of the refusals recorded of real programs: how many were plausible when they were written. */
static struct {
	uint64_t next;
	uint32_t seen, implausible, other; /* other: a reason that has no place here */
} records[ACCOUNTS];

static void record_check(int a, const struct refusal *r, uint32_t granted)
{
	records[a].seen++;
	/* A program's own tables cannot grow either in an account that is full. */
	if (r->reason != REASON_LIMIT && r->reason != REASON_BROKER && r->reason != REASON_TABLE)
		records[a].other++;
	else if (r->used + pages_of(r->bytes) <= granted)
		records[a].implausible++;
}

static void records_read(int a, const struct ledger *l)
{
	uint64_t head = __atomic_load_n(&l->header.refusal_head, __ATOMIC_ACQUIRE);
	uint32_t granted = PURSE_GRANTED(purse_read(&l->header.purse));
	struct refusal r;
	for (uint64_t n = max_u64(records[a].next, head > LEDGER_REFUSALS ? head - LEDGER_REFUSALS : 0); n < head; n++)
		if (refusal_read(l, n, &r))
			record_check(a, &r, granted);
	records[a].next = head;
}

static void purses_check(int a, const struct ledger *l)
{
	for (uint32_t s = 0; s < LEDGER_SLOTS; s++) {
		uint64_t word = purse_read(&l->slot[s].purse);
		CHECK(PURSE_USED(word) <= PURSE_GRANTED(word), "%s: slot %u uses more than it was granted", account[a].name, s);
	}
	uint64_t word = purse_read(&l->header.purse);
	CHECK(PURSE_USED(word) <= PURSE_GRANTED(word) && PURSE_GRANTED(word) <= l->header.limit,
	      "%s: used %u granted %u limit %u", account[a].name, PURSE_USED(word), PURSE_GRANTED(word), l->header.limit);
}

/* --- brokers --- */

/* Killed at any moment of its life, the first included. */
static uint32_t broker_storm(struct ledger *l[ACCOUNTS], double until_ms)
{
	uint32_t killed = 0, seed = 4711;
	while (now_ms() < until_ms && failures == 0) {
		sleep_ms(300 + random_below(&seed, 2000));
		for (int a = 0; a < ACCOUNTS; a++) {
			records_read(a, l[a]);
			purses_check(a, l[a]);
		}
		broker_end(SIGKILL);
		killed++;
		sleep_ms(random_below(&seed, AWAY_MS));
		if (random_below(&seed, 4) == 0) { /* before it is ready */
			close(broker_launch());
			sleep_ms(random_below(&seed, 20));
			broker_end(SIGKILL);
			killed++;
		}
		broker_start();
	}
	return killed;
}

/* --- the end --- */

static bool is_empty(const struct ledger *l)
{
	for (uint32_t o = 0; o < LEDGER_OBJECTS; o++)
		if (OBJECT_KIND(l->object[o].state) != OBJECT_FREE || purse_read(&l->object[o].purse) != 0 ||
		    object_is_held(l, o))
			return false;
	return is_zero(l);
}

static void end_check(int a, const struct ledger *l)
{
	for (double from = now_ms(); !is_empty(l) && now_ms() - from < EMPTY_MS;)
		sleep_ms(1);
	uint64_t word = purse_read(&l->header.purse);
	uint32_t granted = PURSE_GRANTED(word);
	CHECK(is_empty(l), "%s is not empty: %u pages", account[a].name, PURSE_USED(word));
	CHECK(granted >= l->header.guarantee && granted <= l->header.limit, "%s was granted %u", account[a].name, granted);
	CHECK(!account[a].generous || granted == l->header.guarantee, "%s was granted %u", account[a].name, granted);
	if (!is_empty(l))
		explain(l);
	records_read(a, l);
	uint64_t refusals = __atomic_load_n(&l->header.refusal_count, __ATOMIC_RELAXED);
	CHECK(!account[a].generous || refusals == 0, "%s refused %llu requests", account[a].name,
	      (unsigned long long)refusals);
	CHECK(records[a].other == 0, "%s refused %u requests for another reason than its limit", account[a].name,
	      records[a].other);
	CHECK(records[a].implausible * 20 <= records[a].seen + 20, "%s: %u of %u refusals while there was room",
	      account[a].name, records[a].implausible, records[a].seen);
	printf("%-10s %6u started, %6u killed, %5u did not fit; %llu requests refused; of %u records %u early\n",
	       account[a].name, board->started[a], board->killed[a], board->cannot_start[a], (unsigned long long)refusals,
	       records[a].seen, records[a].implausible);
}

/* What programs wrote: that they were too large for a tight account, and nothing else. */
static void errors_check(int a)
{
	char line[1024];
	FILE *f = fopen(errors_path[a], "r");
	while (f && fgets(line, sizeof line, f))
		CHECK(!account[a].generous && strstr(line, "budget is too small"), "%s: %s", account[a].name, line);
	if (f)
		fclose(f);
	unlink(errors_path[a]);
}

static void log_check(void)
{
	char line[1024];
	FILE *f = fopen(log_path, "r");
	while (f && fgets(line, sizeof line, f))
		CHECK(!strstr(line, "written over") && !strstr(line, "not used") && !strstr(line, "not kept"), "%s", line);
	if (f)
		fclose(f);
}

/* The last keepers go by themselves, some seconds after the last member. */
static void keepers_check(void)
{
	double from = now_ms();
	pid_t pid;
	while ((pid = waitpid(-1, NULL, WNOHANG)) >= 0 && now_ms() - from < EMPTY_MS)
		sleep_ms(10);
	CHECK(pid < 0 && errno == ECHILD, "something was left running");
}

static void prepare(void)
{
	home_make(configuration);
	path_of("tests/programs/storm", victim_path, sizeof victim_path);
	path_of("libsolvent.so", library_path, sizeof library_path);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		abort();
	board->life.unattached_us = 300000;
	for (int a = 0; a < ACCOUNTS; a++) {
		board->life.generous[a] = account[a].generous;
		snprintf(errors_path[a], sizeof errors_path[a], "%s/errors.%d", home, a);
	}
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 3;
	struct ledger *l[ACCOUNTS];
	pid_t killer[ACCOUNTS];
	prepare();
	broker_start();
	for (int a = 0; a < ACCOUNTS; a++) {
		l[a] = view(account[a].name);
		if (!l[a])
			return 1;
		killer[a] = fork_tied();
		if (killer[a] == 0)
			killer_run(a);
	}
	uint32_t brokers = broker_storm(l, now_ms() + seconds * 1e3), members = 0;
	board->life.stop = true;
	for (int a = 0; a < ACCOUNTS; a++)
		waitpid(killer[a], NULL, 0);
	for (int a = 0; a < ACCOUNTS; a++) {
		end_check(a, l[a]);
		errors_check(a);
		members += board->killed[a];
	}
	CHECK(board->life.wrong == 0, "%u times: %s", board->life.wrong, board->life.sentence);
	CHECK(board->life.early * 50 <= board->life.refused + 50, "%u of %u refusals were said while there was room",
	      board->life.early, board->life.refused);
	broker_end(SIGTERM);
	log_check();
	keepers_check();
	home_remove();
	printf("%.0f s: %u members and %u brokers killed; %u requests of light members refused, %u of them early\n", seconds,
	       members, brokers, board->life.refused, board->life.early);
	printf(failures ? "%d checks failed\n" : "all well\n", failures);
	return failures != 0;
}
