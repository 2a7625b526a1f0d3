/* SPDX-License-Identifier: MIT */
/* The list of accounts. Whoever asks for one by name and is wrong is told the names. */
#include "cli/account.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/text.h"
#include "reserve/ledger.h"

void account_close(struct account *a)
{
	if (a->ledger)
		ledger_unmap(a->ledger);
	a->ledger = NULL;
}

void accounts_close(struct accounts *a)
{
	for (size_t i = 0; i < a->n; i++)
		account_close(&a->at[i]);
	free(a->at);
	*a = (struct accounts){ 0 };
}

bool account_is(const struct account *a, const char *name)
{
	return strncmp(a->reply.account, name, sizeof a->reply.account) == 0;
}

const char *account_trouble(const struct account *a)
{
	if (a->reply.damaged)
		return "its ledger was written over; the broker makes it anew when its members are gone";
	return a->ledger ? NULL : "its ledger cannot be read";
}

static void account_fill(struct account *a, const struct reply_account *reply, int ledger)
{
	struct stat st = { 0 };
	*a = (struct account){ .reply = *reply };
	snprintf(a->name, sizeof a->name, "%.63s", text_clean(reply->account, sizeof reply->account).s);
	if (ledger < 0)
		return;
	if (fstat(ledger, &st) == 0)
		a->inode = st.st_ino;
	if (ledger_map(ledger, false, &a->ledger) != 0)
		a->ledger = NULL;
	close(ledger);
}

/* Appends a place for one more. */
static struct account *accounts_grow(struct accounts *a)
{
	struct account *more = realloc(a->at, (a->n + 1) * sizeof *more);
	if (!more)
		return NULL;
	a->at = more;
	return &a->at[a->n++];
}

static int accounts_list(int fd, const char *only, struct accounts *a)
{
	/* The bound is against a broker that never says STATUS_END. */
	for (uint32_t i = 0; i < 65536; i++) {
		struct reply_account reply;
		int ledger, error = client_account(fd, i, &reply, &ledger);
		if (error == -ENODATA)
			return only && a->n == 0 ? -ENODATA : 0;
		if (error)
			return error;
		if (only && strncmp(only, reply.account, sizeof reply.account) != 0) {
			if (ledger >= 0)
				close(ledger);
			continue;
		}
		struct account *place = accounts_grow(a);
		if (!place) {
			if (ledger >= 0)
				close(ledger);
			return -ENOMEM;
		}
		account_fill(place, &reply, ledger);
	}
	return -EBADMSG;
}

int accounts_open(const char *socket, const char *only, struct accounts *ret)
{
	struct accounts a = { 0 };
	int fd = client_open(socket);
	if (fd < 0)
		return fd;
	int error = client_pool(fd, &a.pool);
	if (!error)
		error = accounts_list(fd, only, &a);
	close(fd);
	if (error) {
		accounts_close(&a);
		return error;
	}
	*ret = a;
	return 0;
}

static void complain_of_no_account(const char *socket, const char *only)
{
	struct accounts a;
	char names[1024] = "";
	size_t at = 0;
	if (accounts_open(socket, NULL, &a) != 0)
		a = (struct accounts){ 0 };
	for (size_t i = 0; i < a.n && at < sizeof names; i++)
		at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", a.at[i].name);
	accounts_close(&a);
	cli_complain("the broker at %s shows no account \"%s\"; it has %s", socket, only, *names ? names : "none");
}

int accounts_open_or_complain(const char *socket, const char *only, struct accounts *ret)
{
	int error = accounts_open(socket, only, ret);
	if (error == -ENODATA && only)
		complain_of_no_account(socket, only);
	else if (error)
		client_complain(socket, error);
	return error;
}
