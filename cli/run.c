/* SPDX-License-Identifier: MIT */
/* solvent run: everything between a command line and execve. The command is looked at
 * before it runs, for a preload that does not take hold says nothing; the broker is found
 * or started; then the command takes our place: same pid, same signals, same exit status.
 * Only for a summary do we stay, as its parent (cli/wait.c). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/preload.h"
#include "cli/run.h"
#include "cli/summary.h"
#include "cli/wait.h"

/* --- the command --- */

/* `cause` is the file at fault where it is not the command itself, else NULL. */
static bool run_command_error(struct run *run, const char *cause, int error)
{
	cli_complain("%s cannot be run: %s%s%s", run->command[0], cause ? cause : "", cause ? ": " : "",
		     strerror(-error));
	run->cli->status = error == -ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXECUTABLE;
	return false;
}

/* The interpreter of a #! line or the loader may be what is missing. */
static bool run_inspection_error(struct run *run, const char *path, const struct command_report *report,
				 int error)
{
	if (error == -ENOENT && report->loader[0])
		return run_command_error(run, report->loader, error);
	return run_command_error(run, strcmp(path, report->file) == 0 ? NULL : report->file, error);
}

static bool run_check_command(struct run *run)
{
	char path[PATH_MAX], why[2 * PATH_MAX + 256];
	struct command_report report;
	int error = command_find(run->command[0], path);
	if (error)
		return run_command_error(run, NULL, error);
	error = command_inspect(path, &report);
	if (error)
		return run_inspection_error(run, path, &report, error);
	run->is_accounted = report.verdict == ELF_ACCOUNTABLE;
	if (run->is_accounted)
		return true;
	command_explain(&report, why, sizeof why);
	if (!run->allow_unaccounted)
		return RUN_FAIL(run, "%s. Use --allow-unaccounted, or systemd MemoryMax=", why);
	cli_complain("%s; it runs unaccounted", why);
	return true;
}

static bool run_find_library(struct run *run)
{
	if (preload_locate(PRELOAD_LIBRARY, SOLVENT_LIBDIR, run->library) != 0)
		return RUN_FAIL(run, "%s is neither beside solvent nor in %s; install it there", PRELOAD_LIBRARY,
				SOLVENT_LIBDIR);
	if (!preload_can_name(run->library))
		return RUN_FAIL(run, "%s cannot be preloaded: LD_PRELOAD is split at spaces and colons; install solvent "
				     "under a path without them", run->library);
	return true;
}

/* --- the broker --- */

#define RESTART_PAUSES 100

static bool run_start_private(struct run *run)
{
	char program[PATH_MAX];
	if (preload_locate("solventd", SOLVENT_SBINDIR, program) != 0)
		return RUN_FAIL(run, "solventd is neither beside solvent nor in %s; install it there", SOLVENT_SBINDIR);
	private_account_name(run->command[0], run->private_account);
	struct private_wish wish = {
		.account = run->private_account,
		.limit_pages = run->limit_pages,
		.mode = run->mode ? run->mode : "enforce",
		.fork = run->fork ? run->fork : "strict",
	};
	run->cli->status = CLI_OURS;
	if (private_start(program, &wish, &run->private) != 0)
		return false;
	run->account = run->private_account;
	snprintf(run->socket, sizeof run->socket, "%s", run->private.socket);
	return true;
}

/* The command may change its directory before its children look for the broker. */
static void run_set_socket(struct run *run)
{
	char cwd[PATH_MAX];
	const char *name = run->cli->socket;
	if (*name && *name != '/' && *name != '@' && getcwd(cwd, sizeof cwd) &&
	    snprintf(run->socket, sizeof run->socket, "%s/%s", cwd, name) < (int)sizeof run->socket)
		return;
	snprintf(run->socket, sizeof run->socket, "%s", name);
}

/* Strict unless the option, or else the environment, says open. */
static const char *run_policy(const struct run *run)
{
	const char *environment = getenv(ENV_NO_BROKER);
	const char *policy = run->no_broker ? run->no_broker : environment;
	return policy && strcmp(policy, "open") == 0 ? "open" : "strict";
}

static int broker_answers(const char *socket)
{
	struct reply_pool pool;
	int fd = client_open(socket);
	if (fd < 0)
		return fd;
	int error = client_pool(fd, &pool);
	close(fd);
	return error;
}

/* As the shim waits for one that is just being restarted (shim/broker.c). */
static int broker_awaited(const char *socket, bool is_strict)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000000 };
	int error = broker_answers(socket);
	for (int i = 0; i < RESTART_PAUSES && is_strict && (error == -ENOENT || error == -ECONNREFUSED); i++) {
		nanosleep(&pause, NULL);
		error = broker_answers(socket);
	}
	return error;
}

static const char *run_account_name(const struct run *run)
{
	const char *name = run->account ? run->account : getenv(ENV_ACCOUNT);
	return name && *name ? name : NULL;
}

