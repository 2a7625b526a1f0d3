/* SPDX-License-Identifier: MIT */
/* Description: a segment with a key is charged once, to whoever makes it: not to who finds it, to who
 * is told that it exists already, nor to both when two ask at the same moment; and not at all when
 * it was there before anybody was in the account.
 * Budget: 96M */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "tests/fork_tied.h"
#include "tests/probes/probe.h"

#define BYTES ((size_t)8 << 20)
#define PAGES ((long)(BYTES / 4096))
#define TOO_MUCH ((size_t)256 << 20)
#define NOISE 512 /* pages of the heap, the page map, and what threads leave behind */
#define ROUNDS 200

static key_t key;
static int segment = -1;

static void segment_remove(void)
{
	if (segment >= 0)
		check(shmctl(segment, IPC_RMID, NULL) == 0);
	segment = -1;
}

/* Of a check that failed none is left on the machine. */
static void segment_remove_at_exit(void)
{
	shmctl(segment, IPC_RMID, NULL);
}

static void charged_is(long expected, const char *when)
{
	long pages = account_settled(expected + NOISE);
	check(pages >= expected - NOISE && pages <= expected + NOISE, "%s: %ld pages, expected %ld", when, pages, expected);
}

/* Of our own, and nobody's. */
static void key_choose(void)
{
	for (key = 0x501f0000 + getpid(); shmget(key, 0, 0) >= 0; key += 0x10001)
		;
	check(errno == ENOENT);
}

static int find_in_child(void)
{
	int id = shmget(key, BYTES, IPC_CREAT | 0600);
	char *p = shmat(id, NULL, 0);
	if (id != segment || p == (void *)-1)
		return 1;
	memset(p, 1, BYTES);
	return shmdt(p) != 0;
}

static void made_once(long before)
{
	int status;
	unsigned long refusals = figures().refusals;
	segment = shmget(key, BYTES, IPC_CREAT | IPC_EXCL | 0600);
	check(segment >= 0);
	charged_is(before + PAGES, "made");
	check(shmget(key, BYTES, IPC_CREAT | 0600) == segment && shmget(key, 0, 0) == segment);
	charged_is(before + PAGES, "found");
	check(shmget(key, BYTES, IPC_CREAT | IPC_EXCL | 0600) == -1 && errno == EEXIST);
	charged_is(before + PAGES, "refused by the kernel, for it exists");
	check(shmget(key, 2 * BYTES, IPC_CREAT | 0600) == -1 && errno == EINVAL);
	charged_is(before + PAGES, "refused by the kernel, for it is smaller");
	pid_t pid = fork();
	if (pid == 0)
		_exit(find_in_child());
	check(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "%#x", status);
	charged_is(before + PAGES, "found by another member");
	check(figures().refusals == refusals);
	segment_remove();
	charged_is(before, "removed");
}

static void too_large(long before)
{
	unsigned long refusals = figures().refusals;
	errno = 0;
	check(shmget(key, TOO_MUCH, IPC_CREAT | 0600) == -1 && errno == ENOMEM && figures().refusals == refusals + 1);
	check(shmget(key, 0, 0) == -1 && errno == ENOENT, "it was made all the same");
	charged_is(before, "refused");
}

/* By libc's own function, past us. */
static void made_by_a_stranger(long before)
{
	int (*make)(key_t, size_t, int) =
		(int (*)(key_t, size_t, int))(uintptr_t)dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "shmget");
	check(make && make != shmget);
	segment = make(key, BYTES, IPC_CREAT | 0600);
	check(segment >= 0 && shmget(key, BYTES, IPC_CREAT | 0600) == segment);
	charged_is(before, "a stranger's");
	segment_remove();
	charged_is(before, "a stranger's, removed");
}

/* --- two at once --- */

static int *go; /* which round, shared */
static int line[2];

static void race(void)
{
	for (int round = 1; round <= ROUNDS; round++) {
		while (__atomic_load_n(go, __ATOMIC_ACQUIRE) < round)
			;
		int id = shmget(key, BYTES, IPC_CREAT | 0600);
		check(write(line[1], &id, sizeof id) == sizeof id);
	}
}

static void race_watch(const char *who)
{
	int id[2];
	long before = account_pages();
	for (int round = 1; round <= ROUNDS; round++) {
		__atomic_store_n(go, round, __ATOMIC_RELEASE);
		check(read(line[0], id, sizeof *id) == sizeof *id && read(line[0], id + 1, sizeof *id) == sizeof *id);
		segment = id[0];
		check(id[0] >= 0 && id[0] == id[1], "%d, %d", id[0], id[1]);
		charged_is(before + PAGES, who);
		segment_remove();
		charged_is(before, who);
	}
	*go = 0;
}

static void made_by_two_members(void)
{
	pid_t pid[2];
	for (int i = 0; i < 2; i++)
		if ((pid[i] = fork_tied()) == 0) {
			race();
			_exit(pause());
		}
	check(pid[0] > 0 && pid[1] > 0);
	usleep(200000); /* they are known by now, and settled */
	race_watch("made by two members");
	for (int i = 0; i < 2; i++)
		check(kill(pid[i], SIGKILL) == 0 && waitpid(pid[i], NULL, 0) == pid[i]);
}

static void *race_in_thread(void *arg)
{
	race();
	return arg;
}

static void made_by_two_threads(void)
{
	pthread_t thread[2];
	for (int i = 0; i < 2; i++)
		check(pthread_create(&thread[i], NULL, race_in_thread, NULL) == 0);
	race_watch("made by two threads");
	for (int i = 0; i < 2; i++)
		check(pthread_join(thread[i], NULL) == 0);
}

int main(void)
{
	check(atexit(segment_remove_at_exit) == 0);
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	key_choose();
	segment = shmget(key, BYTES, IPC_CREAT | 0600);
	segment_remove();
	long before = account_pages();
	made_once(before);
	too_large(before);
	made_by_a_stranger(before);
	go = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(go != MAP_FAILED && pipe(line) == 0);
	made_by_two_members();
	account_settled(before + NOISE); /* without them */
	made_by_two_threads();
	return 0;
}
