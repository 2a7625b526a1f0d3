/* SPDX-License-Identifier: MIT */
/* What the ladder decided, done. At the crossing this is pidfd_send_signal and nothing else, but for
 * processes that there was no descriptor for (daemon/process.h). */
#pragma once

#include "daemon/killer/script.h"

struct broker;

/* Does one deed. 0, or -errno: it could not be done (-ESRCH: it has ended by itself). */
int deed_do(struct broker *b, const struct deed *d);
