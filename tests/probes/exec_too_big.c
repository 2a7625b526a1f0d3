/* SPDX-License-Identifier: MIT */
/* Description: a program whose data does not fit in the budget is refused with ENOMEM
 * before the old image is gone (the kernel would end it with SIGSEGV), by every name of
 * exec and spawn, also behind a #! line; and its caller goes on as before.
 * Budget: 128M */
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/probes/bloated.h"

extern char **environ;

static char dir[] = "/tmp/solvent-exec-XXXXXX";
static char big[64], big_script[64];

static char *argv[] = { (char *)"big", NULL };

static int by_execve(void) { return execve(big, argv, environ); }
static int by_execv(void) { return execv(big, argv); }
static int by_execvp(void) { return execvp("big", argv); }
static int by_execvpe(void) { return execvpe("big", argv, environ); }
static int by_execl(void) { return execl(big, "big", "argument", (char *)NULL); }
static int by_execlp(void) { return execlp("big", "big", (char *)NULL); }
static int by_execle(void) { return execle(big, "big", (char *)NULL, environ); }
static int by_fexecve(void)
{
	int fd = open(big, O_PATH | O_CLOEXEC), r = fexecve(fd, argv, environ), error = errno;
	close(fd);
	errno = error;
	return r;
}
static int by_execveat(void) { return execveat(AT_FDCWD, big, argv, environ, 0); }
static int by_execveat_fd(void)
{
	int fd = open(big, O_RDONLY | O_CLOEXEC);
	int r = execveat(fd, "", argv, environ, AT_EMPTY_PATH), error = errno;
	close(fd);
	errno = error;
	return r;
}
static int by_syscall(void) { return (int)syscall(SYS_execve, big, argv, environ); }
static int by_script(void) { return execv(big_script, argv); }
static int by_spawn(void)
{
	pid_t pid;
	errno = posix_spawn(&pid, big, NULL, NULL, argv, environ);
	return errno == 0 ? 0 : -1;
}
static int by_spawnp(void)
{
	pid_t pid;
	errno = posix_spawnp(&pid, "big", NULL, NULL, argv, environ);
	return errno == 0 ? 0 : -1;
}

static const struct {
	const char *name;
	int (*act)(void);
} rows[] = {
	{ "execve", by_execve },     { "execv", by_execv },   { "execvp", by_execvp },
	{ "execvpe", by_execvpe },   { "execl", by_execl },   { "execlp", by_execlp },
	{ "execle", by_execle },     { "fexecve", by_fexecve }, { "execveat", by_execveat },
	{ "execveat by descriptor", by_execveat_fd },	       { "syscall(SYS_execve)", by_syscall },
	{ "a script", by_script },   { "posix_spawn", by_spawn }, { "posix_spawnp", by_spawnp },
};

static void in_vfork(void)
{
	int status;
	long before = charged_pages();
	pid_t pid = vfork();
	if (pid == 0) {
		execv(big, argv);
		_exit(errno == ENOMEM ? 9 : 1);
	}
	check(pid > 0 && waitpid(pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 9, "child of vfork: status %x", status);
	check(charged_pages() <= before);
}

static void clean_up(void)
{
	unlink(big);
	unlink(big_script);
	rmdir(dir);
}

int main(void)
{
	char path[128], line[128];
	pid_t me = getpid();
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	check(mkdtemp(dir) != NULL);
	if (fork() == 0) {
		snprintf(big, sizeof big, "%s/big", dir);
		snprintf(big_script, sizeof big_script, "%s/script", dir);
		snprintf(line, sizeof line, "#! %s an argument\n", big);
		snprintf(path, sizeof path, "/nowhere:%s:/bin", dir);
		bloat("/proc/self/exe", big, (size_t)256 << 20);
		script(big_script, line);
		setenv("PATH", path, 1);
		for (int round = 0; round < 3; round++)
			for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
				long before = charged_pages();
				unsigned long refusals = figures().refusals;
				errno = 0;
				check(rows[i].act() == -1, "%s succeeded", rows[i].name);
				check(errno == ENOMEM, "%s", rows[i].name);
				check(figures().refusals == refusals + 1, "%s", rows[i].name);
				check(round == 0 || charged_pages() <= before, "%s left %ld pages", rows[i].name,
				      charged_pages() - before);
			}
		in_vfork();
		_exit(0);
	}
	int status;
	check(wait(&status) > 0 && getpid() == me);
	snprintf(big, sizeof big, "%s/big", dir);
	snprintf(big_script, sizeof big_script, "%s/script", dir);
	clean_up();
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
