/* SPDX-License-Identifier: MIT */
/* One turn: hear everything there is, do what is due, set the timer, sleep. Nothing in it
 * waits for anybody. */
#include "daemon/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/audit.h"
#include "daemon/births.h"
#include "daemon/frozen.h"
#include "daemon/log.h"
#include "daemon/settle.h"
#include "reserve/purse.h"

#define EVENTS_AT_ONCE 64

enum source {
	SOURCE_LISTENER, SOURCE_DEATHS, SOURCE_SIGNALS, SOURCE_RELOAD, SOURCE_CONNECTOR,
	SOURCE_BELL, /* of the first watch */
	SOURCE_PEER = SOURCE_BELL + WATCHES
};

static int source_add(struct loop *l, int fd, enum source source)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = source };
	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) == 0 ? 0 : -errno;
}

static int signals_open(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int loop_init(struct loop *l)
{
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->signals = signals_open();
	if (l->epoll < 0 || l->signals < 0)
		return -errno;
	l->alive_ns = l->occupied_ns = clock_ns(CLOCK_MONOTONIC);
	peers_init(&l->broker->peers, l->epoll, SOURCE_PEER);
	killer_listen(&l->broker->killer, l->epoll, SOURCE_BELL);
	int error = source_add(l, l->listener.fd, SOURCE_LISTENER);
	error = error ? error : source_add(l, l->broker->registry.epoll, SOURCE_DEATHS);
	error = error ? error : source_add(l, l->signals, SOURCE_SIGNALS);
	if (!error && l->connector >= 0)
		error = source_add(l, l->connector, SOURCE_CONNECTOR);
	return error;
}

static void store_ledgers(struct loop *l)
{
	for (uint32_t i = 0; i < l->broker->gone; i++)
		notify_unstore_ledger(&l->notify, l->broker->gone_inode[i]);
	notify_store_books(&l->notify, l->broker->books_fd);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (l->broker->account[i].ledger)
			notify_store_ledger(&l->notify, l->broker->account[i].fd, l->broker->account[i].inode);
}

void loop_keep(struct loop *l)
{
	l->broker->keeper_stale = false;
	if (l->notify.stores)
		store_ledgers(l);
	l->broker->gone = 0;
	if (l->notify.stores || l->state.dir < 0)
		return;
	int error = keeper_replace(&l->keeper, l->broker, &l->state);
	if (error) {
		l->broker->keeper_stale = true;
		l->keep_ns = l->broker->now_ns + NS_PER_S;
	}
	if (error && !l->unkept)
		log_warning("the ledgers are not kept (%s): should this broker be killed, the next one will not know "
			    "its members", strerror(-error));
	l->unkept = error != 0;
}

static void keep_if_stale(struct loop *l)
{
	if (l->broker->keeper_stale && l->broker->now_ns >= l->keep_ns)
		loop_keep(l);
}

static void on_reload(struct loop *l)
{
	struct reload_result *r = &l->reload.result;
	if (!reload_hear(&l->reload))
		return;
	reload_end(&l->reload);
	if (!r->ok)
		log_error("%s: the old configuration stays in force", r->sentence);
	else if (broker_configure(l->broker, &r->config) == 0)
		log_notice("%s: %u accounts, in force", l->config_file, r->config.accounts);
	if (r->ok)
		config_doubt(l->config_file, &l->broker->config, log_doubt, NULL);
	keep_if_stale(l); /* before anybody joins a new account in this very turn */
	notify_say(&l->notify, "READY=1");
}

static void reload(struct loop *l)
{
	char lines[64];
	snprintf(lines, sizeof lines, "RELOADING=1\nMONOTONIC_USEC=%llu",
		 (unsigned long long)(clock_ns(CLOCK_MONOTONIC) / 1000));
	notify_say(&l->notify, lines);
	int error = reload_begin(&l->reload, &l->helper, l->config_file, l->broker->now_ns);
	error = error ? error : source_add(l, l->reload.fd, SOURCE_RELOAD);
	if (!error)
		return;
	log_error("%s could not be read again: %s", l->config_file,
		  error == -ENOTCONN ? "the broker's helper is gone; restart solventd, its members live on" :
				       strerror(-error));
	reload_end(&l->reload);
	notify_say(&l->notify, "READY=1");
}

/* Neither has a reason to end before us. */
static void on_child(struct loop *l)
{
	if (l->helper.pid > 0 && waitpid(l->helper.pid, NULL, WNOHANG) == l->helper.pid) {
		log_warning("the helper was killed: the configuration cannot be read again until solventd is restarted");
		l->helper.pid = 0;
		helper_end(&l->helper);
	}
	if (l->keeper.pid > 0 && waitpid(l->keeper.pid, NULL, WNOHANG) == l->keeper.pid) {
		log_warning("the keeper of the ledgers was killed; another one is started");
		l->keeper.pid = 0;
		l->broker->keeper_stale = true;
		l->keep_ns = l->keeper.since_ns + NS_PER_S; /* one that dies at once is not started at once */
	}
}

/* Is anybody there, or about to be? */
static bool is_occupied(const struct broker *b)
{
	for (uint32_t i = 0; i < b->places; i++) {
		const struct account *a = &b->account[i];
		if (a->ledger && (a->damaged ? a->members > 0 : !account_is_vacant(a)))
			return true;
	}
	return false;
}

/* A private broker lives as long as its members: a service that is stopped is told to end together
 * with its broker, and needs one until it has. */
static void on_end(struct loop *l)
{
	if (!l->until_empty || !is_occupied(l->broker))
		l->ending = true;
	else
		log_notice("%u members live on; this broker ends with the last of them", l->broker->registry.members);
}

static void on_signal(struct loop *l)
{
	struct signalfd_siginfo s;
	while (read(l->signals, &s, sizeof s) == sizeof s) {
		if (s.ssi_signo == SIGHUP)
			reload(l);
		else if (s.ssi_signo == SIGCHLD)
			on_child(l);
		else
			on_end(l);
	}
}

/* Without a descriptor to accept with, the waiting would wake us again and again. */
static void on_listener(struct loop *l)
{
	if (peers_accept(l->broker, l->listener.fd) == 0)
		return;
	log_warning("no descriptor is left to accept a connection with; raise the limit on open files");
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, l->listener.fd, NULL);
	l->deaf = true;
	l->deaf_ns = l->broker->now_ns;
}

