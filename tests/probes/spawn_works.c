/* SPDX-License-Identifier: MIT */
/* Description: posix_spawn with file actions and attributes does what it does without us,
 * posix_spawnp searches PATH and runs scripts without a #! line by /bin/sh as execvp does,
 * and errors are libc's.
 * Budget: 256M */
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "tests/probes/bloated.h"

extern char **environ;

static char dir[] = "/tmp/solvent-spawn-XXXXXX";
static char name[64], said[64];

static int status_of(pid_t pid)
{
	int status;
	check(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -status;
}

static void with_actions(void)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t term;
	pid_t pid;
	int ends[2];
	char word[32] = "";
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"cat; ps -o blocked= $$ >/dev/null; exit 5", NULL };
	check(pipe(ends) == 0);
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &term);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, said, O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	check(posix_spawn(&pid, "/bin/sh", &actions, &attr, argv, environ) == 0);
	close(ends[1]);
	check(getpgid(pid) == pid, "no process group of its own");
	check(read(ends[0], word, sizeof word) == 5 && memcmp(word, "hello", 5) == 0, "said '%s'", word);
	check(status_of(pid) == 5);
	close(ends[0]);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
}

static int run_by_exec(const char *file)
{
	char *argv[] = { (char *)"x", NULL };
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		execvp(file, argv);
		_exit(100 + errno);
	}
	return status_of(pid);
}

int main(void)
{
	char path[4096];
	char *argv[] = { (char *)"x", NULL };
	pid_t pid = -1;
	check(mkdtemp(dir) != NULL);
	snprintf(name, sizeof name, "%s/nameless", dir);
	snprintf(said, sizeof said, "%s/said", dir);
	script(name, "exit 23\n");
	script(said, "hello");
	with_actions();

	snprintf(path, sizeof path, "/nowhere:%s:%s", dir, getenv("PATH"));
	setenv("PATH", path, 1);
	check(run_by_exec("nameless") == 23, "execvp did not find the script");
	check(run_by_exec(name) == 23, "execvp did not run it by its path");
	check(posix_spawnp(&pid, "true", NULL, NULL, argv, environ) == 0 && status_of(pid) == 0);
	check(posix_spawnp(&pid, "nameless", NULL, NULL, argv, environ) == ENOEXEC);
	check(posix_spawn(&pid, "/nowhere", NULL, NULL, argv, environ) == ENOENT);
	check(posix_spawnp(&pid, "no-such-program", NULL, NULL, argv, environ) == ENOENT);
	unlink(name);
	unlink(said);
	rmdir(dir);
	return 0;
}
