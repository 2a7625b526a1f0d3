/* SPDX-License-Identifier: MIT */
/* Who is known for what: from a /proc that is played, whose processes have no pidfd, and of one real
 * process. */
#include "tests/broker_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/killer/killer.h"

TestSuite(census, .timeout = 30);

#define PID 999000001 /* and what follows: no kernel gives such numbers */
#define USER "Name:\tx\nUid:\t%d\t%d\t%d\t%d\n"

static char root[64];

__attribute__((format(printf, 3, 4))) static void file(int32_t pid, const char *name, const char *format, ...)
{
	char path[160], text[1024];
	va_list arguments;
	va_start(arguments, format);
	int n = vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	snprintf(path, sizeof path, pid ? "%s/%d/%s" : "%s/%.0d%s", root, pid, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert(fd >= 0 && write(fd, text, (size_t)n) == n, "%s", path);
	close(fd);
}

static void folder(int32_t pid, const char *name)
{
	char path[160];
	snprintf(path, sizeof path, "%s/%d/%s", root, pid, name);
	cr_assert(mkdir(path, 0700) == 0, "%s", path);
}

static void stat_is(int32_t pid, const char *comm, char state, unsigned flags, unsigned start)
{
	file(pid, "stat", "%d (%s) %c 1 100 100 0 -1 %u 1 2 3 4 5 6 7 8 20 0 1 0 %u 1000 200 18446744073709551615 "
	     "4096 8192 12288 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 16384 0 0 0 0\n", pid, comm, state, flags, start);
}

static void exe_is(int32_t pid, const char *to)
{
	char path[160];
	snprintf(path, sizeof path, "%s/%d/exe", root, pid);
	unlink(path);
	cr_assert(!to || symlink(to, path) == 0);
}

static void user_is(int32_t pid, int uid)
{
	file(pid, "status", USER, uid, uid, uid, uid);
}

static void holds(int32_t pid, unsigned mib)
{
	file(pid, "statm", "%u %u 0 1 0 %u 0\n", mib * 256 + 10, mib * 256, mib * 256);
}

/* The mount namespaces are files: the same one, or another. */
static void mounts_are(int32_t pid, const char *of)
{
	char from[160], to[160];
	folder(pid, "ns");
	snprintf(from, sizeof from, "%s/mounts-%s", root, of);
	snprintf(to, sizeof to, "%s/%d/ns/mnt", root, pid);
	file(0, strrchr(from, '/') + 1, "%s", of);
	cr_assert(link(from, to) == 0);
}

static void process(int32_t pid, const char *comm, const char *exe, const char *mounts)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%d", root, pid);
	cr_assert(mkdir(path, 0700) == 0);
	stat_is(pid, comm, 'S', 0, 4711);
	exe_is(pid, exe);
	user_is(pid, 7);
	holds(pid, 100);
	mounts_are(pid, mounts);
	file(pid, "oom_score_adj", "0\n");
	file(pid, "cgroup", "0::/\n");
}

/* The broker lives in mounts of its own. */
static void played_begin(const char *rules)
{
	char text[512], path[128];
	snprintf(text, sizeof text, "watch { }\n%s", rules);
	broker_begin(text);
	snprintf(root, sizeof root, "/tmp/solvent-census-XXXXXX");
	cr_assert(mkdtemp(root) != NULL && proc_open(root) == 0);
	process(1, "init", "/sbin/init", "host");
	snprintf(path, sizeof path, "%s/self", root);
	cr_assert(mkdir(path, 0700) == 0);
	strcat(path, "/ns");
	cr_assert(mkdir(path, 0700) == 0);
	file(0, "self/ns/mnt", "ours");
	b.uid = 0; /* whoever runs the test, it is the administrator's broker */
	census_end(&b.killer.census, &b.killer.roll);
	census_begin(&b.killer.census, &b.killer.roll, 0);
	census_judge(&b);
}

static void played_end(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	cr_assert(system(command) == 0 && proc_open("/proc") == 0);
}

static struct candidate *known(int32_t pid)
{
	uint32_t i = census_find(&b.killer.census, &b.killer.roll, pid);
	cr_assert(i < ROLL, "%d is not known", pid);
	return &b.killer.roll.candidate[i];
}

#define POSTGRES "rule { match-exe = \"/usr/lib/postgresql/*/bin/postgres\" action = never }\n" \
		 "rule { unmanaged = true action = kill }\n"

