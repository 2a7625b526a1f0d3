/* SPDX-License-Identifier: MIT */
/* A command that is anything but a program: judged by `solvent run` before it starts
 * (cli/elf.c), and by the shim before execve and dlopen (shim/image.c). Its own descriptor
 * is all that is opened, and a loader that the file names if there is one. */
#include "tests/fuzz.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/elf.h"
#include "shim/image.h"

static int file_of(const uint8_t *input, size_t n)
{
	int fd = memfd_create("fuzz-elf", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, input, n) == (ssize_t)n);
	return fd;
}

static void judge_check(int fd)
{
	struct stat st;
	enum elf_verdict verdict;
	char loader[PATH_MAX];
	must(fstat(fd, &st) == 0);
	int error = elf_judge(fd, &st, &verdict, loader);
	must(error <= 0 && (error != 0 || verdict < ELF_VERDICT_N));
	must(error != 0 || verdict != ELF_OTHER_LOADER || memchr(loader, '\0', sizeof loader));
}

/* What it costs to look does not grow with what a header claims. */
static void image_check(int fd)
{
	struct image image = { .kind = IMAGE_KIND_N, .pages = 4711 };
	int error = image_of_program(fd, NULL, false, &image);
	must(error <= 0 && (error == 0) == (image.kind < IMAGE_KIND_N));
	must(error == 0 || image.pages == 4711);
}

static void library_check(int fd)
{
	char path[32];
	uint64_t pages = 4711;
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	int error = image_of_library(path, &pages);
	must(error <= 0 && (error == 0 || pages == 4711));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	int fd = file_of(input, n);
	judge_check(fd);
	image_check(fd);
	library_check(fd);
	close(fd);
	return 0;
}
