/* SPDX-License-Identifier: MIT */
/* Can a preload account this file? What ld.so will do, foreseen: its own answer to a
 * preload it cannot use is to run the program without it, in silence. */
#pragma once

#include <limits.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "include/base.h"

enum elf_verdict {
	ELF_ACCOUNTABLE,
	ELF_STATIC,        /* no PT_INTERP: there is no ld.so to preload anything */
	ELF_PRIVILEGED,    /* set-uid or set-gid: ld.so drops the preload (ld.so(8)) */
	ELF_CAPABLE,       /* file capabilities: likewise */
	ELF_OTHER_LOADER,  /* musl, or another C library than the one solvent is built for */
	ELF_OTHER_MACHINE, /* another architecture or word size */
	ELF_UNREADABLE,    /* may be run but not read: it cannot be told */
	ELF_VERDICT_N
};

/* Judges an open file that starts with the ELF magic; `st` is its fstat. 0 and the
 * verdict, -ENOEXEC when the file is broken, -ENOENT (or another -errno of stat) when its
 * loader is missing. `ret_loader` holds the loader it names, if it came to that. */
int elf_judge(int fd, const struct stat *st, enum elf_verdict *ret_verdict, char ret_loader[PATH_MAX]);

/* Who would execute it, as far as it matters below. */
struct elf_caller {
	uid_t uid;
	gid_t gid;
	bool no_new_privs; /* prctl(2) */
};

/* Would executing a file of that mode and owner make the process privileged (AT_SECURE)?
 * ELF_PRIVILEGED, ELF_CAPABLE or ELF_ACCOUNTABLE. `nosuid`: its mount ignores such bits.
 * The rules are those of fs/exec.c:bprm_fill_uid and security/commoncap.c. */
enum elf_verdict elf_privilege(const struct elf_caller *caller, const struct stat *st, bool has_capabilities,
			       bool nosuid);