/* Where a process that cannot join runs on unaccounted, its account may just be misspelt. */
static void run_doubt_account(const struct run *run)
{
	const char *name = run_account_name(run);
	struct accounts a;
	if (!name)
		return;
	if (accounts_open_or_complain(run->socket, name, &a) == 0)
		accounts_close(&a);
	else
		cli_complain("%s may run unaccounted", run->command[0]);
}

static bool run_find_broker(struct run *run)
{
	if (run->budget)
		return run_start_private(run);
	run_set_socket(run);
	bool is_strict = strcmp(run_policy(run), "strict") == 0;
	int error = broker_awaited(run->socket, is_strict);
	if (!error && !is_strict)
		run_doubt_account(run);
	if (!error)
		return true;
	if (is_strict)
		return RUN_FAIL(run, "no broker answers at %s: %s; start solventd, use --socket, or give the command a "
				     "broker of its own with --budget SIZE", run->socket, client_explain(error));
	cli_complain("no broker answers at %s: %s; %s runs unaccounted", run->socket, client_explain(error),
		     run->command[0]);
	return true;
}

/* The account the command will join, for the summary; NULL when that cannot be told. */
static const struct account *run_account(struct run *run)
{
	const char *name = run_account_name(run);
	if (!run->is_accounted || accounts_open(run->socket, NULL, &run->accounts) != 0)
		return NULL;
	if (!name && run->accounts.n == 1)
		return &run->accounts.at[0];
	for (size_t i = 0; i < run->accounts.n; i++)
		if (account_is(&run->accounts.at[i], name ? name : "default"))
			return &run->accounts.at[i];
	return NULL;
}

/* --- and off --- */

static bool run_set_environment(struct run *run)
{
	char *value = preload_value(run->is_accounted ? run->library : NULL, getenv("LD_PRELOAD"));
	int error = !value;
	if (!error && *value)
		error |= setenv("LD_PRELOAD", value, 1);
	else if (!error)
		error |= unsetenv("LD_PRELOAD");
	free(value);
	if (run->is_accounted) {
		error |= setenv(ENV_SOCKET, run->socket, 1);
		error |= setenv(ENV_NO_BROKER, run_policy(run), 1);
		if (run->account)
			error |= setenv(ENV_ACCOUNT, run->account, 1);
	}
	return error ? RUN_FAIL(run, "the environment could not be set: %s", strerror(errno)) : true;
}

/* Execution failed after all. */
static int run_failed(struct run *run, int error)
{
	if (run->private.pid)
		private_end(&run->private);
	run_command_error(run, NULL, -error);
	return run->cli->status;
}

/* We failed, before the command had anything to do with it. */
static int run_failed_ourselves(struct run *run, const char *what)
{
	int error = errno;
	if (run->private.pid)
		private_end(&run->private);
	cli_complain("%s for %s could not be made: %s", what, run->command[0], strerror(error));
	return CLI_OURS;
}

static int run_exec(struct run *run)
{
	execvp(run->command[0], run->command);
	return run_failed(run, errno);
}

/* The command must be the only one to hold its input, its output and what else it was
 * given: else a reader of its pipe waits for us. stderr stays, for the summary. */
static void keep_only_stderr(int also)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	also = fcntl(also, F_DUPFD_CLOEXEC, STDERR_FILENO + 1); /* it may stand where another belongs */
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (also != STDERR_FILENO + 1)
		dup2(also, STDERR_FILENO + 1);
	closefrom(STDERR_FILENO + 2);
}

/* 0 when the command was executed, else the errno. */
static int read_failure(int fd)
{
	int error = 0;
	return TEMP_FAILURE_RETRY(read(fd, &error, sizeof error)) == sizeof error ? error : 0;
}

static int run_with_summary(struct run *run)
{
	struct wait wait;
	struct summary summary;
	int line[2]; /* closes by itself at exec; carries the errno otherwise */
	if (pipe2(line, O_CLOEXEC) != 0)
		return run_failed_ourselves(run, "a pipe");
	summary_begin(&summary, run->command[0], run_account(run), !run->budget, run->is_accounted);
	wait_begin(&wait);
	pid_t child = fork();
	if (child < 0)
		return run_failed_ourselves(run, "a process");
	if (child == 0) {
		wait_restore(&wait);
		execvp(run->command[0], run->command);
		int error = errno;
		_exit(write(line[1], &error, sizeof error) == sizeof error ? CLI_OURS : CLI_NOT_EXECUTABLE);
	}
	close(line[1]);
	keep_only_stderr(line[0]);
	int error = read_failure(STDERR_FILENO + 1);
	int status = wait_for(child);
	if (error)
		return run_failed(run, error);
	summary_print(&summary, status);
	wait_end_as(status);
}

int cli_run(struct cli *cli, int argc, char **argv)
{
	struct run run = { .cli = cli };
	if (!run_parse(&run, argc, argv) || !run_check_command(&run))
		return cli->status;
	if (run.is_accounted && (!run_find_library(&run) || !run_find_broker(&run)))
		return cli->status;
	if (!run_set_environment(&run))
		return cli->status;
	return run.summary ? run_with_summary(&run) : run_exec(&run);
}