static void listen_again(struct loop *l)
{
	if (!l->deaf || l->broker->now_ns - l->deaf_ns < TICK_NS)
		return;
	l->deaf = source_add(l, l->listener.fd, SOURCE_LISTENER) != 0;
	l->deaf_ns = l->broker->now_ns;
}

static void on_event(struct loop *l, uint32_t source)
{
	switch (source) {
	case SOURCE_LISTENER:
		on_listener(l);
		break;
	case SOURCE_DEATHS:
		registry_hear(l->broker);
		settle_deaths(l->broker);
		break;
	case SOURCE_SIGNALS:
		on_signal(l);
		break;
	case SOURCE_CONNECTOR:
		unattached_hear(l->broker, l->connector);
		break;
	case SOURCE_RELOAD:
		if (l->reload.under_way)
			on_reload(l);
		break;
	default:
		if (source < SOURCE_PEER)
			killer_hear(&l->broker->killer, source - SOURCE_BELL);
		else
			peer_ready(l->broker, source - SOURCE_PEER);
	}
}

static uint64_t lonely_until(const struct loop *l)
{
	return l->until_empty ? l->occupied_ns + (l->broker->joined > 0 ? LINGER_NS : LONELY_NS) : NEVER;
}

static void look_around(struct loop *l)
{
	uint64_t now = l->broker->now_ns;
	listen_again(l);
	if (l->notify.watchdog_ns > 0 && now - l->alive_ns >= l->notify.watchdog_ns) {
		notify_say(&l->notify, "WATCHDOG=1");
		l->alive_ns = now;
	}
	if (l->reload.under_way && now - l->reload.since_ns >= RELOAD_PATIENCE_NS) {
		log_error("%s takes too long to read; the old configuration stays in force", l->config_file);
		reload_end(&l->reload);
	}
	if (l->until_empty && is_occupied(l->broker))
		l->occupied_ns = now;
	if (now >= lonely_until(l))
		l->ending = true;
}

static uint64_t next_ns(const struct loop *l)
{
	uint64_t next = broker_next_ns(l->broker);
	next = min_u64(next, !l->until_empty || is_occupied(l->broker) ? NEVER : lonely_until(l));
	if (l->notify.watchdog_ns > 0)
		next = min_u64(next, l->alive_ns + l->notify.watchdog_ns);
	if (l->reload.under_way)
		next = min_u64(next, l->reload.since_ns + RELOAD_PATIENCE_NS);
	if (l->broker->keeper_stale)
		next = min_u64(next, l->keep_ns);
	return l->deaf ? min_u64(next, l->deaf_ns + TICK_NS) : next;
}

/* Until something happens, or is due. */
static int events_wait(struct loop *l, struct epoll_event events[EVENTS_AT_ONCE])
{
	uint64_t next = audit_goes_on(l->broker) ? 0 : next_ns(l), now = clock_ns(CLOCK_MONOTONIC);
	uint64_t left = next > now ? next - now : 0;
	struct timespec wait = { .tv_sec = (time_t)(left / NS_PER_S), .tv_nsec = (long)(left % NS_PER_S) };
	return epoll_pwait2(l->epoll, events, EVENTS_AT_ONCE, next == NEVER ? NULL : &wait, NULL);
}

void loop_run(struct loop *l)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	while (!l->ending) {
		int n = events_wait(l, events);
		l->broker->now_ns = clock_ns(CLOCK_MONOTONIC);
		for (int i = 0; i < n; i++)
			on_event(l, events[i].data.u32);
		broker_tick(l->broker);
		look_around(l);
		keep_if_stale(l);
	}
}

/* Must the next broker know the ledgers? A child may not have been entered yet, and a segment
 * outlives all who used it. */
static bool is_in_use(const struct broker *b)
{
	for (uint32_t i = 0; i < b->places; i++) {
		const struct account *a = &b->account[i];
		if (a->ledger && !a->damaged && PURSE_USED(purse_read(&a->ledger->header.purse)) != 0)
			return true;
	}
	return is_occupied(b);
}

void loop_close(struct loop *l)
{
	notify_say(&l->notify, "STOPPING=1");
	listener_close(&l->listener);
	peers_close(&l->broker->peers);
	frozen_go_all(l->broker);
	reload_end(&l->reload);
	helper_end(&l->helper);
	if (is_in_use(l->broker)) {
		log_notice("ending; %u members live on, and the next broker will know them",
			   l->broker->registry.members);
		return;
	}
	keeper_end(&l->keeper);
	if (l->state.dir >= 0)
		state_forget(&l->state);
}
