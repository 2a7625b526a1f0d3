/* SPDX-License-Identifier: MIT */
/* Why a process of an account has no shim. */
#pragma once

#include <stdint.h>

/* A phrase, static: "statically linked". Reads /proc of the process; what may not be read is
 * a reason, too. */
const char *reason_unattached(int32_t pid);
