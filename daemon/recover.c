/* SPDX-License-Identifier: MIT */
/* The books say what is ours, what was granted and who was watched, the ledgers say who was in
 * them, the kernel says who still is. Only the first and the last are believed. */
#include "daemon/recover.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/frozen.h"
#include "daemon/log.h"
#include "daemon/settle.h"
#include "reserve/crash.h"

static bool books_take(struct broker *b, int fd)
{
	struct books *books;
	int error = fd < 0 ? -1 : books_map(fd, &books);
	if (error)
		return false;
	munmap(b->books, sizeof *b->books);
	close(b->books_fd);
	b->books = books;
	b->books_fd = fd;
	return true;
}

static void ledger_take(struct broker *b, int fd)
{
	struct stat st;
	struct book *book = fstat(fd, &st) == 0 ? books_find(b->books, st.st_ino) : NULL;
	struct account *a = book ? &b->account[book - b->books->book] : NULL;
	int error = !a || a->ledger ? -1 : account_adopt(a, book, fd);
	if (error) {
		log_warning("a ledger of the last broker is not in its books, or is none; it is not used");
		close(fd);
		return;
	}
	b->places = (uint32_t)max_u64(b->places, (uint64_t)(a - b->account) + 1);
	CRASH_POINT(RECOVER_TAKEN);
	a->retired = true;
	if (a->damaged)
		log_error("account \"%s\": its ledger was written over; nobody may join until its members are gone",
			  a->name);
	else
		settle_account(b, a, true);
	CRASH_POINT(RECOVER_SETTLED);
}

/* Whom the last broker watched and we do not is nobody's any more. */
static void notes_tidy(struct broker *b, uint32_t i)
{
	uint64_t noted = min_u64(b->books->book[i].noted, LEDGER_SLOTS);
	for (uint32_t s = 0; s < noted; s++)
		if (b->account[i].member[s].life != MEMBER_WATCHED)
			books_note(b->books, i, s, 0, 0);
}

/* Entries of the books whose ledger did not come with them are worth nothing. */
static void books_tidy(struct broker *b)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++) {
		notes_tidy(b, i);
		if (!b->account[i].ledger)
			b->books->book[i] = (struct book){ 0 };
	}
}

void recover(struct broker *b, struct kept *k)
{
	bool usable = books_take(b, k->books);
	if (!usable && k->books >= 0)
		close(k->books);
	if (!usable && k->ledgers > 0)
		log_warning("the books of the last broker cannot be read; its ledgers are not used");
	for (uint32_t i = 0; i < k->ledgers; i++) {
		if (usable)
			ledger_take(b, k->ledger[i]);
		else
			close(k->ledger[i]);
	}
	books_tidy(b);
	frozen_go_all(b);
	if (usable)
		log_notice("took over %u ledgers with %u members", k->ledgers, b->registry.members);
}
