/* SPDX-License-Identifier: MIT */
/* The order as of now, for solvent rank: made when it is asked for, by the same functions and from
 * the same roll that decide, and handed out a few rows at a time. */
#pragma once

#include "include/protocol.h"

struct broker;

/* Answers one request; STATUS_END: no such watch, or it is another order by now. */
enum status show_rank(struct broker *b, const struct request_rank *q, struct reply_rank *ret);
