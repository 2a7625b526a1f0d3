/* SPDX-License-Identifier: MIT */
/* The constructor: an unaccounted process goes in, a member comes out, or none at all.
 *
 * Linked with -z initfirst, so no other library's constructor runs before it. What was
 * allocated earlier still (the dynamic loader, libc) is counted in `mine` and charged
 * with the rest when we join. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "shim/baseline.h"
#include "shim/broker.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/exec.h"
#include "shim/fork.h"
#include "shim/next.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/tables.h"

/* Sanitizers own malloc and map terabytes; their runtimes are known by these. */
extern void __asan_init(void) __attribute__((weak));
extern void __tsan_init(void) __attribute__((weak));
extern void __msan_init(void) __attribute__((weak));

static void say(const char *const *parts)
{
	char line[512];
	size_t n = 0;
	for (; *parts; parts++)
		for (const char *c = *parts; *c && n < sizeof line; c++)
			line[n++] = *c;
	raw_call3(SYS_write, 2, line, n);
}

/* The one time the shim speaks: when it keeps the program from starting. */
static _Noreturn void refuse_start(const char *why, const char *what_to_do)
{
	const char *parts[] = { "solvent: ", why, "; ", what_to_do, " (exit 125)\n", NULL };
	say(parts);
	raw_call1(SYS_exit_group, 125);
	__builtin_unreachable();
}

static const char *env(const char *name)
{
	const char *value = secure_getenv(name);
	return value ? value : "";
}

/* A page that fork does not copy: see struct self. */
static bool token_make(void)
{
	long r = raw_mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw_failed(r))
		return false;
	volatile uint32_t *token = (volatile uint32_t *)r;
	if (raw_failed(raw_madvise((void *)r, PAGE_BYTES, MADV_WIPEONFORK)))
		return false;
	*token = 1;
	self.token = token;
	return true;
}

static const char *status_sentence(int status)
{
	switch (status) {
	case STATUS_NO_ACCOUNT:
		return "the broker has no account of that name";
	case STATUS_NOT_ALLOWED:
		return "this user may not join the account";
	case STATUS_VERSION:
		return "the broker speaks another version of the protocol";
	case STATUS_FULL:
		return "the account's ledger has no free slot";
	case STATUS_DAMAGED:
		return "the account's ledger was damaged and waits for its members to end";
	default:
		return "no broker answers";
	}
}

static const char *status_advice(int status)
{
	switch (status) {
	case STATUS_NO_ACCOUNT:
		return "add it to solvent.conf or name another with " ENV_ACCOUNT;
	case STATUS_NOT_ALLOWED:
		return "add the user to the account's `users` in solvent.conf";
	case STATUS_VERSION:
		return "install solventd and libsolvent.so of the same version";
	case STATUS_FULL:
		return "end some of its processes first";
	case STATUS_DAMAGED:
		return "end them, then start again";
	default:
		return "start solventd, or set " ENV_NO_BROKER "=open to run unaccounted";
	}
}

static void text_copy(char *to, size_t n, const char *from)
{
	size_t length = strnlen(from, n - 1);
	memcpy(to, from, length);
	to[length] = '\0';
}

/* Our mappings, which other programs' ledgers must not count as theirs, and the image this
 * process had before it called execve, whose charge is still in the slot. */
static enum refusal_reason settle_start(bool renewed)
{
	struct self_lock lock;
	struct slot *me = &self.ledger->slot[self.slot];
	uint32_t before = renewed ? PURSE_USED(purse_read(&me->purse)) : 0;
	uint32_t now = (uint32_t)SELF_MINE_PAGES(self.mine);
	if (renewed)
		memset(me->category, 0, sizeof me->category);
	if (!self_lock(&lock))
		return REASON_BROKER;
	struct gather g = self_gather();
	enum refusal_reason reason = now > before ? gather_take(&g, now - before) : REASON_NONE;
	if (now < before)
		purse_give(&me->purse, before - now);
	gather_trim(&g);
	self_unlock(&lock);
	/* What covered the old image beside its charge is gone with it. */
	charge_soft_show(self.slot);
	__atomic_store_n(&me->credit, 0, __ATOMIC_RELAXED);
	return reason;
}

void self_join(void)
{
	struct reply_join reply;
	/* Who may run without a broker need not wait for one. */
	int result = self_enter(env(ENV_ACCOUNT), !self.may_be_open, &reply);
	if (result != 0) {
		/* A broker that answers and says no is not "no broker": only `open` runs on. */
		if (!self.may_be_open)
			refuse_start(status_sentence(result), status_advice(result));
		self.state = SELF_OPEN;
		return;
	}
	baseline_find();
	tables_thin();
	enum refusal_reason reason = settle_start(reply.renewed != 0);
	self.state = SELF_MEMBER;
	charge_categories_start();
	if (reason == REASON_NONE)
		return;
	door_refused(OP_JOIN, bytes_of(charge_mine()), reason);
	refuse_start("the account's budget is too small for this program to start",
		     "raise its limit, or end other members");
}

/* libc hands constructors what main gets; we run before libc has put it into environ. */
__attribute__((constructor)) static void start(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv;
	if (!environ)
		environ = envp;
	next_resolve();
	self.pid = raw_getpid();
	self.may_be_open = strcmp(env(ENV_NO_BROKER), "open") == 0;
	const char *socket = env(ENV_SOCKET);
	text_copy(self.socket, sizeof self.socket, *socket ? socket : PROTOCOL_SOCKET);
	exec_remember();
	if (__asan_init || __tsan_init || __msan_init || !token_make()) {
		self.state = SELF_OPEN;
		return;
	}
	fork_register();
	self_join();
}
