/* SPDX-License-Identifier: MIT */
/* Description: syscall(2) is libc's for all that costs nothing: results, errno, all six
 * arguments, bad pointers, children that share our memory and return on a stack of their
 * own. An allocator that asks it about overcommit_memory is not answered.
 * Budget: 128M */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define NOISE 64 /* pages that the heap may take or give back meanwhile */

static const char question[] = "/proc/sys/vm/overcommit_memory";

static void results(void)
{
	char page[8192];
	errno = 77;
	check(syscall(SYS_getpid) == getpid() && errno == 77);
	check(syscall(SYS_close, -1) == -1 && errno == EBADF);
	check(syscall(100000) == -1 && errno == ENOSYS);
	check(syscall(-1) == -1 && errno == ENOSYS);
	check(syscall(SYS_openat, AT_FDCWD, (char *)-1, O_RDONLY) == -1 && errno == EFAULT);
	check(syscall(SYS_open, NULL, O_RDONLY) == -1 && errno == EFAULT);
	check(syscall(SYS_clone3, NULL, sizeof(struct clone_args)) == -1 && errno == EFAULT);
	check(syscall(SYS_clone3, page, 1) == -1 && errno == EINVAL);
	check(syscall(SYS_clone3, page, (size_t)-1) == -1 && errno == E2BIG);
	check(syscall(SYS_execve, (char *)-1, NULL, NULL) == -1 && errno == EFAULT);
}

/* copy_file_range takes six: the last, flags, must be 0; anything else is EINVAL. */
static void six_arguments(void)
{
	loff_t from = 0, to = 0;
	int a = memfd_create("a", 0), b = memfd_create("b", 0);
	check(a >= 0 && b >= 0 && write(a, "0123456789", 10) == 10);
	check(syscall(SYS_copy_file_range, a, &from, b, &to, 10L, 0L) == 10 && from == 10 && to == 10);
	check(syscall(SYS_copy_file_range, a, &from, b, &to, 10L, 1L) == -1 && errno == EINVAL);
	close(a);
	close(b);

	/* And mmap's offset is the sixth, too. */
	int fd = memfd_create("c", 0);
	check(fd >= 0 && ftruncate(fd, 8192) == 0 && pwrite(fd, "second", 6, 4096) == 6);
	char *p = (char *)syscall(SYS_mmap, NULL, 4096L, PROT_READ, MAP_SHARED, fd, 4096L);
	check(p != MAP_FAILED && memcmp(p, "second", 6) == 0);
	check(syscall(SYS_munmap, p, 4096L) == 0);
	close(fd);
}

static void brk_itself(void)
{
	long now = syscall(SYS_brk, 0L), charged = charged_pages();
	check(now == (long)sbrk(0));
	check(syscall(SYS_brk, now + (8 << 20)) == now + (8 << 20));
	check(charged_pages() >= charged + 2048 - NOISE && charged_pages() <= charged + 2048 + NOISE);
	errno = 77;
	check(syscall(SYS_brk, now + (1L << 30)) == now + (8 << 20) && errno == 77, "a refused break moved");
	check(syscall(SYS_brk, now) == now && charged_pages() <= charged + NOISE);
}

static void overcommit(void)
{
	int fd = open(question, O_RDONLY);
	check(fd >= 0, "open is not syscall");
	close(fd);
	check(syscall(SYS_open, question, O_RDONLY) == -1 && errno == EACCES);
	check(syscall(SYS_openat, AT_FDCWD, question, O_RDONLY | O_CLOEXEC) == -1 && errno == EACCES);
	fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/sys/vm/overcommit_ratio", O_RDONLY);
	check(fd >= 0);
	close(fd);
}

/* The child returns from the system call on its own stack, to the address that lies there. */
static volatile int touched;
static void on_own_stack(void)
{
	touched = 42;
	_exit(3);
}

static void shared_memory(void)
{
	static void *stack[4096] __attribute__((aligned(16)));
	int status;
	long before = charged_pages();
	void **top = &stack[4094];
	*top = (void *)(uintptr_t)on_own_stack;
	long pid = syscall(SYS_clone, CLONE_VM | SIGCHLD, top, NULL, NULL, NULL);
	check(pid > 0 && waitpid((pid_t)pid, &status, 0) == pid);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 3 && touched == 42, "status %x", status);
	check(charged_pages() <= before + NOISE);
}

int main(void)
{
	alarm(20);
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	for (int i = 0; i < 10; i++) {
		results();
		six_arguments();
		brk_itself();
		overcommit();
		shared_memory();
	}
	return 0;
}
