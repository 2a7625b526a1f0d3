/* SPDX-License-Identifier: MIT */
/* Nothing a message says about its sender is believed; what it says about an account is
 * looked up. Every answer has the size its opcode promises, also when it is a no, so that
 * an honest peer never has to guess; who did not speak the protocol gets the bare head. */
#include "daemon/request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/credit.h"
#include "daemon/damage.h"
#include "daemon/funds.h"
#include "daemon/join.h"
#include "daemon/killer/show.h"
#include "daemon/proc.h"
#include "daemon/settle.h"

static void status_set(struct reply *r, enum status status)
{
	r->head.status = status;
}

static bool name_is_whole(const char name[ACCOUNT_NAME_BYTES])
{
	return memchr(name, '\0', ACCOUNT_NAME_BYTES) != NULL;
}

static void answer_join(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	const struct request_join *q = packet;
	enum status status = name_is_whole(q->account) ? join(b, peer, q->account, r) : STATUS_MALFORMED;
	status_set(r, status);
	if (status != STATUS_OK)
		join_turned_away(b, peer, q->account, status);
}

/* Is it the process in the slot, or a child of vfork, which borrows its parent's memory and slot
 * until it calls execve? */
static bool is_of_slot(const struct account *a, uint32_t s, const struct peer *peer)
{
	struct proc_stat st;
	const struct member *m = s < LEDGER_SLOTS ? &a->member[s] : NULL;
	if (!m || m->life != MEMBER_WATCHED || m->unattached)
		return false;
	return m->pid == peer->pid || (proc_stat(peer->pid, &st) == 0 && st.parent == m->pid);
}

/* Asked last: what was found by its number is its own then. Where no descriptor is left to ask with
 * it is believed: it is handed nothing, and no member is to be refused for that. */
static bool speaks_for(const struct account *a, uint32_t s, const struct peer *peer)
{
	return is_of_slot(a, s, peer) && peer_check(peer) != -ESRCH;
}

/* The account of a request by one of its members, its dead reaped and its newborn known. */
static enum status account_refresh(struct broker *b, const char name[ACCOUNT_NAME_BYTES], struct account **ret)
{
	struct account *a = name_is_whole(name) ? broker_find(b, name) : NULL;
	if (!a)
		return STATUS_NO_ACCOUNT;
	registry_hear(b);
	if (damage_absent(b, a))
		settle_account(b, a, false);
	if (a->damaged)
		return STATUS_DAMAGED;
	*ret = a;
	return STATUS_OK;
}

static void answer_extend(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	const struct request_extend *q = packet;
	struct account *a;
	enum status status = account_refresh(b, q->account, &a);
	if (status == STATUS_OK && !speaks_for(a, q->slot, peer))
		status = STATUS_NOT_MEMBER;
	if (status == STATUS_OK) {
		r->extend.reason = funds_extend(b, a, q->pages, &r->extend.pages);
		status = r->extend.reason == REASON_NONE ||
				 (r->extend.reason == REASON_LIMIT && !q->for_child && credit_call(b, a, q->slot)) ?
				 STATUS_OK : STATUS_REFUSED;
	}
	status_set(r, status);
}

static void answer_adopt(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	const struct request_adopt *q = packet;
	struct account *a;
	enum status status = account_refresh(b, q->account, &a);
	if (status == STATUS_OK)
		status = adopt(b, a, peer, q->slot, q->generation, r);
	status_set(r, status);
}

/* Root, our own user, and whoever may join see an account. */
static bool may_see(const struct broker *b, const struct account *a, const struct peer *peer)
{
	return a->ledger && (peer->uid == 0 || peer->uid == b->uid || admission_allows(&a->admission, peer->uid));
}

static struct account *nth_visible(struct broker *b, const struct peer *peer, uint32_t n)
{
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		if (may_see(b, &b->account[i], peer) && n-- == 0)
			return &b->account[i];
	return NULL;
}

