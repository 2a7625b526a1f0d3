/* SPDX-License-Identifier: MIT */
/* Programs and libraries that ask for much more data than they contain: a copy of an ELF
 * file whose writable segment claims `bytes` more of zeroes. No compiler is needed. */
#pragma once

#include <elf.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/probes/probe.h"

/* Copies `from` to `to`, executable, with its last writable segment `bytes` larger. */
static inline void bloat(const char *from, const char *to, size_t bytes)
{
	struct stat st;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	check(in >= 0 && out >= 0 && fstat(in, &st) == 0, "%s, %s", from, to);
	char *file = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, in, 0);
	check(file != MAP_FAILED);
	Elf64_Ehdr *head = (Elf64_Ehdr *)file;
	Elf64_Phdr *h = (Elf64_Phdr *)(file + head->e_phoff), *last = NULL;
	for (int i = 0; i < head->e_phnum; i++)
		if (h[i].p_type == PT_LOAD && (h[i].p_flags & PF_W))
			last = &h[i];
	check(last != NULL);
	last->p_memsz += bytes;
	check(write(out, file, (size_t)st.st_size) == st.st_size);
	check(close(out) == 0);
	close(in);
	munmap(file, (size_t)st.st_size);
}

static inline void script(const char *path, const char *text)
{
	int out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	check(out >= 0 && write(out, text, strlen(text)) == (ssize_t)strlen(text));
	check(close(out) == 0);
}
