/* SPDX-License-Identifier: MIT */
/* What the kernel counts for a process: the oracle `solvent audit` compares with. */
#pragma once

#include <stdio.h>

#include "include/base.h"

/* Pages of all mappings in an smaps stream (proc_pid_smaps(5)) whose VmFlags contain `ac`,
 * VM_ACCOUNT: those the kernel charges against its commit limit, counted in every
 * overcommit mode. Shared mappings never carry it. -EBADMSG when it is not smaps. */
int smaps_accountable(FILE *smaps, uint64_t *ret_pages);

/* Field 6 of statm: private writable pages. Field 22 of stat: when the process started, in
 * clock ticks since boot (proc(5)). 0, or -EBADMSG when that is not what it is. */
int statm_private(FILE *statm, uint64_t *ret_pages);
int stat_start_ticks(FILE *stat, uint64_t *ret_ticks);

/* --- the same of a process: also -ENOENT or -ESRCH when it is gone, -EACCES or -EPERM when
 * its file may not be read (PTRACE_MODE_READ) --- */

/* A process without memory (a zombie) has 0. */
int smaps_of(int32_t pid, uint64_t *ret_pages);

/* O(1) and readable by anyone. It differs from the above by NORESERVE mappings (more) and
 * RELRO (less). */
int statm_of(int32_t pid, uint64_t *ret_pages);

/* Tells one process from the next with the same pid. */
int start_ticks_of(int32_t pid, uint64_t *ret_ticks);
