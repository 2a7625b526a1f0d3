/* SPDX-License-Identifier: MIT */
#pragma once

#include "include/ledger.h"

/* door_refused (shim/door.h) for who knows the caller's return address: if no more can be
 * found out, that is recorded. */
void refuse_by(enum refusal_op op, uint64_t bytes, enum refusal_reason reason, const void *caller);
