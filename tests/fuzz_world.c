/* SPDX-License-Identifier: MIT */
#include "tests/fuzz_world.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/connector.h"
#include "daemon/count.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "reserve/crash.h"
#include "reserve/reap.h"
#include "tests/fuzz.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

struct world world;

/* Above all that the kernel gives out (PID_MAX_LIMIT). Some share a bucket of the registry
 * (4096); one is of a pid namespace beside ours. */
#define PID(n) ((1 << 22) + (n))
static const int32_t pids[WORLD_PROCESSES] = { PID(100), PID(101), PID(4196), PID(4197), PID(8292), PID(102),
					       PID(103), PID(4198), PID(104), 0 };

/* Connections: those that wait to be accepted, and who is behind each descriptor. */
#define QUEUE 8
#define KNOWN 1024
static struct caller {
	int fd;
	int32_t pid;
	uid_t uid;
	int end;
} queue[QUEUE], known[KNOWN];
static uint32_t waiting;

uint64_t world_now(void)
{
	return world.base_ns + world.spent_ns;
}

/* Something was asked, or done. */
static void spend(uint64_t ns)
{
	world.spent_ns += ns;
	if (world.between)
		world.between();
}

void crash_point(enum crash_point point)
{
	(void)point;
	spend(world.in_turn ? 50 : 0);
}

static void caller_forget(struct caller *c)
{
	if (c->end >= 0)
		close(c->end);
	*c = (struct caller){ .fd = -1, .end = -1 };
}

void world_begin(void)
{
	world = (struct world){ .base_ns = 1000000000000 };
	for (uint32_t i = 0; i < WORLD_PROCESSES; i++)
		world.process[i] = (struct world_process){ .pid = pids[i], .end = -1 };
	for (uint32_t i = 0; i < KNOWN; i++)
		known[i] = (struct caller){ .fd = -1, .end = -1 };
	waiting = 0;
}

void world_end(void)
{
	for (; waiting > 0; waiting--) {
		close(queue[waiting - 1].fd);
		caller_forget(&queue[waiting - 1]);
	}
	for (uint32_t i = 0; i < KNOWN; i++)
		caller_forget(&known[i]);
	for (uint32_t i = 0; i < WORLD_PROCESSES; i++)
		if (world.process[i].end >= 0)
			close(world.process[i].end);
}

struct world_process *world_find(int32_t pid)
{
	for (uint32_t i = 0; pid > 0 && i < WORLD_PROCESSES; i++)
		if (world.process[i].pid == pid && world.process[i].alive)
			return &world.process[i];
	return NULL;
}

void world_birth(uint32_t i, int32_t parent, uid_t uid)
{
	static uint64_t ticks = 1000;
	struct world_process *p = &world.process[i], *from = world_find(parent);
	world_death(i);
	world.events++;
	if (p->end >= 0)
		close(p->end);
	*p = (struct world_process){ .pid = pids[i], .parent = from ? parent : 1, .uid = uid, .alive = true,
				     .start_ticks = ++ticks, .maps = from ? from->maps : 0,
				     .end = eventfd(0, EFD_CLOEXEC) };
	must(p->end >= 0);
}

void world_death(uint32_t i)
{
	struct world_process *p = &world.process[i];
	if (!p->alive)
		return;
	world.events++;
	p->alive = false;
	p->maps = 0;
	must(eventfd_write(p->end, 1) == 0);
	for (uint32_t c = 0; c < WORLD_PROCESSES; c++)
		if (world.process[c].parent == p->pid)
			world.process[c].parent = 1;
}

static int copy_of(int fd)
{
	return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int world_connect(uint32_t i)
{
	int line[2];
	const struct world_process *p = &world.process[i];
	if (waiting == QUEUE || p->end < 0)
		return -1;
	world.events++;
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) == 0);
	queue[waiting++] = (struct caller){ line[1], p->pid, p->uid, copy_of(p->end) };
	return line[0];
}

/* --- libc --- */

int __wrap_accept4(int listener, struct sockaddr *address, socklen_t *n, int flags);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *n);
int __wrap_pidfd_open(pid_t pid, unsigned flags);
int __wrap_shmctl(int id, int command, struct shmid_ds *ret);
uint64_t __wrap_clock_ns(int clock);

int __wrap_accept4(int listener, struct sockaddr *address, socklen_t *n, int flags)
{
	(void)listener, (void)address, (void)n, (void)flags;
	if (waiting == 0) {
		errno = EAGAIN;
		return -1;
	}
	struct caller c = queue[0];
	memmove(queue, queue + 1, --waiting * sizeof *queue);
	must(c.fd < (int)KNOWN);
	caller_forget(&known[c.fd]);
	known[c.fd] = c;
	return c.fd;
}

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *n)
{
	must(level == SOL_SOCKET && fd >= 0 && fd < (int)KNOWN && known[fd].fd == fd);
	const struct caller *c = &known[fd];
	if (option == SO_PEERCRED) {
		*(struct ucred *)value = (struct ucred){ .pid = c->pid, .uid = c->uid };
		*n = sizeof(struct ucred);
		return 0;
	}
	must(option == SO_PEERPIDFD);
	if (world.no_peer_pidfd || world.no_pidfds) {
		errno = world.no_pidfds ? EMFILE : ENOPROTOOPT;
		return -1;
	}
	*(int *)value = copy_of(c->end);
	return 0;
}

int __wrap_pidfd_open(pid_t pid, unsigned flags)
{
	(void)flags;
	spend(1000);
	const struct world_process *p = world_find(pid);
	if (!p || world.no_pidfds) {
		errno = p ? EMFILE : pid > 0 ? ESRCH : EINVAL;
		return -1;
	}
	return copy_of(p->end);
}

