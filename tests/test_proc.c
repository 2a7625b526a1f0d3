/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/proc.h"

static char root[64];

static void world_begin(void)
{
	snprintf(root, sizeof root, "/tmp/solvent-proc-XXXXXX");
	cr_assert(mkdtemp(root) != NULL);
	cr_assert(proc_open(root) == 0);
}

static void world_end(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", root);
	cr_assert(system(command) == 0);
}

TestSuite(proc, .timeout = 20, .init = world_begin, .fini = world_end);

/* /proc/PID/NAME, or /proc/NAME with pid 0, holds `text`. */
static void file(int pid, const char *name, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%d", root, pid);
	if (pid)
		mkdir(path, 0700);
	snprintf(path, sizeof path, pid ? "%s/%d/%s" : "%s/%.0d%s", root, pid, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* /proc/self/fdinfo/FD holds `text`. */
static void descriptor(int number, const char *text)
{
	char path[128];
	snprintf(path, sizeof path, "%s/self", root);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "%s/self/fdinfo", root);
	mkdir(path, 0700);
	snprintf(path, sizeof path, "self/fdinfo/%d", number);
	file(0, path, text);
}

#define REST " 7 100 100 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1000 200 18446744073709551615\n"

Test(proc, reads_the_parent_and_the_start_whatever_the_name)
{
	static const struct {
		const char *stat, *comm;
		char state;
	} table[] = {
		{ "100 (postgres) S" REST, "postgres", 'S' },   { "100 (a b) R" REST, "a b", 'R' },
		{ "100 (()()()) Z" REST, "()()()", 'Z' },       { "100 () D" REST, "", 'D' },
		{ "100 () S 1 1 1 1) X" REST, ") S 1 1 1 1", 'X' },
		{ "100 (fifteen-letters) S" REST, "fifteen-letters", 'S' },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		struct proc_stat st;
		file(100, "stat", table[i].stat);
		cr_assert(proc_stat(100, &st) == 0, "%s", table[i].stat);
		cr_assert_str_eq(st.comm, table[i].comm);
		cr_assert(st.state == table[i].state && st.parent == 7 && st.start_ticks == 4711, "%s: %d %lu",
			  table[i].stat, st.parent, st.start_ticks);
	}
}

Test(proc, says_no_to_what_is_no_process)
{
	static const char *const stats[] = { "", "100", "100 (", "100 (x", "100 (x)", ")(" };
	struct proc_stat st;
	uid_t uid;
	cr_assert(proc_stat(99, &st) == -ENOENT);
	cr_assert(proc_uid(99, &uid) == -ENOENT);
	cr_assert(proc_maps(99, 1, 1) == -ENOENT);
	cr_assert(!proc_in_cgroup(99, "/"));
	for (size_t i = 0; i < ARRAY_N(stats); i++) {
		file(100, "stat", stats[i]);
		cr_assert(proc_stat(100, &st) < 0, "%s", stats[i]);
	}
}

Test(proc, tells_the_user_and_the_namespace)
{
	uid_t uid = 7;
	file(100, "status", "Name:\tUid:\t\nUmask:\t0022\nUid:\t33\t34\t35\t36\nNSpid:\t100\nThreads:\t1\n");
	cr_assert(proc_uid(100, &uid) == 0 && uid == 33);
	cr_assert(!proc_is_foreign(100, 5));
	file(101, "status", "Name:\tx\nUid:\t0\t0\t0\t0\nNSpid:\t101\t5\n");
	cr_assert(proc_is_foreign(101, 5));
}

Test(proc, asks_the_pidfd_before_the_pid)
{
	file(101, "status", "NSpid:\t101\t5\n");
	file(102, "status", "NSpid:\t102\n");
	descriptor(5, "pos:\t0\nPid:\t102\nNSpid:\t102\t5\n");
	descriptor(6, "pos:\t0\nPid:\t101\nNSpid:\t101\n");
	descriptor(7, "pos:\t0\nPid:\t-1\nNSpid:\t-1\n"); /* gone */
	descriptor(8, "pos:\t0\n"); /* no pidfd, or a kernel without namespaces */
	cr_assert(proc_is_foreign(102, 5));
	cr_assert(!proc_is_foreign(101, 6));
	cr_assert(!proc_is_foreign(101, 7));
	cr_assert(proc_is_foreign(101, 8) && !proc_is_foreign(102, 8));
}

Test(proc, finds_writers_of_one_ledger_and_no_others)
{
	static const struct {
		const char *maps;
		int found;
	} table[] = {
		{ "", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n", 1 },
		{ "7f0000000000-7f0000200000 r--s 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:01 2050    /memfd:solvent-ledger (deleted)\n", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:01 20490   /memfd:solvent-ledger (deleted)\n", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /memfd:other (deleted)\n", 0 },
		{ "garbage /memfd:solvent-ledger\n", 0 },
		/* a reader's, copied when written */
		{ "7f0000000000-7f0000200000 rw-p 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n", 0 },
		/* somebody's own file, of that name and number */
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:1b 2049    /tmp/memfd:solvent-ledger\n", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:1b 2049    /memfd:solvent-ledger (deleted)\n", 0 },
		{ "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /tmp/memfd:solvent-ledger\n", 0 },
		{ "5500-5600 r-xp 00000000 08:01 7 /bin/x\n"
		  "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n"
		  "7fff00-7fff10 rw-p 00000000 00:00 0 [stack]\n", 1 },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		file(100, "maps", table[i].maps);
		cr_assert(proc_maps(100, makedev(0, 1), 2049) == table[i].found, "row %zu", i);
	}
}

Test(proc, finds_it_behind_any_number_of_other_mappings)
{
	static char text[400000];
	const char *last = "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n";
	for (int lines = 0; lines < 3000; lines += 137) {
		size_t n = 0;
		for (int i = 0; i < lines; i++)
			n += (size_t)sprintf(text + n, "5500%08x-5600%08x r-xp 00000000 08:01 7 /usr/lib/some/library-%d.so\n",
					     i, i, i);
		strcpy(text + n, last);
		file(100, "maps", text);
		cr_assert(proc_maps(100, makedev(0, 1), 2049) == 1, "%d lines before it", lines);
		cr_assert(proc_maps(100, makedev(0, 1), 2048) == 0, "%d lines before it", lines);
	}
}

/* Who names a file chooses what stands in a line, and how long it is. */
Test(proc, takes_no_rest_of_a_line_that_is_too_long_for_a_line)
{
	static char text[100000];
	const char *line = "7f0000000000-7f0000200000 rw-s 00000000 00:01 2049    /memfd:solvent-ledger (deleted)\n";
	/* Around whatever a buffer may have been full after: multiples of 16 KiB. */
	for (size_t length = 16300; length < 66000; length += length % 16400 == 0 ? 16300 : 1) {
		memset(text, 'x', length);
		strcpy(text + length, line);
		file(100, "maps", text);
		cr_assert(proc_maps(100, makedev(0, 1), 2049) == 0, "behind %zu bytes", length);
		if (length % 100 != 0)
			continue;
		text[length - 1] = '\n';
		file(100, "maps", text);
		cr_assert(proc_maps(100, makedev(0, 1), 2049) == 1, "after a line of %zu bytes", length - 1);
	}
}

Test(proc, gives_up_a_list_that_takes_too_long)
{
	char path[128];
	file(100, "maps", "");
	snprintf(path, sizeof path, "%s/100/maps", root);
	cr_assert(truncate(path, (off_t)1 << 34) == 0);
	uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	cr_assert_eq(proc_maps(100, makedev(0, 1), 2049), -ETIME);
	cr_assert(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns < 10 * PROC_MAPS_NS);
}

/* The kernel is asked, where it can be. */
Test(proc, finds_the_writers_there_are)
{
	struct stat st;
	cr_assert(proc_open("/proc") == 0);
	int fd = memfd_create("solvent-ledger", 0);
	cr_assert(fd >= 0 && ftruncate(fd, 3 * 4096) == 0 && fstat(fd, &st) == 0);
	cr_assert_eq(proc_maps(getpid(), st.st_dev, st.st_ino), 0);
	cr_assert(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	cr_assert(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0) != MAP_FAILED);
	cr_assert_eq(proc_maps(getpid(), st.st_dev, st.st_ino), 0);
	int other = memfd_create("solvent-ledger", 0);
	cr_assert(ftruncate(other, 4096) == 0);
	cr_assert(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0) != MAP_FAILED);
	cr_assert_eq(proc_maps(getpid(), st.st_dev, st.st_ino), 0);
	cr_assert(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	cr_assert_eq(proc_maps(getpid(), st.st_dev, st.st_ino), 1);
}

Test(proc, knows_a_cgroup_by_whole_names)
{
	file(100, "cgroup", "9:name=systemd:/system.slice/pg.service\n4:memory:/a:b/c\n0::/user.slice\n");
	static const struct {
		const char *prefix;
		bool in;
	} table[] = {
		{ "/system.slice", true },	{ "/system.slice/", true },	{ "/system.slice/pg.service", true },
		{ "/system.slice/pg", false },	{ "/system", false },		{ "/a:b", true },
		{ "/a:b/c", true },		{ "/a", false },		{ "/user.slice", true },
		{ "/user.slice/x", false },	{ "/", true },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(proc_in_cgroup(100, table[i].prefix) == table[i].in, "%s", table[i].prefix);
}

Test(proc, adds_memory_and_swap)
{
	cr_assert(proc_memory_bytes() == 0);
	file(0, "meminfo", "MemTotal:        1000 kB\nMemFree:  5 kB\nSwapTotal:  24 kB\n");
	cr_assert(proc_memory_bytes() == 1024 * 1024);
}

Test(proc, walks_over_processes_only)
{
	struct proc_walk w;
	int seen[3] = { 0 };
	file(1, "stat", "x");
	file(22, "stat", "x");
	file(333, "stat", "x");
	file(0, "meminfo", "x");
	file(0, "self", "x");
	cr_assert(proc_walk_open(&w) == 0);
	for (int32_t pid; (pid = proc_walk_next(&w)) != 0;)
		seen[pid == 1 ? 0 : pid == 22 ? 1 : 2] += pid == 1 || pid == 22 || pid == 333 ? 1 : 100;
	proc_walk_close(&w);
	cr_assert(seen[0] == 1 && seen[1] == 1 && seen[2] == 1);
}

Test(proc, goes_on_with_a_walk_where_it_was)
{
	enum { N = 500 };
	static int seen[N];
	int64_t place = 0;
	int32_t pid = 1;
	for (int i = 0; i < N; i++)
		file(1000 + i, "stat", "x");
	while (pid > 0) {
		struct proc_walk w;
		cr_assert(proc_walk_resume(&w, place) == 0);
		for (int i = 0; i < 7 && (pid = proc_walk_next(&w)) > 0; i++)
			seen[pid - 1000]++;
		place = w.place;
		proc_walk_close(&w);
	}
	for (int i = 0; i < N; i++)
		cr_assert_eq(seen[i], 1, "%d", i);
}
