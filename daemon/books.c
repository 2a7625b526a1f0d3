/* SPDX-License-Identifier: MIT */
/* A memfd and not a file: it must not outlive the machine, and nobody must find it by name. */
#include "daemon/books.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/value.h"

#define BOOKS_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int books_create(int *ret_fd, struct books **ret)
{
	int fd = memfd_create("solvent-books", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	const struct books_head head = { .magic = BOOKS_MAGIC, .version = BOOKS_VERSION, .accounts = BOOKS_ACCOUNTS };
	struct books *b;
	int error = fchmod(fd, 0600) != 0 || ftruncate(fd, sizeof *b) != 0 ||
		    fcntl(fd, F_ADD_SEALS, BOOKS_SEALS) != 0 ||
		    pwrite(fd, &head, sizeof head, 0) < 0 ? -errno : books_map(fd, &b);
	if (error) {
		close(fd);
		return error;
	}
	*ret_fd = fd;
	*ret = b;
	return 0;
}

/* Names go into the log and are compared as strings. */
static bool book_is_whole(const struct book *book)
{
	if (book->name[0] == '\0')
		return true;
	return memchr(book->name, '\0', sizeof book->name) && !value_name_wrong(book->name) &&
	       book->policy.mode < ACCOUNT_MODE_N;
}

static bool books_are_ours(const struct books *b)
{
	const struct books_head *h = &b->head;
	bool whole = h->magic == BOOKS_MAGIC && h->version == BOOKS_VERSION && h->accounts == BOOKS_ACCOUNTS;
	for (uint32_t i = 0; whole && i < BOOKS_ACCOUNTS; i++)
		whole = book_is_whole(&b->book[i]);
	return whole;
}

int books_map(int fd, struct books **ret)
{
	struct stat st;
	if (fstat(fd, &st) != 0)
		return -errno;
	int seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || st.st_size != (off_t)sizeof(struct books))
		return -EBADMSG;
	struct books *b = mmap(NULL, sizeof *b, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (b == MAP_FAILED)
		return -errno;
	if (!books_are_ours(b)) {
		munmap(b, sizeof *b);
		return -EBADMSG;
	}
	*ret = b;
	return 0;
}

struct book *books_find(struct books *b, uint64_t inode)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (b->book[i].name[0] != '\0' && b->book[i].inode == inode)
			return &b->book[i];
	return NULL;
}

/* With its start time a number is one process for ever (daemon/proc.h). It has 22 bits at most
 * (PID_MAX_LIMIT, include/linux/threads.h), and what is left is 600 years. */
#define PID_BITS 23

static uint64_t identity(int32_t pid, uint64_t start_ticks)
{
	return start_ticks << PID_BITS | ((uint32_t)pid & ((1u << PID_BITS) - 1));
}

void books_note(struct books *b, uint32_t i, uint32_t s, int32_t pid, uint64_t start_ticks)
{
	b->book[i].noted = (uint32_t)max_u64(b->book[i].noted, s + 1);
	b->watched[i][s] = pid > 0 ? identity(pid, start_ticks) : 0;
}

bool books_know(const struct books *b, uint32_t i, uint32_t s, int32_t pid, uint64_t start_ticks)
{
	return s < b->book[i].noted && b->watched[i][s] == identity(pid, start_ticks);
}
