/* SPDX-License-Identifier: MIT */
/* What ld.so will do, foreseen. A preload reaches a program only if the kernel starts it
 * through our own C library's loader, unprivileged, on our own architecture. Everything
 * else would run unaccounted without a word, or in musl's case not run at all. */
#include "cli/elf.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The linker's own mark at our ELF header: what we are is what we can account. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

/* The first object of the walk is the program itself: the loader it names, if any. */
static int find_loader(struct dl_phdr_info *info, size_t n, void *context)
{
	const char **loader = context;
	(void)n;
	for (size_t i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_INTERP)
			*loader = (const char *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
	return 1;
}

static bool is_our_loader(const struct stat *st)
{
	struct stat ours;
	const char *path = NULL;
	dl_iterate_phdr(find_loader, &path);
	return path && stat(path, &ours) == 0 && ours.st_dev == st->st_dev && ours.st_ino == st->st_ino;
}

enum elf_verdict elf_privilege(const struct elf_caller *caller, const struct stat *st, bool has_capabilities,
			       bool nosuid)
{
	if (nosuid || caller->no_new_privs)
		return ELF_ACCOUNTABLE;
	if ((st->st_mode & S_ISUID) && st->st_uid != caller->uid)
		return ELF_PRIVILEGED;
	/* Without the group's execute bit, set-gid means mandatory locking. */
	if ((st->st_mode & S_ISGID) && (st->st_mode & S_IXGRP) && st->st_gid != caller->gid)
		return ELF_PRIVILEGED;
	/* root has them all already; nothing is gained. */
	return has_capabilities && caller->uid != 0 ? ELF_CAPABLE : ELF_ACCOUNTABLE;
}

static enum elf_verdict file_privilege(int fd, const struct stat *st)
{
	struct statvfs fs;
	struct elf_caller caller = { getuid(), getgid(), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 };
	bool nosuid = fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID);
	return elf_privilege(&caller, st, fgetxattr(fd, "security.capability", NULL, 0) > 0, nosuid);
}

/* Reads exactly `n` bytes at `offset`; false at the end of the file. */
static bool read_at(int fd, void *to, size_t n, uint64_t offset)
{
	return offset <= INT64_MAX && pread(fd, to, n, (off_t)offset) == (ssize_t)n;
}

/* The path in PT_INTERP. 0, -ENODATA when there is none, -ENOEXEC when it is broken. */
static int read_interp(int fd, const ElfW(Ehdr) *eh, char ret_loader[PATH_MAX])
{
	for (size_t i = 0; i < eh->e_phnum; i++) {
		ElfW(Phdr) ph;
		if (!read_at(fd, &ph, sizeof ph, eh->e_phoff + i * sizeof ph))
			return -ENOEXEC;
		if (ph.p_type != PT_INTERP)
			continue;
		/* The same bounds as fs/binfmt_elf.c:load_elf_binary. */
		if (ph.p_filesz < 2 || ph.p_filesz > PATH_MAX || !read_at(fd, ret_loader, ph.p_filesz, ph.p_offset) ||
		    ret_loader[ph.p_filesz - 1] != '\0')
			return -ENOEXEC;
		return 0;
	}
	return -ENODATA;
}

static int judge_loader(int fd, const ElfW(Ehdr) *eh, const struct stat *st, enum elf_verdict *ret_verdict,
			char ret_loader[PATH_MAX])
{
	struct stat loader;
	int error = read_interp(fd, eh, ret_loader);
	if (error == -ENODATA) {
		/* ld.so itself as the command (ld.so ./program) does heed LD_PRELOAD. */
		*ret_verdict = is_our_loader(st) ? ELF_ACCOUNTABLE : ELF_STATIC;
		return 0;
	}
	if (error)
		return error;
	if (stat(ret_loader, &loader) != 0)
		return -errno;
	*ret_verdict = is_our_loader(&loader) ? ELF_ACCOUNTABLE : ELF_OTHER_LOADER;
	return 0;
}

int elf_judge(int fd, const struct stat *st, enum elf_verdict *ret_verdict, char ret_loader[PATH_MAX])
{
	ElfW(Ehdr) eh;
	const unsigned char *ours = __ehdr_start.e_ident;
	if (!read_at(fd, &eh, EI_NIDENT, 0))
		return -ENOEXEC;
	*ret_verdict = ELF_OTHER_MACHINE;
	if (eh.e_ident[EI_CLASS] != ours[EI_CLASS] || eh.e_ident[EI_DATA] != ours[EI_DATA])
		return 0;
	if (!read_at(fd, &eh, sizeof eh, 0))
		return -ENOEXEC;
	if (eh.e_machine != __ehdr_start.e_machine)
		return 0;
	if ((eh.e_type != ET_EXEC && eh.e_type != ET_DYN) || eh.e_phentsize != sizeof(ElfW(Phdr)) || eh.e_phnum == 0)
		return -ENOEXEC;
	*ret_verdict = file_privilege(fd, st);
	return *ret_verdict == ELF_ACCOUNTABLE ? judge_loader(fd, &eh, st, ret_verdict, ret_loader) : 0;
}
