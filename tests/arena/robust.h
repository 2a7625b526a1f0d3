/* SPDX-License-Identifier: MIT */
/* A robust mutex in a file that processes share: who waits for it is to hear of its owner's death. */
#pragma once

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct robust {
	pthread_mutex_t mutex;
	_Atomic int is_held;
};

static inline struct robust *robust_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct robust)) != 0) {
		perror(path);
		exit(1);
	}
	struct robust *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return r;
}

/* Makes it and takes it. */
static inline void robust_hold(struct robust *r)
{
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&r->mutex, &a);
	pthread_mutex_lock(&r->mutex);
	r->is_held = 1;
}
