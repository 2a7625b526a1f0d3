/* SPDX-License-Identifier: MIT */
/* Description: where fork is too dear, what copies nothing still works: vfork, posix_spawn,
 * system and popen cost nothing but the program they start, and leave nothing behind in
 * their parent.
 * Budget: 256M */
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define MUCH ((size_t)140 << 20)

extern char **environ;

static int by_vfork(void)
{
	int status;
	char *argv[] = { (char *)"true", NULL };
	pid_t pid = vfork();
	if (pid == 0) {
		execv("/bin/true", argv);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static int by_vfork_execl(void)
{
	int status;
	pid_t pid = vfork();
	if (pid == 0) {
		execlp("true", "true", (char *)NULL);
		_exit(127);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

static int by_spawn(void)
{
	int status;
	pid_t pid;
	char *argv[] = { (char *)"true", NULL };
	if (posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) != 0)
		return -1;
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static int by_system(void) { return system("true"); }

static int by_popen(void)
{
	char word[8] = "";
	FILE *f = popen("echo well", "r");
	if (!f || !fgets(word, sizeof word, f))
		return -1;
	return pclose(f) == 0 && strcmp(word, "well\n") == 0 ? 0 : -1;
}

static const struct {
	const char *name;
	int (*act)(void);
} rows[] = {
	{ "vfork", by_vfork },	 { "vfork and execlp", by_vfork_execl }, { "posix_spawn", by_spawn },
	{ "system", by_system }, { "popen", by_popen },
};

int main(void)
{
	char *much = mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(much != MAP_FAILED);
	check(fork() == -1 && errno == ENOMEM, "fork was not refused");
	for (int round = 0; round < 20; round++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			long before = charged_pages();
			int status = rows[i].act();
			check(status == 0, "%s: %d", rows[i].name, status);
			check(round == 0 || charged_pages() <= before, "%s left %ld pages", rows[i].name,
			      charged_pages() - before);
		}
	return 0;
}
