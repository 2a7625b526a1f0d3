/* SPDX-License-Identifier: MIT */
/* Description: what a thread maps where another one has just detached a segment is its own:
 * the segment's marks do not come back upon it and make it free.
 * Budget: 64M */
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "tests/probes/probe.h"

#define BYTES ((size_t)1 << 20)
#define PAGES ((long)(BYTES / 4096))
#define ROUNDS 30000

static int segment;

static void *attach(void *stop)
{
	while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
		void *at = shmat(segment, NULL, 0);
		check(at != (void *)-1 && shmdt(at) == 0);
	}
	return NULL;
}

int main(void)
{
	static int stop;
	pthread_t other;
	segment = shmget(IPC_PRIVATE, BYTES, 0600);
	check(segment >= 0 && shmat(segment, NULL, 0) != (void *)-1);
	check(shmctl(segment, IPC_RMID, NULL) == 0);
	check(pthread_create(&other, NULL, attach, &stop) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		void *m = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		check(m != MAP_FAILED);
		long before = charged_pages();
		check(mprotect(m, BYTES, PROT_READ | PROT_WRITE) == 0);
		long cost = charged_pages() - before;
		check(cost >= PAGES, "in round %d 1 MiB cost %ld pages", i, cost);
		check(munmap(m, BYTES) == 0);
	}
	stop = 1;
	check(pthread_join(other, NULL) == 0);
	return 0;
}
