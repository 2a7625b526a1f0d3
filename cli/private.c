/* SPDX-License-Identifier: MIT */
/* Starting a broker that the command will not notice. The command is exec'd in our place
 * and must find no child it did not make, no descriptor it did not open, and its terminal
 * and pipes not held by anybody else: so the broker is a grandchild (init's, once its
 * parent is gone), in a session of its own, with nothing open but what it needs.
 *
 * Its complaints come through a pipe while it starts; afterwards nobody reads them and
 * SIGPIPE is ignored there, so that a complaint then goes nowhere and does no harm. */
#include "cli/private.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnu/lib-names.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define START_PATIENCE_MS 10000

/* The broker's descriptors after exec; everything above is closed. */
enum { FD_CONFIG = 3, FD_READY = 4, FD_FREE };

void private_account_name(const char *command, char ret_name[ACCOUNT_NAME_BYTES])
{
	static const char GOOD[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	const char *slash = strrchr(command, '/');
	snprintf(ret_name, ACCOUNT_NAME_BYTES, "%s", slash ? slash + 1 : command);
	for (char *at = ret_name; *(at += strspn(at, GOOD)); )
		*at = '_';
	if (!*ret_name)
		snprintf(ret_name, ACCOUNT_NAME_BYTES, "run");
}

int private_config(const struct private_wish *wish, char *ret_text, size_t n)
{
	char limit[32] = "infinity", users[32] = "*";
	if (wish->limit_pages < PAGES_MAX)
		snprintf(limit, sizeof limit, "%lluK",
			 (unsigned long long)(wish->limit_pages * (PAGE_BYTES / 1024)));
	/* What root starts may become anybody (su, a server that drops root) and must be
	 * let in again when it calls execve; others stay who they are. */
	if (geteuid() != 0)
		snprintf(users, sizeof users, "%u", geteuid());
	return snprintf(ret_text, n,
			"pool { limit = infinity }\n"
			"account \"%s\" {\n"
			"\tlimit = %s\n\tmode = %s\n\tfork = \"%s\"\n\tusers = {\"%s\"}\n"
			"}\n",
			wish->account, limit, wish->mode, wish->fork, users);
}

/* The configuration in memory that has no name. A descriptor, or -errno. */
static int config_file(const struct private_wish *wish)
{
	char text[1024];
	int length = private_config(wish, text, sizeof text);
	int fd = memfd_create("solvent-config", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)length) == length && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	int error = errno;
	close(fd);
	return -error;
}

static int socket_name(char *ret_name, size_t n)
{
	uint64_t random;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return -errno;
	snprintf(ret_name, n, "@solvent-private-%d-%016llx", getpid(), (unsigned long long)random);
	return 0;
}

/* --- in the grandchild --- */

/* Everything the broker inherits, put in order. Nothing of ours stays open. */
static void broker_descriptors(int config, int ready, int errors)
{
	int null = open("/dev/null", O_RDWR);
	/* Out of the way first: a source may stand where another belongs. */
	config = fcntl(config, F_DUPFD, 16);
	ready = fcntl(ready, F_DUPFD, 16);
	errors = fcntl(errors, F_DUPFD, 16);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(errors, STDERR_FILENO);
	dup2(config, FD_CONFIG);
	dup2(ready, FD_READY);
	syscall(SYS_close_range, FD_FREE, ~0u, 0);
}

