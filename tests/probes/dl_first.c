/* SPDX-License-Identifier: MIT */
/* Description: the first library that a program opens is charged until it is closed, without a
 * moment in between, though the program's own data is looked at then for the first time.
 * Budget: 128M */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "tests/probes/bloated_library.h"

#define MIB ((size_t)1 << 20)
#define LIBRARY_BYTES (16 * MIB)
#define STACK_BYTES (8 * MIB) /* of the thread that watches */
#define ROUNDS 100

static char own[8 * MIB]; /* never written to, and charged from the start */
static const char *path;
static atomic_bool over;
static atomic_bool gap;

/* In a child, so that this process has not opened any. */
static void library_make_elsewhere(void)
{
	int status;
	path = library_place();
	pid_t pid = fork();
	if (pid == 0) {
		library_write(path, LIBRARY_BYTES);
		_exit(0);
	}
	check(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		exit(77); /* it has said why */
	check(status == 0, "%#x", status);
}

/* From the moment the library is charged on. */
static void *watch(void *opaque)
{
	uint64_t charged = *(uint64_t *)opaque;
	while (figures().process_bytes < charged && !atomic_load(&over))
		;
	while (!atomic_load(&over))
		if (figures().process_bytes < charged)
			atomic_store(&gap, true);
	return NULL;
}

static int round_run(void)
{
	pthread_t watcher;
	uint64_t charged = figures().process_bytes + STACK_BYTES + LIBRARY_BYTES;
	check(pthread_create(&watcher, NULL, watch, &charged) == 0);
	void *handle = dlopen(path, RTLD_NOW);
	atomic_store(&over, true);
	pthread_join(watcher, NULL);
	return handle == NULL || atomic_load(&gap);
}

int main(void)
{
	int found = 0;
	__asm__ volatile("" : : "r"(own));
	library_make_elsewhere();
	for (int i = 0; i < ROUNDS; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			_exit(round_run());
		check(pid > 0 && waitpid(pid, &status, 0) == pid);
		found += status != 0;
	}
	check(found == 0, "in %d of %d", found, ROUNDS);
	return 0;
}
