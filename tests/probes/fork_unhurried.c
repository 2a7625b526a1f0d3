/* SPDX-License-Identifier: MIT */
/* Description: near its limit, with a broker that answers late, a process forks while its
 * other threads map and unmap. Some forks and some mappings are refused; a child that was let
 * in lives: what it inherited was paid for before it was there.
 * Budget: 83M */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/probes/probe.h"

#define MAPPERS 3
#define MAPPED_BYTES ((size_t)3 << 20)
#define FORKS 300
#define FORKS_SEEN 20 /* at least so many are let in, or nothing was tested */
#define STOPPED_US 20000
#define RUNNING_US 5000

static atomic_bool over;

static void *map(void *arg)
{
	while (!atomic_load(&over)) {
		char *p = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		usleep(200);
		if (p != MAP_FAILED)
			munmap(p, MAPPED_BYTES);
	}
	return arg;
}

static pid_t broker_find(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred peer = { 0 };
	socklen_t length = sizeof peer;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	const char *path = getenv("SOLVENT_SOCKET");
	size_t bytes = (size_t)snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
	if (path[0] == '@') /* an abstract one (man 7 unix) */
		to.sun_path[0] = '\0';
	socklen_t name = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + bytes);
	check(connect(fd, (struct sockaddr *)&to, name) == 0, "%s", path);
	check(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid > 0);
	close(fd);
	return peer.pid;
}

static void *delay(void *arg)
{
	pid_t broker = *(pid_t *)arg;
	while (!atomic_load(&over)) {
		kill(broker, SIGSTOP);
		usleep(STOPPED_US);
		kill(broker, SIGCONT);
		usleep(RUNNING_US);
	}
	return NULL;
}

int main(void)
{
	pthread_t mappers[MAPPERS], delayer;
	pid_t broker = broker_find();
	int let_in = 0, died = 0, status;
	for (int i = 0; i < MAPPERS; i++)
		check(pthread_create(&mappers[i], NULL, map, NULL) == 0);
	check(pthread_create(&delayer, NULL, delay, &broker) == 0);
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		if (pid < 0)
			continue;
		let_in++;
		died += waitpid(pid, &status, 0) != pid || status != 0;
	}
	atomic_store(&over, true);
	pthread_join(delayer, NULL);
	for (int i = 0; i < MAPPERS; i++)
		pthread_join(mappers[i], NULL);
	check(died == 0, "%d of %d children did not live", died, let_in);
	check(let_in >= FORKS_SEEN, "only %d forks of %d were let in", let_in, FORKS);
	return 0;
}