static void broker_signals(void)
{
	sigset_t none;
	sigemptyset(&none);
	for (int s = 1; s < NSIG; s++)
		signal(s, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	/* A ledger is a file, for whose size the command may have a limit. */
	signal(SIGXFSZ, SIG_IGN);
	struct rlimit size;
	if (getrlimit(RLIMIT_FSIZE, &size) == 0) {
		size.rlim_cur = size.rlim_max;
		setrlimit(RLIMIT_FSIZE, &size);
	}
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* libc's own execve. In a run within a run we are under the preload ourselves, and its
 * execve puts LD_PRELOAD back into an environment that lacks it; a broker must not be a
 * member of another broker's account. */
static int (*real_execve(void))(const char *, char *const[], char *const[])
{
	int (*real)(const char *, char *const[], char *const[]) = NULL;
	void *libc = dlopen(LIBC_SO, RTLD_LAZY | RTLD_NOLOAD);
	void *symbol = libc ? dlsym(libc, "execve") : NULL;
	memcpy(&real, &symbol, sizeof real);
	return real ? real : execve;
}

static void broker_exec(const char *program, const char *socket) __attribute__((noreturn));
static void broker_exec(const char *program, const char *socket)
{
	const char *const argv[] = { "solventd", "--foreground", "--until-empty", "--socket", socket, "--config",
				     "/proc/self/fd/3", "--ready-fd", "4", NULL };
	unsetenv("LD_PRELOAD");
	unsetenv(ENV_SOCKET);
	unsetenv(ENV_ACCOUNT);
	unsetenv("NOTIFY_SOCKET");
	real_execve()(program, (char *const *)argv, environ);
	dprintf(STDERR_FILENO, "%s: %s\n", program, strerror(errno));
	_exit(CLI_OURS);
}

/* --- in ours --- */

/* What comes through the two pipes while the broker starts. */
struct birth {
	int ready, errors;
	char said[1024];
	size_t said_n;
};

static void birth_listen(struct birth *b)
{
	ssize_t n = read(b->errors, b->said + b->said_n, sizeof b->said - 1 - b->said_n);
	if (n > 0)
		b->said_n += (size_t)n;
	else
		b->errors = -1; /* poll(2) passes over it */
	b->said[b->said_n] = '\0';
	if (b->said_n == sizeof b->said - 1)
		b->errors = -1;
}

/* 0: it is ready; -ECHILD: it died; -ETIMEDOUT. */
static int birth_wait(struct birth *b)
{
	char byte;
	for (;;) {
		struct pollfd at[] = { { b->ready, POLLIN, 0 }, { b->errors, POLLIN, 0 } };
		int n = poll(at, ARRAY_N(at), START_PATIENCE_MS);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ETIMEDOUT;
		/* Its complaint before its end. */
		if (at[1].revents)
			birth_listen(b);
		else if (at[0].revents)
			return read(b->ready, &byte, 1) == 1 ? 0 : -ECHILD;
	}
}

static void birth_explain(const struct birth *b, const char *program, int error)
{
	const char *said = b->said_n ? b->said : error == -ETIMEDOUT ? "it did not get ready within 10 s" :
								       "it ended without a word";
	cli_complain("a private broker could not be started (%s): %.*s", program, (int)strcspn(said, "\n"), said);
}

/* Forks twice and execs in the grandchild, whose pid comes back through a pipe. The parent
 * in between is gone when this returns. The pid, or -errno. */
static pid_t broker_fork(const char *program, const char *socket, int config, int ready, int errors)
{
	int line[2];
	if (pipe2(line, O_CLOEXEC) != 0)
		return -errno;
	pid_t between = fork();
	if (between == 0) {
		setsid();
		pid_t broker = fork();
		if (broker != 0) {
			if (write(line[1], &broker, sizeof broker) != sizeof broker)
				_exit(CLI_OURS);
			_exit(CLI_OK);
		}
		broker_signals();
		broker_descriptors(config, ready, errors);
		if (chdir("/") != 0)
			_exit(CLI_OURS);
		broker_exec(program, socket);
	}
	int error = between < 0 ? -errno : 0;
	pid_t broker = -1;
	close(line[1]);
	if (!error) {
		TEMP_FAILURE_RETRY(waitpid(between, NULL, 0));
		if (read(line[0], &broker, sizeof broker) != sizeof broker || broker < 0)
			error = -EAGAIN;
	}
	close(line[0]);
	return error ? error : broker;
}

static int private_run(const char *program, int config, struct private_broker *broker)
{
	int ready[2], errors[2];
	if (pipe2(ready, O_CLOEXEC) != 0)
		return -errno;
	if (pipe2(errors, O_CLOEXEC) != 0) {
		int error = -errno;
		close(ready[0]);
		close(ready[1]);
		return error;
	}
	broker->pid = broker_fork(program, broker->socket, config, ready[1], errors[1]);
	close(ready[1]);
	close(errors[1]);
	struct birth birth = { .ready = ready[0], .errors = errors[0] };
	int error = broker->pid < 0 ? broker->pid : birth_wait(&birth);
	if (error == -ETIMEDOUT)
		private_end(broker);
	if (error && broker->pid > 0)
		birth_explain(&birth, program, error);
	else if (error)
		cli_complain("a private broker could not be started: %s", strerror(-error));
	close(ready[0]);
	close(errors[0]);
	return error;
}

int private_start(const char *program, const struct private_wish *wish, struct private_broker *ret)
{
	struct private_broker broker;
	int error = socket_name(broker.socket, sizeof broker.socket);
	int config = error ? error : config_file(wish);
	if (config < 0) {
		cli_complain("a private broker could not be started: %s", strerror(-config));
		return config;
	}
	error = private_run(program, config, &broker);
	close(config);
	if (!error)
		*ret = broker;
	return error;
}

void private_end(const struct private_broker *broker)
{
	kill(broker->pid, SIGTERM);
}
