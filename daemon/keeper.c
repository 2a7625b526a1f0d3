/* SPDX-License-Identifier: MIT */
/* A fork of the broker that closes everything but the memfds. It outlives the broker for
 * as long as a process of any ledger lives, and KEEPER_LINGER_S beyond, then it goes by
 * itself: a machine whose broker is never started again keeps nothing. */
#include "daemon/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/births.h"
#include "daemon/descriptors.h"
#include "daemon/proc.h"

#define KEEPER_LINGER_S 5
#define KEPT_MOST (BOOKS_ACCOUNTS + 3)

static bool slot_lives(const struct account *a, uint32_t s)
{
	uint64_t word = slot_read(a->ledger, s);
	int32_t pid = SLOT_STATE(word) == SLOT_FREE ? 0 : births_pid(a, s, word);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (pidfd < 0)
		return false;
	struct proc_stat st;
	uint64_t said = a->ledger->slot[s].start_ticks;
	bool lives = !pidfd_is_gone(pidfd) && proc_stat(pid, &st) == 0 && (said == 0 || said == st.start_ticks);
	close(pidfd);
	return lives;
}

static bool anybody_lives(const struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		for (uint32_t s = 0; b->account[i].ledger && s < ledger_slots(b->account[i].ledger); s++)
			if (slot_lives(&b->account[i], s))
				return true;
	return false;
}

/* They did not come with us (daemon/account.c), and we only read. */
static void ledgers_map(const struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		const struct account *a = &b->account[i];
		if (a->ledger && mmap(a->ledger, LEDGER_BYTES, PROT_READ, MAP_SHARED | MAP_FIXED, a->fd, 0) == MAP_FAILED)
			_exit(1);
	}
}

static void signals_reset(void)
{
	sigset_t none;
	sigemptyset(&none);
	signal(SIGHUP, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void keeper_run(const struct broker *b, int *keep, uint32_t n, int broker) __attribute__((noreturn));
static void keeper_run(const struct broker *b, int *keep, uint32_t n, int broker)
{
	prctl(PR_SET_NAME, "solvent-keeper");
	setsid();
	ledgers_map(b);
	signals_reset();
	descriptors_drop_stdio();
	descriptors_keep(keep, n);
	if (chdir("/") != 0)
		_exit(1);
	struct pollfd end = { .fd = broker, .events = POLLIN };
	while (poll(&end, 1, -1) < 1)
		;
	for (int idle = 0; idle < KEEPER_LINGER_S; idle++) {
		if (anybody_lives(b))
			idle = -1;
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
	}
	_exit(0);
}

static uint32_t ledgers_of(const struct broker *b, int *ret_fds)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b->account[i].ledger)
			ret_fds[n++] = b->account[i].fd;
	return n;
}

int keeper_replace(struct keeper *k, const struct broker *b, const struct state *s)
{
	int keep[KEPT_MOST], ledger[BOOKS_ACCOUNTS];
	uint32_t n = 0, ledgers = ledgers_of(b, ledger);
	struct keeper before = *k;
	int broker = pidfd_open(getpid(), 0);
	if (broker < 0)
		return -errno;
	keep[n++] = broker;
	keep[n++] = b->books_fd;
	keep[n++] = proc_descriptor();
	for (uint32_t i = 0; i < ledgers; i++)
		keep[n++] = ledger[i];
	pid_t pid = fork();
	if (pid == 0)
		keeper_run(b, keep, n, broker);
	int error = pid < 0 ? -errno : state_note(s, pid, b->books_fd, ledger, ledgers);
	close(broker);
	struct keeper now = { .pid = pid, .since_ns = b->now_ns };
	if (error && pid > 0)
		keeper_end(&now);
	if (error)
		return error;
	*k = now;
	keeper_end(&before);
	return 0;
}

void keeper_end(struct keeper *k)
{
	if (k->pid <= 0)
		return;
	kill(k->pid, SIGKILL);
	waitpid(k->pid, NULL, 0);
	k->pid = 0;
}
