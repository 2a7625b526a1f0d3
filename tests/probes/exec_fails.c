/* SPDX-License-Identifier: MIT */
/* Description: an exec that fails for another reason fails for that reason and leaves
 * nothing behind: no charge, no descriptor, no mapping.
 * Budget: 128M */
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/probes/bloated.h"

extern char **environ;

static char dir[] = "/tmp/solvent-exec-XXXXXX";
static char plain[64], large[64], loop[64], fifo[64], no_format[64];
static char *argv[] = { (char *)"x", NULL };

static int missing(void) { return execv("/nowhere/at/all", argv); }
static int missing_bare(void) { return execvp("no-such-program", argv); }
static int empty(void) { return execvp("", argv); }
static int not_executable(void) { return execv(plain, argv); }
static int large_not_executable(void) { return execv(large, argv); }
static int a_directory(void) { return execv(dir, argv); }
static int a_fifo(void) { return execv(fifo, argv); }
static int no_interpreter(void) { return execv(loop, argv); }
static int no_known_format(void) { return execv(no_format, argv); }
static int bad_descriptor(void) { return execveat(999, "", argv, environ, AT_EMPTY_PATH); }
static int bad_pointer(void) { return execve((const char *)-1, argv, environ); }
static int null_path(void) { return (int)syscall(SYS_execve, NULL, argv, environ); }

static const struct {
	const char *name;
	int (*act)(void);
	int error;
} rows[] = {
	{ "a missing file", missing, ENOENT },
	{ "a missing program", missing_bare, ENOENT },
	{ "an empty name", empty, ENOENT },
	{ "a file that is not executable", not_executable, EACCES },
	{ "a large one that is not", large_not_executable, EACCES },
	{ "a directory", a_directory, EACCES },
	{ "a FIFO", a_fifo, EACCES },
	{ "a script without its interpreter", no_interpreter, ENOENT },
	{ "no known format", no_known_format, ENOEXEC },
	{ "a bad descriptor", bad_descriptor, EBADF },
	{ "a bad pointer", bad_pointer, EFAULT },
	{ "no path", null_path, EFAULT },
};

static int lowest_descriptor(void)
{
	int fd = dup(0);
	close(fd);
	return fd;
}

int main(void)
{
	check(mkdtemp(dir) != NULL);
	snprintf(plain, sizeof plain, "%s/plain", dir);
	snprintf(large, sizeof large, "%s/large", dir);
	snprintf(loop, sizeof loop, "%s/loop", dir);
	snprintf(fifo, sizeof fifo, "%s/fifo", dir);
	snprintf(no_format, sizeof no_format, "%s/no-format", dir);
	script(plain, "#! /bin/true\n");
	script(loop, "#! /nowhere/interpreter\n");
	script(no_format, "neither ELF nor script\n");
	bloat("/proc/self/exe", large, (size_t)64 << 20);
	check(chmod(plain, 0644) == 0 && chmod(large, 0644) == 0 && mkfifo(fifo, 0755) == 0);
	int failures = 0;
	for (int round = 0; round < 100; round++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			long before = charged_pages(), kernel = kernel_pages();
			int lowest = lowest_descriptor();
			errno = 0;
			int r = rows[i].act();
			long allowed = round == 0 ? 1024 : 16; /* what is made once */
			if (r == -1 && errno == rows[i].error && lowest_descriptor() == lowest &&
			    charged_pages() <= before + allowed && kernel_pages() <= kernel + allowed)
				continue;
			fprintf(stderr, "%s: %d, errno %d, charged %+ld, kernel %+ld\n", rows[i].name, r, errno,
				charged_pages() - before, kernel_pages() - kernel);
			failures++;
			break;
		}
	unlink(plain);
	unlink(large);
	unlink(loop);
	unlink(fifo);
	unlink(no_format);
	rmdir(dir);
	return failures != 0;
}
