/* SPDX-License-Identifier: MIT */
/* Description: jemalloc's tables may come to lie where a thread's stack was, which libc has
 * unmapped unseen and whose marks stand there still: what is written to is writable.
 * Budget: 256G */
#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "tests/probes/probe.h"

/* Together more than libc keeps (40 MiB), and nobody is told that one of them is gone. */
enum { GIBS = 40, STACKS = 11, STACK_KIB = 4608 };

static sem_t begun, ended, go;

static void *thread_main(void *unused)
{
	sem_post(&begun);
	sem_wait(&go);
	sem_post(&ended);
	return unused;
}

static void stacks_come_and_go(void)
{
	pthread_t thread;
	pthread_attr_t large;
	pthread_attr_init(&large);
	pthread_attr_setstacksize(&large, (size_t)STACK_KIB << 10);
	pthread_attr_setdetachstate(&large, PTHREAD_CREATE_DETACHED);
	for (int i = 0; i < STACKS; i++) {
		check(pthread_create(&thread, &large, thread_main, NULL) == 0);
		sem_wait(&begun);
	}
	for (int i = 0; i < STACKS; i++)
		sem_post(&go);
	for (int i = 0; i < STACKS; i++)
		sem_wait(&ended);
	usleep(2000); /* until they are really gone */
}

int main(void)
{
	char *block[GIBS];
	sem_init(&begun, 0, 0);
	sem_init(&ended, 0, 0);
	sem_init(&go, 0, 0);
	for (int i = 0; i < GIBS; i++) {
		stacks_come_and_go();
		block[i] = malloc(((size_t)1 << 30) + 4096);
		check(block[i], "the %d. GiB", i);
		block[i][0] = 1;
		check(charged_pages() >= kernel_pages(), "charged %ld, the kernel counts %ld", charged_pages(), kernel_pages());
	}
	for (int i = 0; i < GIBS; i++)
		free(block[i]);
	return 0;
}