Test(census, a_service_managers_mounts_change_no_files_name)
{
	played_begin(POSTGRES);
	process(PID, "postgres", "/usr/lib/postgresql/15/bin/postgres", "host");
	process(PID + 1, "postgres", "/usr/lib/postgresql/15/bin/postgres", "container");
	process(PID + 2, "other", "/usr/bin/other", "host");
	process(PID + 3, "postgres", "/usr/lib/postgresql/15/bin/postgres (deleted)", "host");
	census_walk(&b);
	cr_assert(known(PID)->rules == 3, "its path means what it says");
	cr_assert(known(PID + 1)->rules == 2, "in a container's files it may be anything");
	cr_assert(known(PID + 2)->rules == 2);
	cr_assert(known(PID + 3)->rules == 3, "it was replaced since");
	played_end();
}

Test(census, who_calls_execve_is_looked_at_again)
{
	played_begin(POSTGRES "rule { match-user = 9 action = kill }\n");
	process(PID, "sh", "/bin/dash", "host");
	census_walk(&b);
	cr_assert(known(PID)->rules == 2);
	exe_is(PID, "/usr/lib/postgresql/15/bin/postgres");
	user_is(PID, 9);
	stat_is(PID, "postgres", 'S', 0, 4711);
	census_hear(&b, PID);
	cr_assert(known(PID)->rules == 7 && strcmp(known(PID)->comm, "postgres") == 0);
	census_hear(&b, PID + 1); /* nobody */
	played_end();
}

Test(census, whose_first_thread_has_ended_is_what_it_was)
{
	played_begin(POSTGRES);
	process(PID, "postgres", "/usr/lib/postgresql/15/bin/postgres", "host");
	census_walk(&b);
	exe_is(PID, NULL);
	stat_is(PID, "postgres", 'Z', 0, 4711);
	b.now_ns++;
	census_review(&b, ROLL);
	cr_assert(known(PID)->rules == 3);
	played_end();
}

Test(census, a_pid_that_was_a_kernel_threads_is_not_immune)
{
	played_begin(POSTGRES);
	process(PID, "kworker/0:0", NULL, "host");
	process(PID + 1, "other", "/usr/bin/other", "host");
	stat_is(PID, "kworker/0:0", 'I', PROC_KERNEL_THREAD, 100);
	census_walk(&b);
	cr_assert(known(PID)->exempt == EXEMPT_KERNEL);
	stat_is(PID, "hog", 'R', 0, 5000);
	exe_is(PID, "/usr/bin/hog");
	b.now_ns++;
	census_review(&b, 2);
	census_walk(&b);
	cr_assert(known(PID)->exempt == EXEMPT_NOT && known(PID)->rules == 2);
	/* The same where no descriptor said that the first is gone. */
	stat_is(PID, "another", 'R', 0, 6000);
	b.now_ns++;
	census_review(&b, 3);
	census_walk(&b);
	cr_assert(known(PID)->start_ticks == 6000 && strcmp(known(PID)->comm, "another") == 0);
	played_end();
}

static void group_is(int32_t pid, const char *path)
{
	file(pid, "cgroup", "5:freezer:/frozen\n4:memory:%s\n0::/unified\n", path);
}

/* By the group that counts its memory, and the groups below that; and whoever is moved is known anew. */
Test(census, who_is_in_a_control_group_is_known_by_it)
{
	played_begin("rule { match-cgroup = \"/user.slice/*.scope\" action = never }\n"
		     "rule { match-cgroup = /db action = kill }\nrule { match-cgroup = /frozen action = kill }\n"
		     "rule { match-cgroup = /unified action = kill }\n");
	static const struct {
		const char *path;
		uint64_t rules;
	} table[] = {
		{ "/db", 2 }, { "/db/replica", 2 }, { "/dbx", 0 }, { "/", 0 }, { "/user.slice/a.scope", 1 },
		{ "/user.slice/a.scope/tab", 1 }, { "/user.slice/a.service", 0 }, { "/a/db", 0 },
	};
	for (int32_t i = 0; i < (int32_t)ARRAY_N(table); i++) {
		process(PID + i, "any", "/usr/bin/any", "host");
		group_is(PID + i, table[i].path);
	}
	census_walk(&b);
	for (int32_t i = 0; i < (int32_t)ARRAY_N(table); i++)
		cr_assert(known(PID + i)->rules == table[i].rules, "%s: %lx", table[i].path, known(PID + i)->rules);
	group_is(PID, "/user.slice/a.scope");
	b.now_ns++;
	census_locate(&b, 0);
	cr_assert(known(PID)->rules == 1, "it was moved");
	played_end();
}

