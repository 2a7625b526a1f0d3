/* SPDX-License-Identifier: MIT */
/* What the kernel counts for a process: the oracle `solvent audit` compares with. */
#pragma once

#include <stdio.h>

#include "include/base.h"

/* Pages of all mappings in an smaps stream (proc_pid_smaps(5)) whose VmFlags contain `ac`,
 * VM_ACCOUNT: those the kernel charges against its commit limit, counted in every
 * overcommit mode. Shared mappings never carry it. -EBADMSG when it is not smaps. */
int smaps_accountable(FILE *smaps, uint64_t *ret_pages);

/* The same for a process; also -ENOENT or -ESRCH when it is gone, -EACCES or -EPERM when
 * its smaps may not be read (PTRACE_MODE_READ). A process without memory (a zombie) has 0. */
int smaps_of(int32_t pid, uint64_t *ret_pages);

/* Field 6 of /proc/PID/statm: private writable pages, O(1) and readable by anyone. It
 * differs from the above by NORESERVE mappings (more) and RELRO (less). Pages. */
int statm_of(int32_t pid, uint64_t *ret_pages);

/* Field 22 of /proc/PID/stat: when it started, in clock ticks since boot; tells one
 * process from the next with the same pid. */
int start_ticks_of(int32_t pid, uint64_t *ret_ticks);
