/* SPDX-License-Identifier: MIT */
#include "shim/confined.h"

#include <sys/prctl.h>

#include "shim/raw.h"

static long mode_at_start;

/* 0: none, 1: strict, 2: filtered; -EINVAL: a kernel without (man 2 prctl). */
static long seccomp_mode(void)
{
	return raw_call1(SYS_prctl, PR_GET_SECCOMP);
}

__attribute__((constructor)) static void confined_start(void)
{
	mode_at_start = seccomp_mode();
}

bool confined(void)
{
	return seccomp_mode() != mode_at_start;
}
