/* SPDX-License-Identifier: MIT */
/* The kernel charges the writable segments of what it maps as a program, zeroes beyond the
 * file's end included, and it does so where only a signal can say no (fs/binfmt_elf.c). The
 * same numbers stand in the file; read them first. A file is hostile input: what does not
 * parse has no price, and the kernel will say what it thinks of it. */
#include "shim/image.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/raw.h"

#define HEAD_BYTES 256 /* what the kernel looks at (BINPRM_BUF_SIZE, include/uapi/linux/binfmts.h) */
#define SCRIPT_LEVELS 4
#define HEADERS_AT_ONCE 16

/* --- reading --- */

/* A descriptor's path: it may be an O_PATH one, which cannot be read itself. */
static const char *descriptor_path(int fd, char room[32])
{
	static const char dir[] = "/proc/self/fd/";
	char *at = room + 31;
	*at = '\0';
	for (unsigned int rest = (unsigned int)fd; at == room + 31 || rest != 0; rest /= 10)
		*--at = (char)('0' + rest % 10);
	at -= sizeof dir - 1;
	return memcpy(at, dir, sizeof dir - 1);
}

/* Only regular files are opened: opening anything else may wait, or do something. */
static int file_open(int dirfd, const char *path)
{
	char room[32];
	struct stat st;
	if (!path)
		path = descriptor_path(dirfd, room);
	long r = raw_call4(SYS_newfstatat, dirfd, path, &st, 0);
	if (raw_failed(r))
		return (int)r;
	if (!S_ISREG(st.st_mode))
		return -EACCES;
	return (int)raw_call4(SYS_openat, dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
}

static long file_read(int fd, void *to, size_t bytes, uint64_t at)
{
	return raw_call4(SYS_pread64, fd, to, bytes, at);
}

static bool file_read_whole(int fd, void *to, size_t bytes, uint64_t at)
{
	return file_read(fd, to, bytes, at) == (long)bytes;
}

/* --- ELF --- */

struct elf {
	uint64_t pages;
	uint64_t interpreter_at, interpreter_bytes; /* in the file; 0: none */
};

static bool elf_is_ours(const Elf64_Ehdr *head)
{
	return memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_machine == EM_X86_64;
}

static void header_add(struct elf *e, const Elf64_Phdr *h)
{
	if (h->p_type == PT_INTERP) {
		e->interpreter_at = h->p_offset;
		e->interpreter_bytes = h->p_filesz;
	}
	if (h->p_type == PT_LOAD && (h->p_flags & PF_W))
		e->pages += pages_of(h->p_memsz + (h->p_vaddr & (PAGE_BYTES - 1)));
}

static int elf_read(int fd, const Elf64_Ehdr *head, struct elf *ret)
{
	Elf64_Phdr headers[HEADERS_AT_ONCE];
	struct elf e = { 0 };
	if (!elf_is_ours(head) || head->e_phentsize != sizeof headers[0])
		return -ENOEXEC;
	for (uint32_t done = 0; done < head->e_phnum;) {
		uint32_t n = (uint32_t)min_u64(head->e_phnum - done, HEADERS_AT_ONCE);
		if (!file_read_whole(fd, headers, n * sizeof headers[0],
				     head->e_phoff + done * sizeof headers[0]))
			return -ENOEXEC;
		for (uint32_t i = 0; i < n; i++)
			header_add(&e, &headers[i]);
		done += n;
	}
	*ret = e;
	return 0;
}

static int library_read(int fd, uint64_t *ret_pages)
{
	Elf64_Ehdr head;
	struct elf e;
	if (!file_read_whole(fd, &head, sizeof head, 0))
		return -ENOEXEC;
	int error = elf_read(fd, &head, &e);
	if (error == 0)
		*ret_pages = e.pages;
	return error;
}

int image_of_library(const char *path, uint64_t *ret_pages)
{
	int fd = file_open(AT_FDCWD, path);
	if (fd < 0)
		return fd;
	int error = library_read(fd, ret_pages);
	raw_call1(SYS_close, fd);
	return error;
}

/* --- what is loaded --- */

struct loaded_sum {
	uintptr_t address;
	uint64_t pages;
};

static int module_sum(struct dl_phdr_info *module, size_t size, void *context)
{
	struct loaded_sum *sum = context;
	struct elf e = { 0 };
	bool here = false;
	(void)size;
	for (int i = 0; i < module->dlpi_phnum; i++) {
		const Elf64_Phdr *h = &module->dlpi_phdr[i];
		header_add(&e, h);
		here |= h->p_type == PT_LOAD && sum->address - module->dlpi_addr - h->p_vaddr < h->p_memsz;
	}
	sum->pages = here ? e.pages : 0;
	return here;
}

uint64_t image_of_loaded(const void *address)
{
	struct loaded_sum sum = { .address = (uintptr_t)address };
	dl_iterate_phdr(module_sum, &sum);
	return sum.pages;
}

/* --- programs --- */

/* glibc's loaders are all called ld-linux-something; musl's dies of our symbols. */
static bool loader_is_glibc(const char *path)
{
	const char *slash = strrchr(path, '/');
	return strncmp(slash ? slash + 1 : path, "ld-linux", 8) == 0;
}

static int program_finish(int fd, const struct elf *e, struct image *ret)
{
	char loader[HEAD_BYTES];
	uint64_t loader_pages = 0;
	struct image image = { .kind = IMAGE_STATIC, .pages = e->pages };
	if (e->interpreter_bytes != 0) {
		if (e->interpreter_bytes >= sizeof loader ||
		    !file_read_whole(fd, loader, e->interpreter_bytes, e->interpreter_at))
			return -ENOEXEC;
		loader[e->interpreter_bytes] = '\0';
		image.kind = loader_is_glibc(loader) ? IMAGE_JOINS : IMAGE_FOREIGN;
		if (image_of_library(loader, &loader_pages) == 0)
			image.pages += loader_pages;
	}
	*ret = image;
	return 0;
}

/* --- scripts --- */

/* "#! /path arguments": the path, cut out in place. NULL: not a script. */
static char *script_interpreter(char *head)
{
	if (head[0] != '#' || head[1] != '!')
		return NULL;
	head[strcspn(head, "\n")] = '\0';
	char *path = head + 2 + strspn(head + 2, " \t");
	path[strcspn(path, " \t")] = '\0';
	return path;
}

/* An ELF file that is not for us: another machine's, or 32 bits wide. */
static int program_is_foreign(struct image *ret)
{
	*ret = (struct image){ .kind = IMAGE_FOREIGN };
	return 0;
}

/* One file of the chain: 0 and `ret`; or 1: look at `ret_next` instead; or -errno. */
static int program_read(int fd, bool shell, struct image *ret, char ret_next[HEAD_BYTES])
{
	_Alignas(Elf64_Ehdr) char head[HEAD_BYTES + 1] = { 0 };
	struct elf e;
	long n = file_read(fd, head, HEAD_BYTES, 0);
	if (raw_failed(n))
		return (int)n;
	if (memcmp(head, ELFMAG, SELFMAG) == 0) {
		if (!elf_is_ours((const Elf64_Ehdr *)head))
			return program_is_foreign(ret);
		int error = elf_read(fd, (const Elf64_Ehdr *)head, &e);
		return error ? error : program_finish(fd, &e, ret);
	}
	const char *interpreter = script_interpreter(head);
	if (!interpreter && shell)
		interpreter = "/bin/sh";
	if (!interpreter)
		return -ENOEXEC;
	memcpy(ret_next, interpreter, strlen(interpreter) + 1);
	return 1;
}

int image_of_program(int dirfd, const char *path, bool shell, struct image *ret)
{
	char here[HEAD_BYTES];
	for (int level = 0; level <= SCRIPT_LEVELS; level++) {
		char there[HEAD_BYTES];
		int fd = file_open(dirfd, path);
		if (fd < 0)
			return fd;
		int r = program_read(fd, shell && level == 0, ret, there);
		raw_call1(SYS_close, fd);
		if (r <= 0)
			return r;
		memcpy(here, there, sizeof here);
		path = here;
		dirfd = AT_FDCWD;
	}
	return -ELOOP;
}
