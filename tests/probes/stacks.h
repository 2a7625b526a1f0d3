/* SPDX-License-Identifier: MIT */
/* Threads whose stacks are more than libc keeps (40 MiB): it unmaps some of them, and tells
 * nobody. */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "tests/probes/probe.h"

enum { STACKS = 11, STACK_KIB = 4608 };

static sem_t stacks_begun, stacks_ended, stacks_go;

static void *stacks_main(void *unused)
{
	sem_post(&stacks_begun);
	sem_wait(&stacks_go);
	sem_post(&stacks_ended);
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
		check(pthread_create(&thread, &large, stacks_main, NULL) == 0);
		sem_wait(&stacks_begun);
	}
	for (int i = 0; i < STACKS; i++)
		sem_post(&stacks_go);
	for (int i = 0; i < STACKS; i++)
		sem_wait(&stacks_ended);
	usleep(2000); /* until they are really gone */
}
