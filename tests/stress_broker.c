/* SPDX-License-Identifier: MIT */
/* The broker against what must not matter: members killed at any instruction, a broker
 * killed while they run, a member that writes over its ledger, ten thousand connections
 * that say nothing.
 *
 * usage: stress_broker [STORM_MEMBERS [SCRIBBLE_SECONDS]]    (2000, 3) */
#include <sys/resource.h>

#include "reserve/transfer.h"
#include "tests/broker_process.h"

#define DEADLINE_MS 100 /* from the last death to an account of exactly 0 */
#define LIMIT_PAGES (1u << 20)

/* User and system time of the broker, in ms. */
static double broker_cpu_ms(void)
{
	char path[64], text[512];
	snprintf(path, sizeof path, "/proc/%d/stat", broker);
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	unsigned long user = 0, system_ = 0;
	const char *after = strrchr(text, ')');
	if (after)
		sscanf(after + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system_);
	return (double)(user + system_) * 1e3 / (double)sysconf(_SC_CLK_TCK);
}

/* How long a process was ready to run and did not, in ms. */
static double kept_ms(pid_t pid)
{
	char path[64];
	unsigned long long ran, kept = 0;
	snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
	FILE *f = fopen(path, "r");
	if (!f || fscanf(f, "%llu %llu", &ran, &kept) != 2)
		kept = 0;
	if (f)
		fclose(f);
	return (double)kept / 1e6;
}

static long broker_rss_kib(void)
{
	char path[64];
	long total = 0, resident = 0;
	snprintf(path, sizeof path, "/proc/%d/statm", broker);
	FILE *f = fopen(path, "r");
	if (!f || fscanf(f, "%ld %ld", &total, &resident) != 2)
		resident = 0;
	if (f)
		fclose(f);
	return resident * 4;
}

/* Of the broker, and of us who look. */
static double both_kept_ms(void)
{
	return kept_ms(broker) + kept_ms(getpid());
}

/* How long until the account is seen to be empty, less what others on this machine kept either
 * from running. Gives up after 3 s. */
static double zero_after_ms(const struct ledger *l)
{
	double from = now_ms(), kept = both_kept_ms();
	while (!is_zero(l) && now_ms() - from < 3000)
		sleep_ms(0.5);
	double took = now_ms() - from - (both_kept_ms() - kept);
	return took > 0 ? took : 0;
}

