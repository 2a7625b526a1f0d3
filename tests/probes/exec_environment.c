/* SPDX-License-Identifier: MIT */
/* Description: a program that gives its child an empty environment, or another LD_PRELOAD,
 * does not lose it: the child finds the same account, whichever exec or spawn was used, and
 * keeps what else it was given.
 * Budget: 256M */
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

extern char **environ;

static char self_path[] = "/proc/self/exe";
static char *argv[] = { (char *)"exec_environment", (char *)"child", NULL };
static char *nothing[] = { NULL };
static char *something[] = { (char *)"GIVEN=yes", (char *)"LD_PRELOAD=libm.so.6", NULL };

static void by_execve(char **env) { execve(self_path, argv, env); }
static void by_execv(char **env) { environ = env; execv(self_path, argv); }
static void by_execvp(char **env) { environ = env; execvp(self_path, argv); }
static void by_execvpe(char **env) { execvpe(self_path, argv, env); }
static void by_execl(char **env) { environ = env; execl(self_path, argv[0], argv[1], (char *)NULL); }
static void by_execlp(char **env) { environ = env; execlp(self_path, argv[0], argv[1], (char *)NULL); }
static void by_execle(char **env) { execle(self_path, argv[0], argv[1], (char *)NULL, env); }
static void by_fexecve(char **env) { fexecve(open(self_path, O_RDONLY), argv, env); }
static void by_execveat(char **env) { execveat(AT_FDCWD, self_path, argv, env, 0); }
static void by_syscall(char **env) { syscall(SYS_execve, self_path, argv, env); }
static void by_syscall_at(char **env) { syscall(SYS_execveat, AT_FDCWD, self_path, argv, env, 0); }
static void by_spawn(char **env)
{
	pid_t pid;
	int status = 1;
	if (posix_spawn(&pid, self_path, NULL, NULL, argv, env) == 0)
		waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
}

static const struct {
	const char *name;
	void (*act)(char **env);
} rows[] = {
	{ "execve", by_execve },     { "execv", by_execv },	   { "execvp", by_execvp },
	{ "execvpe", by_execvpe },   { "execl", by_execl },	   { "execlp", by_execlp },
	{ "execle", by_execle },     { "fexecve", by_fexecve },	   { "execveat", by_execveat },
	{ "posix_spawn", by_spawn }, { "syscall(SYS_execve)", by_syscall },
	{ "syscall(SYS_execveat)", by_syscall_at },
};

/* In the new image: its own account is the proof. */
static int child(void)
{
	const char *preload = getenv("LD_PRELOAD"), *given = getenv("GIVEN");
	if (!solvent_attached())
		return 2;
	if (!preload || !strstr(preload, "libsolvent"))
		return 3;
	if (given && (strcmp(given, "yes") != 0 || !strstr(preload, "libm.so.6")))
		return 4;
	if (figures().limit_bytes != (uint64_t)256 << 20)
		return 5;
	return given ? 11 : 10;
}

static int run(void (*act)(char **), char **env)
{
	int status;
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0) {
		act(env);
		_exit(126);
	}
	check(waitpid(pid, &status, 0) == pid && WIFEXITED(status), "status %x", status);
	return WEXITSTATUS(status);
}

int main(int argc, char **arguments)
{
	if (argc == 2 && strcmp(arguments[1], "child") == 0)
		return child();
	check(solvent_attached());
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int status = run(rows[i].act, nothing);
		check(status == 10, "%s with nothing: %d", rows[i].name, status);
		status = run(rows[i].act, something);
		check(status == 11, "%s with something: %d", rows[i].name, status);
		status = run(rows[i].act, environ);
		check(status == 10, "%s with all: %d", rows[i].name, status);
	}
	return 0;
}