/* --- who grew since they were last looked at --- */

Test(census, whoever_is_chosen_for_how_fast_memory_falls_is_measured_first)
{
	played_begin("rule { unmanaged = true action = kill signal = SIGKILL }\n");
	b.config.watch[0] = (struct watch_policy){ .warn = { .ppm = 500000 }, .act = { .ppm = 10000 },
						   .exhaustion_ns = 5000 * NS_PER_MS };
	b.killer.dry = true;
	process(PID, "hog", "/usr/bin/hog", "host");
	process(PID + 1, "large", "/usr/bin/large", "host");
	holds(PID, 30);
	holds(PID + 1, 200);
	census_walk(&b);
	b.killer.muster_ns = b.now_ns; /* everybody was counted; not what they hold */
	struct reading r = { .now_ns = b.now_ns, .total = 1 << 18, .available = (1 << 18) - (230 << 8) };
	killer_step(&b, 0, &r);
	cr_assert(b.killer.watched[0].ladder.gauge.pressure == PRESSURE_NONE);
	holds(PID, 700);
	r.now_ns += 100 * NS_PER_MS;
	r.available -= 670 << 8;
	killer_step(&b, 0, &r);
	cr_assert(b.killer.watched[0].ladder.gauge.soon && b.killer.watched[0].ladder.victim.pid == PID, "%d",
		  b.killer.watched[0].ladder.victim.pid);
	played_end();
}

/* --- a real one --- */

static void *sleep_on(void *fd)
{
	char byte;
	return (void *)(intptr_t)read(*(int *)fd, &byte, 1);
}

static void headless_run(int pipes[2][2], int line) __attribute__((noreturn));
static void headless_run(int pipes[2][2], int line)
{
	pthread_t t;
	pid_t pid = getpid();
	pthread_create(&t, NULL, sleep_on, &pipes[0][0]);
	pthread_create(&t, NULL, sleep_on, &pipes[1][0]);
	if (write(line, &pid, sizeof pid) != sizeof pid)
		_exit(1);
	pthread_exit(NULL);
}

/* Not our child: those of the broker are never touched. Its first thread ends at once, each of two
 * others when something is written to its pipe. */
static pid_t headless_make(int pipes[2][2])
{
	int line[2];
	pid_t pid = 0;
	cr_assert(pipe(line) == 0 && pipe(pipes[0]) == 0 && pipe(pipes[1]) == 0);
	pid_t between = fork_tied();
	if (between == 0) {
		if (fork_untied() == 0)
			headless_run(pipes, line[1]);
		_exit(0);
	}
	waitpid(between, NULL, 0);
	cr_assert(read(line[0], &pid, sizeof pid) == sizeof pid);
	return pid;
}

static bool has_threads(pid_t pid, uint32_t wanted)
{
	struct proc_walk w;
	uint32_t n = 0;
	cr_assert(proc_walk_threads(&w, pid) == 0);
	while (proc_walk_next(&w) != 0)
		n++;
	proc_walk_close(&w);
	return n == wanted;
}

/* One of two ends; the process, which holds memory, does not. */
Test(census, the_end_of_one_thread_is_not_that_of_its_process)
{
	int pipes[2][2];
	broker_begin("watch { }\nrule { unmanaged = true action = kill }\n");
	b.killer.dry = true;
	pid_t pid = headless_make(pipes);
	until(has_threads(pid, 3), pause_ms); /* the first stays, as a zombie */
	pause_ms(50);
	killer_refresh(&b);
	cr_assert(known(pid)->held > 0);
	cr_assert(write(pipes[0][1], "x", 1) == 1);
	until(has_threads(pid, 2), pause_ms);
	census_measure(&b);
	cr_assert(known(pid)->held > 0, "it is measured by the other");
	cr_assert(write(pipes[1][1], "x", 1) == 1);
	until(kill(pid, 0) != 0, pause_ms);
	census_measure(&b);
	cr_assert(census_find(&b.killer.census, &b.killer.roll, pid) == ROLL);
}