/* A process that joins and ends. The answer: 0 or enum status. */
static int join_once(const char *account)
{
	pid_t pid = fork_tied();
	if (pid == 0) {
		struct peer_member m;
		int status = peer_join(socket_path, account, &m);
		_exit(status < 0 ? 255 : status);
	}
	int status = 0;
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* --- members that are going to be killed --- */

/* Something that moves pages, chosen at random. */
static void member_step(struct peer_member *m, uint32_t *seed, int *births)
{
	struct gather g = peer_gather(m);
	struct purse *own = &m->ledger->slot[m->slot].purse;
	uint32_t used = PURSE_USED(purse_read(own));
	int object;
	pid_t child;
	switch (random_below(seed, 8)) {
	case 0:
	case 1:
	case 2:
		gather_take(&g, 1 + random_below(seed, 600));
		break;
	case 3:
	case 4:
		purse_give(own, random_below(seed, used + 1));
		break;
	case 5:
		gather_trim(&g);
		break;
	case 6:
		object = used > 8 ? object_claim(m->ledger, m->slot) : -1;
		if (object >= 0) {
			transfer_to_object(m->ledger, m->slot, (uint32_t)object, 0, 1 + random_below(seed, 7));
			object_publish(m->ledger, (uint32_t)object, OBJECT_ANON, 0, 0);
		}
		break;
	default:
		child = *births > 0 && random_below(seed, 8) == 0 ? peer_fork(m) : -1;
		*births -= child >= 0;
		if (child == 0) {
			alarm(5); /* nobody may be there any more to kill it; and this moment is as good as any */
			*seed += (uint32_t)getpid();
		}
	}
}

static void member_run(uint32_t seed) __attribute__((noreturn));
static void member_run(uint32_t seed)
{
	struct peer_member m;
	int births = 3; /* of each line: a family stays below 2^3 */
	if (peer_join(socket_path, "storm", &m) != 0)
		_exit(NOT_LET_IN);
	for (;;)
		member_step(&m, &seed, &births);
}

/* Members in waves, each killed after a moment of its own; a broker killed and restarted
 * in some of the waves. */
static void storm(uint32_t members, bool kill_broker)
{
	uint32_t seed = 12345, wave = 32;
	double worst = 0, total = 0;
	uint32_t waves = 0;
	struct ledger *l = view("storm");
	if (!l)
		return;
	uint64_t joins = l->header.joins, forks = l->header.forks;
	outsiders = 0;
	for (uint32_t done = 0; done < members; done += wave, waves++) {
		pid_t pid[64];
		for (uint32_t i = 0; i < wave; i++)
			if ((pid[i] = fork_tied()) == 0)
				member_run(seed + i * 7919 + done);
		for (uint32_t i = 0; i < wave; i++) {
			sleep_ms((double)random_below(&seed, 1000) / 1000);
			kill(pid[i], SIGKILL);
			if (kill_broker && i == wave / 2) {
				broker_end(SIGKILL);
				broker_start();
			}
		}
		family_kill(&seed);
		double ms = zero_after_ms(l);
		total += ms;
		worst = ms > worst ? ms : worst;
		if (ms > 1000)
			explain(l);
	}
	joins = l->header.joins - joins;
	forks = l->header.forks - forks;
	printf("storm%s: %u members, %llu joins, %llu forks: account at 0 after %.2f ms on average, %.2f ms at worst\n",
	       kill_broker ? " with brokers killed" : "", members, (unsigned long long)joins, (unsigned long long)forks,
	       total / waves, worst);
	CHECK(kill_broker || outsiders == 0, "%u members were not let in", outsiders);
	CHECK(joins > 0 && forks > 0, "nothing was charged that could come back");
	CHECK(worst < DEADLINE_MS, "the account came back after %.1f ms", worst);
	ledger_unmap(l);
}

/* As many as there are, killed by one signal. */
static void crowd_dies(uint32_t n)
{
	int line[2];
	char said[64];
	pid_t group = 0;
	if (pipe(line) != 0)
		abort();
	for (uint32_t i = 0; i < n; i++) {
		pid_t pid = fork_tied();
		if (pid == 0) {
			struct peer_member m;
			bool ok = peer_join(socket_path, "storm", &m) == 0 && peer_take(&m, 1 + i % 50) == REASON_NONE;
			if (write(line[1], ok ? "y" : "n", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		setpgid(pid, group);
		group = group ? group : pid;
	}
	for (uint32_t i = 0, no = 0; i < n && no == 0; i++) {
		no = read(line[0], said, 1) != 1 || said[0] != 'y';
		CHECK(!no, "one of the crowd did not get in");
	}
	struct ledger *l = view("storm");
	CHECK(members_of("storm") == n, "%u of %u are watched", members_of("storm"), n);
	kill(-group, SIGKILL);
	while (waitpid(-group, NULL, 0) > 0)
		;
	double ms = zero_after_ms(l);
	CHECK(ms < DEADLINE_MS, "the account came back after %.1f ms", ms);
	printf("crowd: %u members killed by one signal; account at 0 %.2f ms after the last was waited for\n", n, ms);
	ledger_unmap(l);
	close(line[0]);
	close(line[1]);
}

/* --- a broker killed under members that sit still --- */

/* The members of an account, once there are `wanted`: of children it hears when it looks. */
static uint32_t members_settled(const char *account, uint32_t wanted)
{
	uint32_t n;
	for (double from = now_ms(); (n = members_of(account)) != wanted && now_ms() - from < 5000;)
		sleep_ms(5);
	return n;
}

static void restart(void)
{
	enum { N = 40 };
	pid_t pid[N];
	int line[2];
	if (pipe(line) != 0)
		abort();
	for (uint32_t i = 0; i < N; i++) {
		if ((pid[i] = fork_tied()) != 0)
			continue;
		struct peer_member m;
		bool ok = peer_join(socket_path, "quiet", &m) == 0 && peer_take(&m, 100 + i) == REASON_NONE;
		if (i % 4 == 0 && ok && peer_fork(&m) == 0) {
			untied_end_soon();
			for (;;)
				pause();
		}
		if (write(line[1], ok ? "y" : "n", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	for (uint32_t i = 0; i < N; i++) {
		char said = 'n';
		CHECK(read(line[0], &said, 1) == 1 && said == 'y', "member %u did not get in", i);
	}
	uint32_t members = members_settled("quiet", N + N / 4);
	struct ledger *before = view("quiet"), *after = NULL;
	uint32_t used = PURSE_USED(purse_read(&before->header.purse));
	CHECK(members == N + N / 4, "%u members are watched, not %d", members, N + N / 4);
	broker_end(SIGKILL);
	kill(pid[1], SIGKILL); /* one dies while there is no broker */
	waitpid(pid[1], NULL, 0);
	double from = now_ms();
	broker_start();
	double took = now_ms() - from;
	after = view("quiet");
	uint32_t gone = members - members_of("quiet");
	CHECK(gone == 1, "%u members were lost, one had died", gone);
	uint32_t used_after = PURSE_USED(purse_read(&after->header.purse));
	CHECK(used_after < used && used - used_after >= 101, "used %u became %u", used, used_after);
	for (uint32_t i = 0; i < N; i++)
		kill(pid[i], SIGKILL);
	uint32_t seed = 1;
	family_kill(&seed);
	double ms = zero_after_ms(after);
	CHECK(ms < DEADLINE_MS, "the account came back after %.1f ms", ms);
	printf("restart: %u members found again in %.1f ms; account at 0 after %.2f ms\n", members - 1, took, ms);
	ledger_unmap(before);
	ledger_unmap(after);
	close(line[0]);
	close(line[1]);
}

/* --- a member that writes over everything --- */

static void scribble_run(bool hammer) __attribute__((noreturn));
static void scribble_run(bool hammer)
{
	struct peer_member m;
	uint32_t seed = (uint32_t)getpid();
	if (peer_join(socket_path, "bad", &m) != 0)
		_exit(2);
	/* The purse alone, as fast as it goes; or bytes all over. */
	while (hammer)
		__atomic_fetch_add(&m.ledger->header.purse.word, 1, __ATOMIC_RELAXED);
	for (;;) {
		uint8_t *at = (uint8_t *)m.ledger + random_below(&seed, (uint32_t)LEDGER_BYTES - 64);
		uint32_t n = 1 + random_below(&seed, 64);
		for (uint32_t i = 0; i < n; i++)
			at[i] = (uint8_t)random_below(&seed, 256);
	}
}

/* The neighbour: exactly what it is guaranteed, again and again. */
static int neighbour(double until_ms)
{
	struct peer_member m;
	uint32_t guarantee, rounds = 0;
	if (peer_join(socket_path, "good", &m) != 0)
		return 2;
	guarantee = m.ledger->header.guarantee;
	struct purse *own = &m.ledger->slot[m.slot].purse;
	while (now_ms() < until_ms) {
		if (peer_take(&m, guarantee) != REASON_NONE)
			return 3;
		if (PURSE_USED(purse_read(own)) != guarantee)
			return 4;
		purse_give(own, guarantee);
		if (++rounds % 64 == 0)
			sleep_ms(1);
	}
	return rounds > 0 ? 0 : 5;
}

static void scribble(double seconds, bool hammer)
{
	struct reply_account r;
	double cpu = broker_cpu_ms(), until = now_ms() + seconds * 1e3;
	pid_t bad = fork_tied(), good;
	if (bad == 0)
		scribble_run(hammer);
	if ((good = fork_tied()) == 0)
		_exit(neighbour(until));
	int status = 0, joined;
	waitpid(good, &status, 0);
	CHECK(status == 0, "the neighbour was disturbed: %d", WEXITSTATUS(status));
	cpu = broker_cpu_ms() - cpu;
	peer_look(socket_path, "bad", &r, NULL);
	CHECK(r.damaged, "the damage was not seen");
	joined = join_once("bad");
	CHECK(joined == STATUS_DAMAGED, "a join was answered %d", joined);
	kill(bad, SIGKILL);
	waitpid(bad, NULL, 0);
	double from = now_ms(), healed;
	do {
		sleep_ms(5);
		peer_look(socket_path, "bad", &r, NULL);
		healed = now_ms() - from;
	} while (r.damaged && healed < 5000);
	CHECK(!r.damaged, "the account did not heal");
	struct ledger *l = view("bad");
	CHECK(l && is_zero(l) && PURSE_GRANTED(purse_read(&l->header.purse)) == l->header.guarantee,
	      "the account is not as it was");
	joined = join_once("bad");
	CHECK(joined == 0, "nobody may join after it healed: %d", joined);
	CHECK(cpu < seconds * 100, "the broker used %.0f ms of CPU in %.0f s", cpu, seconds);
	printf("scribble%s: %.0f s, the broker used %.0f ms of CPU; healed %.0f ms after the last process\n",
	       hammer ? " the purse" : "", seconds, cpu, healed);
	ledger_unmap(l);
}

/* --- silence --- */

static void flood(void)
{
	enum { N = 10000 };
	struct rlimit files;
	struct sockaddr_un address;
	uint32_t length = 0, joins = 0, wrong = 0;
	double worst = 0;
	int ready[2];
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	protocol_address(socket_path, &address, &length);
	if (pipe(ready) != 0)
		abort();
	pid_t crowd = fork_tied();
	if (crowd == 0) {
		for (int i = 0; i < N; i++) {
			int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
			if (connect(fd, (struct sockaddr *)&address, length) != 0)
				_exit(1);
		}
		if (write(ready[1], "y", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	fcntl(ready[0], F_SETFL, O_NONBLOCK);
	char byte;
	double from = now_ms(), took = 0;
	while (took == 0 && now_ms() - from < 20000) {
		double begun = now_ms();
		joins++;
		wrong += join_once("good") != 0;
		worst = now_ms() - begun > worst ? now_ms() - begun : worst;
		if (read(ready[0], &byte, 1) == 1)
			took = now_ms() - from;
	}
	CHECK(took > 0, "the crowd could not connect");
	CHECK(wrong == 0, "%u of %u joins failed", wrong, joins);
	printf("flood: %d silent connections in %.0f ms; %u joins meanwhile, the slowest took %.1f ms\n", N, took, joins,
	       worst);
	kill(crowd, SIGKILL);
	waitpid(crowd, NULL, 0);
	close(ready[0]);
}

/* --- figures --- */

static void figures(void)
{
	enum { N = 2000 };
	double cpu = broker_cpu_ms(), from = now_ms();
	double *inside = mmap(NULL, sizeof *inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < N; i++) {
		pid_t pid = fork_tied();
		if (pid == 0) {
			struct peer_member m;
			double begun = now_ms();
			int status = peer_join(socket_path, "quiet", &m);
			*inside += now_ms() - begun;
			_exit(status != 0);
		}
		int status = 0;
		waitpid(pid, &status, 0);
		if (status != 0) {
			CHECK(false, "a join failed");
			break;
		}
	}
	printf("join and leave: %.1f us for the member, %.1f us of the broker's CPU; %.0f us with the process; "
	       "resident %ld KiB\n", *inside / N * 1e3, (broker_cpu_ms() - cpu) / N * 1e3, (now_ms() - from) / N * 1e3,
	       broker_rss_kib());
}

/* Nobody but the one who wrote over its ledger was taken for one who did. */
static void log_check(void)
{
	char line[1024];
	FILE *f = fopen(log_path, "r");
	while (f && fgets(line, sizeof line, f)) {
		CHECK(!strstr(line, "written over") || strstr(line, "account \"bad\""), "%s", line);
		CHECK(!strstr(line, "keeper"), "%s", line);
	}
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	uint32_t members = argc > 1 ? (uint32_t)atoi(argv[1]) : 2000;
	double seconds = argc > 2 ? atof(argv[2]) : 3;
	char config[512];
	snprintf(config, sizeof config,
		 "pool { limit = 64G }\naccount storm { limit = %uK }\naccount quiet { limit = 1G }\n"
		 "account good { limit = 64M guarantee = 64M }\naccount bad { limit = 64M guarantee = 1M }\n", LIMIT_PAGES * 4);
	home_make(config);
	broker_start();
	figures();
	storm(members, false);
	storm(members / 10, true);
	crowd_dies(members / 2);
	restart();
	scribble(seconds, false);
	scribble(seconds, true);
	flood();
	broker_end(SIGTERM);
	log_check();
	home_remove();
	printf(failures ? "%d checks failed\n" : "all well\n", failures);
	return failures != 0;
}