static void answer_pool(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	(void)packet;
	r->pool.limit = b->config.pool;
	r->pool.granted = (uint32_t)min_u64(funds_promised(b), PAGES_MAX);
	for (uint32_t i = 0; i < BOOKS_ACCOUNTS; i++)
		r->pool.accounts += may_see(b, &b->account[i], peer);
	r->pool.members = b->registry.members;
	r->pool.broker_pid = (int32_t)getpid();
	r->pool.turned_away = b->turned_away;
	r->pool.start_ns = b->start_ns;
	snprintf(r->pool.version, sizeof r->pool.version, "%s", SOLVENT_VERSION);
}

static void answer_account(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	const struct request_account *q = packet;
	const struct account *a = nth_visible(b, peer, q->index);
	r->account.index = q->index;
	if (!a) {
		status_set(r, STATUS_END);
		return;
	}
	r->account.members = a->members;
	r->account.damaged = a->damaged;
	r->account.turned_away = a->turned_away;
	memcpy(r->account.account, a->name, sizeof a->name);
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", a->fd);
	r->fd = open(path, O_RDONLY | O_CLOEXEC);
	r->fd_is_temporary = true;
}

/* Whose processes are whose is nobody else's business. */
static void answer_rank(struct broker *b, const struct peer *peer, const void *packet, struct reply *r)
{
	bool allowed = peer->uid == 0 || peer->uid == b->uid;
	status_set(r, allowed ? show_rank(b, packet, &r->rank) : STATUS_NOT_ALLOWED);
}

static const struct {
	size_t request_bytes, reply_bytes;
	void (*answer)(struct broker *, const struct peer *, const void *, struct reply *);
	bool is_last; /* on its connection */
} kind[OPCODE_N] = {
	[OPCODE_JOIN] = { sizeof(struct request_join), sizeof(struct reply_join), answer_join, true },
	[OPCODE_EXTEND] = { sizeof(struct request_extend), sizeof(struct reply_extend), answer_extend, true },
	[OPCODE_ADOPT] = { sizeof(struct request_adopt), sizeof(struct reply_join), answer_adopt, true },
	[OPCODE_POOL] = { sizeof(struct request_pool), sizeof(struct reply_pool), answer_pool },
	[OPCODE_RANK] = { sizeof(struct request_rank), sizeof(struct reply_rank), answer_rank },
	[OPCODE_ACCOUNT] = { sizeof(struct request_account), sizeof(struct reply_account), answer_account },
};

static enum status packet_check(const struct message *head, size_t bytes)
{
	if (bytes < sizeof *head || head->magic != PROTOCOL_MAGIC)
		return STATUS_MALFORMED;
	if (head->version != PROTOCOL_VERSION)
		return STATUS_VERSION;
	if (head->opcode >= OPCODE_N || !kind[head->opcode].answer || bytes != kind[head->opcode].request_bytes)
		return STATUS_MALFORMED;
	return STATUS_OK;
}

void request_answer(struct broker *b, const struct peer *peer, const void *packet, size_t bytes,
		    struct reply *ret)
{
	const struct message *head = packet;
	enum status status = packet_check(head, bytes);
	/* Of the union what is sent, and no more: joining is not to wait for the largest. */
	ret->bytes = status == STATUS_OK ? kind[head->opcode].reply_bytes : sizeof ret->head;
	memset(&ret->head, 0, ret->bytes);
	ret->fd = -1;
	ret->fd_is_temporary = ret->new_member = false;
	ret->hang_up = status != STATUS_OK || kind[head->opcode].is_last;
	ret->place = ret->slot = 0;
	ret->head = (struct message){ .magic = PROTOCOL_MAGIC, .version = PROTOCOL_VERSION,
				      .opcode = bytes >= sizeof *head ? head->opcode : 0, .status = status };
	if (status == STATUS_OK)
		kind[head->opcode].answer(b, peer, packet, ret);
}

void request_undo(struct broker *b, const struct reply *reply)
{
	struct account *a = &b->account[reply->place];
	if (!reply->new_member || a->member[reply->slot].life != MEMBER_WATCHED)
		return;
	member_doom(b, a, reply->slot, slot_read(a->ledger, reply->slot));
	settle_account(b, a, false);
}
