/* SPDX-License-Identifier: MIT */
/* Description: a fork that the budget does not allow is -1 with ENOMEM, by whatever name it
 * is asked for, and nothing has happened: no child, no charge, the signal mask as it was.
 * With room again the same fork succeeds and the child is charged what its parent is. A
 * fork that the kernel refuses after that leaves no charge either.
 * Budget: 256M */
#include <linux/sched.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define MUCH ((size_t)160 << 20)
#define NOISE 64 /* pages of the heap and the page map */

static int child_status;

/* Each returns what fork returns, in parent and child. */
static pid_t by_fork(void) { return fork(); }
extern pid_t __fork(void); /* glibc's, declared nowhere, as __clone */
static pid_t by_its_other_name(void) { return __fork(); }
static pid_t by_raw_fork(void) { return _Fork(); }
static pid_t by_syscall(void) { return (pid_t)syscall(SYS_fork); }
static pid_t by_syscall_clone(void) { return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL); }
static pid_t by_clone3(void)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}
static int master = -1; /* closing it would hang the child up */
static pid_t by_forkpty(void) { return forkpty(&master, NULL, NULL, NULL); }

/* The child's whole life: it answers with what it is charged. */
static _Noreturn void child(int out)
{
	long mine = charged_pages();
	ssize_t n = write(out, &mine, sizeof mine);
	_exit(n == sizeof mine ? 7 : 1);
}

static int clone_child(void *out)
{
	child(*(int *)out);
}

static int clone_out;
static char clone_stack[1 << 16] __attribute__((aligned(16)));
static pid_t by_clone(void)
{
	return clone(clone_child, clone_stack + sizeof clone_stack, SIGCHLD, &clone_out);
}

extern int __clone(int (*start)(void *), void *stack, int flags, void *arg, ...);
static pid_t by_clones_other_name(void)
{
	return __clone(clone_child, clone_stack + sizeof clone_stack, SIGCHLD, &clone_out);
}

static const struct row {
	const char *name;
	pid_t (*fork)(void);
} rows[] = {
	{ "fork", by_fork },
	{ "__fork", by_its_other_name },
	{ "_Fork", by_raw_fork },
	{ "syscall(SYS_fork)", by_syscall },
	{ "syscall(SYS_clone)", by_syscall_clone },
	{ "syscall(SYS_clone3)", by_clone3 },
	{ "clone", by_clone },
	{ "__clone", by_clones_other_name },
	{ "forkpty", by_forkpty },
};

static void refused(const struct row *r)
{
	long before = account_pages();
	unsigned long refusals = figures().refusals;
	sigset_t mask = { 0 }, after = { 0 };
	sigprocmask(SIG_SETMASK, NULL, &mask);
	errno = 0;
	pid_t pid = r->fork();
	if (pid == 0)
		_exit(1);
	check(pid == -1, "%s was not refused", r->name);
	check(errno == ENOMEM, "%s", r->name);
	check(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "%s made a child", r->name);
	check(figures().refusals == refusals + 1, "%s", r->name);
	check(account_pages() <= before + NOISE, "%s: %ld pages more", r->name, account_pages() - before);
	sigprocmask(SIG_SETMASK, NULL, &after);
	check(memcmp(&mask, &after, sizeof mask) == 0, "%s changed the signal mask", r->name);
}

static void granted(const struct row *r)
{
	int ends[2];
	long mine = 0, ours = charged_pages();
	check(pipe(ends) == 0);
	clone_out = ends[1];
	errno = 77;
	pid_t pid = r->fork();
	if (pid == 0)
		child(ends[1]);
	check(pid > 0, "%s", r->name);
	check(errno == 77, "%s touched errno", r->name);
	check(read(ends[0], &mine, sizeof mine) == sizeof mine, "%s", r->name);
	check(waitpid(pid, &child_status, 0) == pid && WIFEXITED(child_status), "%s", r->name);
	check(WEXITSTATUS(child_status) == 7, "%s: the child said %d", r->name, WEXITSTATUS(child_status));
	check(mine >= ours - 64 && mine <= ours + 1024, "%s: the child is charged %ld, its parent %ld", r->name,
	      mine, ours);
	close(ends[0]);
	close(ends[1]);
}

/* Out of processes, as a user that has a limit: EAGAIN from the kernel. */
static void failed(void)
{
	struct rlimit none = { 0 };
	check(getuid() != 0 || setresuid(65534, 65534, 65534) == 0);
	check(setrlimit(RLIMIT_NPROC, &none) == 0);
	long before = account_pages();
	for (size_t i = 0; i < 10 * sizeof rows / sizeof *rows; i++) {
		const struct row *r = &rows[i % (sizeof rows / sizeof *rows)];
		errno = 0;
		pid_t pid = r->fork();
		if (pid == 0)
			_exit(1);
		check(pid == -1 && errno == EAGAIN, "%s", r->name);
		check(account_pages() <= before + NOISE, "%s left %ld pages", r->name, account_pages() - before);
	}
}

int main(void)
{
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *much = mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		check(much != MAP_FAILED);
		refused(&rows[i]);
		refused(&rows[i]);
		check(munmap(much, MUCH) == 0);
		granted(&rows[i]);
	}
	failed();
	return 0;
}
