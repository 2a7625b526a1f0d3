/* SPDX-License-Identifier: MIT */
/* stage MEMINFO own|host: the world of one run. Mounts of its own, in which MEMINFO stands for
 * /proc/meminfo ("-": the real one); with "own", process ids of its own too, so that who kills
 * there reaches nobody else. Starts what standard input says, a line each of
 *
 *     NAME <tab> LOG <tab> CGROUP[:CGROUP...] or - <tab> PROGRAM [<tab> ARGUMENT]...
 *
 * and answers "NAME PID", the pid as it is outside. Ends at the end of its input, and with it
 * everybody whom it started. */
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "tests/arena/actor.h"

enum { WORDS = 64 };

static int outside; /* /proc as it was */

static void fail(const char *what) __attribute__((noreturn));
static void fail(const char *what)
{
	perror(what);
	_exit(1);
}

static void world_make(const char *meminfo, int own)
{
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		fail("mount /");
	if (own && mount("proc", "/proc", "proc", 0, NULL) != 0)
		fail("mount /proc");
	if (strcmp(meminfo, "-") != 0 && mount(meminfo, "/proc/meminfo", NULL, MS_BIND, NULL) != 0)
		fail("mount /proc/meminfo");
}

static void cgroups_enter(char *list)
{
	char path[512];
	for (char *at, *c = strtok_r(list, ":", &at); c && strcmp(c, "-") != 0; c = strtok_r(NULL, ":", &at)) {
		snprintf(path, sizeof path, "%s/cgroup.procs", c);
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			fail(path);
		close(fd);
	}
}

static void output_to(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600), null = open("/dev/null", O_RDONLY);
	if (fd < 0 || null < 0)
		fail(path);
	dup2(null, 0);
	dup2(fd, 1);
	dup2(fd, 2);
	close(fd);
	close(null);
}

static void actor_start(char **words) __attribute__((noreturn));
static void actor_start(char **words)
{
	char pid[32] = "";
	if (readlinkat(outside, "self", pid, sizeof pid - 1) < 0)
		fail("self");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_DFL);
	int answer = fcntl(1, F_DUPFD_CLOEXEC, 3);
	output_to(words[1]);
	cgroups_enter(words[2]);
	dprintf(answer, "%s %s\n", words[0], pid);
	execv(words[3], words + 3);
	fail(words[3]);
}

static void line_obey(char *line)
{
	char *words[WORDS + 1] = { NULL }, *at;
	int n = 0;
	for (char *w = strtok_r(line, "\t\n", &at); w && n < WORDS; w = strtok_r(NULL, "\t\n", &at))
		words[n++] = w;
	if (n >= 4 && fork() == 0)
		actor_start(words);
}

static void obey(const char *meminfo, int own) __attribute__((noreturn));
static void obey(const char *meminfo, int own)
{
	static char line[8192];
	world_make(meminfo, own);
	signal(SIGCHLD, SIG_IGN);
	while (fgets(line, sizeof line, stdin))
		line_obey(line);
	_exit(0); /* with our death the others': of our pids, or by PR_SET_PDEATHSIG */
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 2;
	int own = strcmp(argv[2], "own") == 0;
	actor_begin();
	outside = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (outside < 0 || unshare(CLONE_NEWNS | (own ? CLONE_NEWPID : 0)) != 0)
		fail("unshare");
	if (!own)
		obey(argv[1], own);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		obey(argv[1], own);
	}
	waitpid(pid, NULL, 0);
	return 0;
}
