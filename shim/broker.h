/* SPDX-License-Identifier: MIT */
/* Talking to the broker: one connection a question, nothing kept open. Raw system calls
 * only, so it works in a signal handler, in a vfork child and before libc is ready. */
#pragma once

#include "include/protocol.h"
#include "reserve/embryo.h"

/* Asks to join `account` at `socket`; `wait`s a little for a broker that is being restarted,
 * as the two below do. `ret_fd` (may be NULL: not wanted) receives the
 * ledger's descriptor, close-on-exec, the caller's to close. 0; -errno when the broker
 * cannot be reached; or > 0: enum status, its refusal. */
int broker_join(const char *socket, const char *account, bool wait, struct reply_join *ret, int *ret_fd);

/* Wakes it: a connection that asks nothing. Waits for nobody, and is not tried in a process that
 * has confined itself since its start (seccomp(2)), which it could kill. */
void broker_knock(void);

/* gather_ask: reap the dead, extend the grant. */
int broker_extend(void *context, uint32_t pages, enum refusal_reason *ret_reason);

/* Tells the broker that the embryo is ours, where it cannot know our pid by itself. 0 and
 * `ret_pid`, ours as it sees it; -errno or enum status when the embryo was given up. */
int broker_adopt(const struct embryo *e, int32_t *ret_pid);
