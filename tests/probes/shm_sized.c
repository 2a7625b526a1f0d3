/* SPDX-License-Identifier: MIT */
/* Description: what becomes of a file in memory while another call on it is under way is charged,
 * whether that call fails or not.
 * Budget: 256M */
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "tests/probes/probe.h"

#define PAGE 4096L
#define LITTLE 64 /* pages that this process may need for itself meanwhile */

#if !defined(__x86_64__)
int main(void)
{
	skip("knows the registers of x86-64 only");
}
#else

/* The calls that are to be interrupted in the middle: a length, or a descriptor, that no other has. */
#define FILLED (1010 * PAGE)
#define MAPPED (1011 * PAGE)
#define ASKED 600

static int fd;
static long becomes; /* pages, meanwhile */
static long result;  /* of the interrupted call */

/* Between the kernel's entry and its exit: another process might do it, and so does this one. */
static void meanwhile(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info;
	ucontext_t *c = context;
	check(ftruncate(fd, becomes * PAGE) == 0);
	c->uc_mcontext.gregs[REG_RAX] = result;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, past) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (past))
#define TRAP BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

static void interrupt_calls(void)
{
	struct sock_filter steps[] = {
		LOAD(nr), UNLESS(SYS_fallocate, 3), LOAD(args[3]), UNLESS(FILLED, 1), TRAP,
		LOAD(nr), UNLESS(SYS_mmap, 3), LOAD(args[1]), UNLESS(MAPPED, 1), TRAP,
		LOAD(nr), UNLESS(SYS_fcntl, 3), LOAD(args[0]), UNLESS(ASKED, 1), TRAP,
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof steps / sizeof *steps, steps };
	struct sigaction action = { .sa_sigaction = meanwhile, .sa_flags = SA_SIGINFO | SA_NODEFER };
	check(sigaction(SIGSYS, &action, NULL) == 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		skip("no seccomp here");
}

/* Of ten pages, mapped. Returns what the account has without it. */
static long file_begin(void)
{
	long before = account_pages();
	fd = memfd_create("sized", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, 10 * PAGE) == 0);
	check(mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	return before;
}

static void file_check(const char *what, long before, long pages)
{
	long charged = account_pages() - before;
	check(charged >= pages, "%s: %ld pages are charged of a file of %ld", what, charged, pages);
	check(charged <= pages + LITTLE, "%s: %ld pages are charged of a file of %ld", what, charged, pages);
	close(fd);
}

static void filled_in_vain(void)
{
	long before = file_begin();
	becomes = 500;
	result = -ENOSPC;
	check(fallocate(fd, 0, 0, FILLED) == -1 && errno == ENOSPC);
	file_check("fallocate fails", before, 500);
	before = file_begin();
	check(posix_fallocate(fd, 0, FILLED) == ENOSPC);
	file_check("posix_fallocate fails", before, 500);
}

static void mapped_in_vain(void)
{
	long before = file_begin();
	check(pwrite(fd, "x", 1, 300 * PAGE - 1) == 1); /* which is not charged, but seen */
	becomes = 350;
	result = -EACCES;
	check(mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED && errno == EACCES);
	file_check("mmap fails", before, 350);
}

/* After the file was looked at, and before there was an object of it. */
static void mapped_too_late(long pages)
{
	int other = memfd_create("sized", MFD_CLOEXEC);
	long before = account_pages();
	check(ftruncate(other, 900 * PAGE) == 0);
	fd = dup2(other, ASKED);
	check(fd == ASKED);
	becomes = pages;
	result = O_RDWR;
	check(mmap(NULL, 900 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
	file_check("mmap", before, pages);
	close(other);
}

int main(void)
{
	interrupt_calls();
	filled_in_vain();
	mapped_in_vain();
	mapped_too_late(1500);
	mapped_too_late(5);
	return 0;
}
#endif
