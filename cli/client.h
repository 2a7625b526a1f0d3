/* SPDX-License-Identifier: MIT */
/* A connection to the broker, to read only: it asks for the pool and for accounts and
 * never joins. A broker that does not answer within CLIENT_PATIENCE_MS counts as absent. */
#pragma once

#include "include/protocol.h"

#define CLIENT_PATIENCE_MS 5000

/* Connects to a path or '@name'. A descriptor (close-on-exec, the caller closes it) or
 * -errno of connect(2); -ENAMETOOLONG, -EINVAL from protocol_address. */
int client_open(const char *name);

/* 0 and `ret`; -EPROTO when the broker speaks another version, -EBADMSG when what answers
 * is no broker, -ETIMEDOUT, or -errno. */
int client_pool(int fd, struct reply_pool *ret);

/* The account with that index, and its ledger's descriptor, read-only (the caller closes
 * it), or -1 when the broker gave none. -ENODATA past the last one; otherwise as above. */
int client_account(int fd, uint32_t index, struct reply_account *ret, int *ret_ledger);

/* A part of the order of who would be killed. -ENODATA: there is no such watch, its control group is
 * not there, or the order of that round is gone; `ret`'s watches and group are filled in then, too.
 * -EACCES: only root and the broker's user may ask; otherwise as above. */
int client_rank(int fd, struct request_rank *request, struct reply_rank *ret);

/* The end of the sentence "no broker answers at NAME: ..." for an error of the above. */
const char *client_explain(int error);

/* That sentence, whole, to stderr. */
void client_complain(const char *name, int error);
