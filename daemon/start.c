/* SPDX-License-Identifier: MIT */
/* The order of a start: everything that can go wrong for a reason a person can mend comes
 * first and is said on the terminal; then the ledgers, then the door. When the door is
 * open the broker is complete. */
#include "daemon/start.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/alert.h"
#include "daemon/armour.h"
#include "daemon/connector.h"
#include "daemon/descriptors.h"
#include "daemon/killer/reclaim.h"
#include "daemon/killer/release.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/proc.h"
#include "daemon/recover.h"

/* Large, mostly never touched, and none of it on the heap. */
static struct broker broker;
static struct loop loop;
static struct config config;
static int trace_fd = -1;

static void complain(void *context, const char *sentence)
{
	(void)context;
	log_error("%s", sentence);
}

int start_check(const struct options *o)
{
	if (proc_open("/proc") != 0 || config_read(o->config, complain, NULL, &config) != 0)
		return 1;
	if (config_doubt(o->config, &config, complain, NULL) > 0)
		return 1;
	printf("%s: %u accounts, %u rules, fine\n", o->config, config.accounts, config.rules);
	return 0;
}

static void files_raise(void)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* Root keeps what reading about others and signalling them takes, and gives up the rest. */
static void capabilities_drop(void)
{
	if (geteuid() != 0)
		return;
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SYS_PTRACE, CAP_KILL, CAP_IPC_LOCK,
			  CAP_DAC_READ_SEARCH, CAP_SYS_NICE, -1) != 0 || capng_apply(CAPNG_SELECT_CAPS) != 0)
		log_warning("capabilities could not be dropped; going on with all of them");
}

/* --- in the background --- */

/* The first process waits here for a byte and returns the exit status; the other, in a
 * session of its own, gets -1 and the descriptor to write it to. */
static int background(int *ret_ready)
{
	int line[2];
	char byte;
	if (pipe2(line, O_CLOEXEC) != 0 || fflush(NULL) != 0)
		return 1;
	pid_t pid = fork();
	if (pid < 0) {
		log_error("the broker cannot be started in the background: %s", strerror(errno));
		return 1;
	}
	if (pid > 0) {
		close(line[1]);
		return TEMP_FAILURE_RETRY(read(line[0], &byte, 1)) == 1 ? 0 : 1;
	}
	close(line[0]);
	setsid();
	*ret_ready = line[1];
	return -1;
}

static void ready_say(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "\n", 1) != 1)
		log_warning("whoever started this broker did not wait for it");
	close(fd);
}

/* Nothing of the terminal, or of whoever started us, is held any longer. */
static void terminal_leave(void)
{
	log_open(LOG_TO_SYSLOG);
	descriptors_drop_stdio();
	if (chdir("/") != 0)
		log_warning("cannot move to /: %s", strerror(errno));
}

/* Of what we were started with, the rest belongs to somebody else: a shell's, a test's, a
 * pipe somebody waits on. */
static void inherited_close(const struct options *o, int listener, const struct kept *kept)
{
	int keep[BOOKS_ACCOUNTS + 9];
	uint32_t n = 0;
	keep[n++] = proc_descriptor();
	keep[n++] = loop.notify.fd;
	keep[n++] = o->ready_fd;
	keep[n++] = trace_fd;
	keep[n++] = listener;
	keep[n++] = kept->books;
	for (uint32_t i = 0; i < kept->ledgers; i++)
		keep[n++] = kept->ledger[i];
	descriptors_keep(keep, n);
}

/* --- the parts --- */

static bool is_inside(const char *path, const char *directory)
{
	size_t n = strlen(directory);
	while (n > 1 && directory[n - 1] == '/')
		n--;
	return strncmp(path, directory, n) == 0 && path[n] == '/';
}

static int open_state(const struct options *o)
{
	loop.state.dir = -1;
	if (!o->state)
		return 0;
	/* Members must reach a socket that lies in it. */
	return state_open(o->state, is_inside(o->socket, o->state) ? 0755 : 0700, &loop.state);
}

static int open_door(const struct options *o, int inherited)
{
	if (inherited < 0)
		return listener_open(o->socket, &loop.listener);
	listener_take(inherited, &loop.listener);
	return 0;
}

