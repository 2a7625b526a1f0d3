/* SPDX-License-Identifier: MIT */
#include "daemon/frozen.h"

#include <errno.h>
#include <signal.h>

#include "daemon/broker.h"
#include "daemon/log.h"
#include "daemon/proc.h"
#include "daemon/process.h"

static bool lives(const struct book_frozen *f)
{
	struct proc_stat st;
	return proc_stat(f->pid, &st) == 0 && st.start_ticks == f->start_ticks;
}

static struct book_frozen *entry_find(struct books *books, int32_t pid, uint64_t start_ticks)
{
	for (uint32_t i = 0; i < BOOKS_FROZEN; i++)
		if (books->frozen[i].pid == pid && books->frozen[i].start_ticks == start_ticks)
			return &books->frozen[i];
	return NULL;
}

/* A free one, or one of a process that has ended. */
static struct book_frozen *entry_free(struct books *books)
{
	for (uint32_t i = 0; i < BOOKS_FROZEN; i++)
		if (books->frozen[i].pid == 0 || !lives(&books->frozen[i]))
			return &books->frozen[i];
	return NULL;
}

/* Written down first: who is stopped and stands nowhere is stopped for ever. */
int frozen_stop(struct broker *b, int32_t pid, uint64_t start_ticks, int pidfd)
{
	struct book_frozen *f = entry_find(b->books, pid, start_ticks);
	f = f ? f : entry_free(b->books);
	if (!f)
		return -ENOSPC;
	*f = (struct book_frozen){ .pid = pid, .start_ticks = start_ticks };
	return process_signal(pid, start_ticks, pidfd, SIGSTOP);
}

int frozen_go(struct broker *b, int32_t pid, uint64_t start_ticks, int pidfd)
{
	struct book_frozen *f = entry_find(b->books, pid, start_ticks);
	int error = process_signal(pid, start_ticks, pidfd, SIGCONT);
	if (f)
		*f = (struct book_frozen){ .pid = 0 };
	return error;
}

void frozen_go_all(struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_FROZEN; i++) {
		struct book_frozen *f = &b->books->frozen[i];
		if (f->pid > 0 && process_signal(f->pid, f->start_ticks, -1, SIGCONT) == 0)
			log_notice("process %d, which was frozen, goes on", f->pid);
		*f = (struct book_frozen){ .pid = 0 };
	}
}