int __wrap_shmctl(int id, int command, struct shmid_ds *ret)
{
	must(command == IPC_STAT);
	spend(300);
	if (id < 1 || id > (int)WORLD_SEGMENTS || !world.segment[id - 1]) {
		errno = EINVAL;
		return -1;
	}
	*ret = (struct shmid_ds){ .shm_perm = { .__key = id } };
	return 0;
}

uint64_t __wrap_clock_ns(int clock)
{
	(void)clock;
	return world_now();
}

/* --- daemon/proc.c --- */

int __wrap_proc_stat(int32_t pid, struct proc_stat *ret);
int __wrap_proc_uid(int32_t pid, uid_t *ret);
int __wrap_proc_effective_uid(int32_t pid, uid_t *ret);
int __wrap_count_open(int32_t pid);
int __wrap_count_quick(int32_t pid, int fd, struct count *ret);
int __wrap_count_whole(int32_t pid, uint64_t *ret_pages);
bool __wrap_count_is_shared(int32_t one, int32_t other);
bool __wrap_proc_is_foreign(int32_t pid, int pidfd);
int __wrap_proc_maps(int32_t pid, dev_t device, uint64_t inode);
bool __wrap_proc_in_cgroup(int32_t pid, const char *prefix);
int __wrap_proc_walk_open(struct proc_walk *w);
int __wrap_proc_walk_resume(struct proc_walk *w, int64_t place);
int32_t __wrap_proc_walk_next(struct proc_walk *w);
void __wrap_proc_walk_close(struct proc_walk *w);

int __wrap_proc_stat(int32_t pid, struct proc_stat *ret)
{
	spend(10000);
	const struct world_process *p = world_find(pid);
	if (!p)
		return -ENOENT;
	*ret = (struct proc_stat){ .state = 'S', .parent = p->parent, .start_ticks = p->start_ticks,
				   .comm = "a \x1b[1mname" };
	return 0;
}

int __wrap_proc_uid(int32_t pid, uid_t *ret)
{
	spend(20000);
	const struct world_process *p = world_find(pid);
	if (p)
		*ret = p->uid;
	return p ? 0 : -ENOENT;
}

int __wrap_proc_effective_uid(int32_t pid, uid_t *ret)
{
	return __wrap_proc_uid(pid, ret);
}

int __wrap_count_alone(int32_t pid, uint64_t *ret_pages);
int __wrap_count_alone(int32_t pid, uint64_t *ret_pages)
{
	(void)pid;
	(void)ret_pages;
	return -ENOENT;
}

int __wrap_count_open(int32_t pid)
{
	(void)pid;
	return -ENOENT;
}

int __wrap_count_quick(int32_t pid, int fd, struct count *ret)
{
	(void)fd;
	spend(2000);
	const struct world_process *p = world_find(pid);
	if (p)
		*ret = (struct count){ .data = p->memory, .resident = p->memory };
	return p ? 0 : -ENOENT;
}

int __wrap_count_whole(int32_t pid, uint64_t *ret_pages)
{
	spend(100000);
	const struct world_process *p = world_find(pid);
	if (p)
		*ret_pages = p->memory;
	return p ? 0 : -ENOENT;
}

bool __wrap_count_is_shared(int32_t one, int32_t other)
{
	spend(1000);
	return one % 2 && other % 2;
}

bool __wrap_proc_is_foreign(int32_t pid, int pidfd)
{
	(void)pidfd;
	spend(20000);
	const struct world_process *p = world_find(pid);
	return p && p->foreign;
}

int __wrap_proc_maps(int32_t pid, dev_t device, uint64_t inode)
{
	const struct world_process *p = world_find(pid);
	(void)device;
	spend(p && p->large ? 2000000 : 50000);
	return !p ? -ENOENT : p->secret ? -EACCES : p->large && pid % 2 ? -ETIME : p->maps == inode;
}

bool __wrap_proc_in_cgroup(int32_t pid, const char *prefix)
{
	(void)prefix;
	spend(20000);
	return world_find(pid) != NULL;
}

int __wrap_proc_walk_resume(struct proc_walk *w, int64_t place)
{
	spend(5000);
	w->at = w->place = place;
	return 0;
}

int __wrap_proc_walk_open(struct proc_walk *w)
{
	return __wrap_proc_walk_resume(w, 0);
}

int32_t __wrap_proc_walk_next(struct proc_walk *w)
{
	spend(1000);
	while (w->at < (long)WORLD_PROCESSES) {
		const struct world_process *p = &world.process[w->at++];
		w->place = w->at;
		if (p->alive && p->pid > 0)
			return p->pid;
	}
	return 0;
}

void __wrap_proc_walk_close(struct proc_walk *w)
{
	(void)w;
}

/* --- the rest --- */

int __wrap_connector_read(int fd, int32_t *ret_pid);

int __wrap_connector_read(int fd, int32_t *ret_pid)
{
	(void)fd;
	*ret_pid = world.heard[0];
	memmove(world.heard, world.heard + 1, sizeof world.heard - sizeof *world.heard);
	world.heard[ARRAY_N(world.heard) - 1] = 0;
	return *ret_pid == -1 ? -ENOBUFS : *ret_pid != 0;
}

uint32_t __real_member_reap(struct ledger *l, uint32_t s);
uint32_t __wrap_member_reap(struct ledger *l, uint32_t s);
void __wrap_log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

uint32_t __wrap_member_reap(struct ledger *l, uint32_t s)
{
	spend(5000);
	return __real_member_reap(l, s);
}

/* A line is a line, whoever chose the names in it. An account's may be of any alphabet. */
void __wrap_log_line(enum log_level level, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	(void)level;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	for (const char *c = text; *c; c++)
		must((unsigned char)*c >= ' ' && *c != 0x7f);
}