/* Ledgers from the service manager's store, else from the keeper of a broker before us. */
static void take_over(struct kept *kept)
{
	if (kept->books < 0 && loop.state.dir >= 0)
		state_read(&loop.state, kept);
	if (kept->books >= 0 || kept->ledgers > 0)
		recover(&broker, kept);
}

static void old_keeper_end(const struct kept *kept)
{
	if (kept->keeper < 0)
		return;
	if (loop.keeper.pid > 0 || loop.notify.stores)
		pidfd_send_signal(kept->keeper, SIGTERM, NULL, 0);
	close(kept->keeper);
}

static void release_task(const char *pid, int pidfd)
{
	release_try(pidfd, (int32_t)strtol(pid, NULL, 10));
}

static void reclaim_task(const char *pid, int pidfd)
{
	reclaim_try(pidfd, (int32_t)strtol(pid, NULL, 10));
}

static const struct helper_task tasks[] = {
	{ RELOAD_WORD, true, reload_task },
	{ RELEASE_WORD, false, release_task },
	{ RECLAIM_WORD, true, reclaim_task },
	{ ALERT_WORD, true, alert_task },
	{ 0 },
};

/* Everything up to the open door. 0, or -errno after a sentence. */
static int prepare(const struct options *o, int inherited, struct kept *kept)
{
	int error = open_state(o);
	error = error ? error : open_door(o, inherited);
	if (error)
		return error;
	error = broker_init(&broker);
	if (!error) {
		killer_init(&broker.killer, o->dry_run, trace_fd);
		loop.connector = connector_open(); /* takes a capability that is then given up */
		if (!o->until_empty)
			armour_raise();
		capabilities_drop();
		error = helper_start(&loop.helper, tasks);
	}
	if (!error) {
		broker.killer.helper = &loop.helper;
		take_over(kept);
		error = loop_init(&loop);
	}
	if (error) {
		log_error("the broker cannot be set up: %s", strerror(-error));
		listener_close(&loop.listener);
		return error;
	}
	error = broker_configure(&broker, &config);
	loop_keep(&loop);
	old_keeper_end(kept);
	return error;
}

/* What the start took and nothing takes again goes; the rest stays, and is all there is. */
static void armour_put_on(void)
{
	armour_say();
	malloc_trim(0);
	armour_shed(&config, sizeof config);
	armour_forget();
	armour_lock();
	armour_seal();
}

static char *config_path(const struct options *o)
{
	/* "/" is the working directory of whoever reads it again; what has no other path (/dev/fd/N)
	 * keeps its name. */
	char *path = realpath(o->config, NULL);
	return path && access(path, R_OK) == 0 ? path : strdup(o->config);
}

static int trace_open(const char *file)
{
	if (!file)
		return 0;
	trace_fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (trace_fd < 0)
		log_error("%s: a trace cannot be written there: %s", file, strerror(errno));
	return trace_fd < 0 ? -1 : 0;
}

int start(const struct options *o)
{
	int inherited, background_ready = -1;
	struct kept kept;
	loop.broker = &broker;
	loop.helper.fd = -1;
	notify_open(&loop.notify);
	notify_inherited(&inherited, &kept);
	if (proc_open("/proc") != 0) {
		log_error("/proc cannot be read; mount it");
		return 1;
	}
	if (config_read(o->config, complain, NULL, &config) != 0)
		return 1;
	if (trace_open(o->record) != 0)
		return 1;
	loop.config_file = config_path(o);
	loop.until_empty = o->until_empty;
	inherited_close(o, inherited, &kept);
	files_raise();
	if (!o->foreground) {
		int status = background(&background_ready);
		if (status >= 0)
			return status;
	}
	if (prepare(o, inherited, &kept) != 0)
		return 1;
	if (!o->foreground)
		terminal_leave();
	if (!o->until_empty)
		armour_put_on();
	config_doubt(loop.config_file, &broker.config, log_doubt, NULL);
	if (broker.config.accounts == 0)
		log_warning("%s: no account is configured; nobody can join", loop.config_file);
	log_info("listening on %s, %u accounts", o->socket, broker.config.accounts);
	notify_say(&loop.notify, "READY=1");
	ready_say(o->ready_fd);
	ready_say(background_ready);
	loop_run(&loop);
	loop_close(&loop);
	return 0;
}
