/* SPDX-License-Identifier: MIT */
/* syscall(2): the way around all other doors, led back to them. Everything we do not
 * charge for goes to the kernel exactly as libc's own function sends it: from a few
 * instructions that keep no frame, because a child of vfork, or a new thread on a stack of
 * its own, returns through what stands there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/uio.h>
#include <unistd.h>

#include "shim/door.h"
#include "shim/exec.h"
#include "shim/fork.h"
#include "shim/raw.h"
#include "shim/self.h"

/* Reads the caller's memory as the kernel would, who says EFAULT where we would die. */
static bool peek(const void *from, void *to, size_t bytes)
{
	struct iovec local = { .iov_base = to, .iov_len = bytes };
	struct iovec remote = { .iov_base = (void *)from, .iov_len = bytes };
	return raw_call6(SYS_process_vm_readv, raw_getpid(), &local, 1, &remote, 1, 0) == (long)bytes;
}

/* A copy of our memory that returns where it was made: a fork. One with a stack of its own
 * goes elsewhere; it is found by its first charge (shim/self.h). */
static bool clone_is_fork(uint64_t flags, uint64_t stack)
{
	return (flags & (CLONE_VM | CLONE_SETTLS)) == 0 && stack == 0;
}

static bool clone3_is_fork(const void *from, size_t bytes)
{
	struct clone_args args;
	return bytes >= CLONE_ARGS_SIZE_VER0 && peek(from, &args, CLONE_ARGS_SIZE_VER0) &&
	       clone_is_fork(args.flags, args.stack);
}

/* An allocator that asks whether the kernel promises memory it does not have is told that it
 * cannot know; it then gives back what it does not use (jemalloc, src/pages.c). */
static bool is_overcommit_question(const char *path)
{
	static const char question[] = "/proc/sys/vm/overcommit_memory";
	char said[sizeof question];
	return peek(path, said, sizeof said) && memcmp(said, question, sizeof said) == 0;
}

/* For the door below: does this call cost anything, or change what something cost? */
__attribute__((used)) bool syscall_is_ours(long number, long a, long b);
__attribute__((used)) long syscall_ours(long number, long a, long b, long c, long d, long e, long f);
__attribute__((used)) long syscall_failed(long result);

bool syscall_is_ours(long number, long a, long b)
{
	if (self.state == SELF_OPEN)
		return false;
	switch (number) {
	case SYS_mmap:
	case SYS_munmap:
	case SYS_mremap:
	case SYS_mprotect:
	case SYS_pkey_mprotect:
	case SYS_brk:
	case SYS_fork:
	case SYS_execve:
	case SYS_execveat:
	case SYS_shmget:
	case SYS_shmat:
	case SYS_shmdt:
	case SYS_shmctl:
	case SYS_ftruncate:
	case SYS_truncate:
	case SYS_fallocate:
		return true;
	case SYS_clone:
		return clone_is_fork((uint64_t)a, (uint64_t)b);
	case SYS_clone3:
		return clone3_is_fork((const void *)a, (size_t)b);
	case SYS_open:
		return is_overcommit_question((const char *)a);
	case SYS_openat:
		return is_overcommit_question((const char *)b);
	default:
		return false;
	}
}

static long fork_by(long number, long a, long b, long c, long d, long e)
{
	struct birth birth;
	if (!birth_begin(&birth))
		return -1;
	long pid = raw_call(number, a, b, c, d, e, 0);
	birth_end(&birth, raw_failed(pid) ? -1 : (pid_t)pid);
	return door_result(pid);
}

/* brk(2) itself answers with the break, and cannot fail otherwise. */
static long break_by(long end)
{
	int error = errno;
	if (end != 0)
		brk((void *)end);
	errno = error;
	return (long)sbrk(0);
}

long syscall_ours(long number, long a, long b, long c, long d, long e, long f)
{
	struct program file = { .how = EXEC_PATH, .path = (const char *)a, .raw = true };
	struct program file_at = { .how = EXEC_AT, .fd = (int)a, .path = (const char *)b, .flags = (int)e,
				   .raw = true };
	switch (number) {
	case SYS_mmap:
		return (long)mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f);
	case SYS_munmap:
		return munmap((void *)a, (size_t)b);
	case SYS_mremap:
		return (long)mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
	case SYS_mprotect:
		return mprotect((void *)a, (size_t)b, (int)c);
	case SYS_pkey_mprotect:
		return pkey_mprotect((void *)a, (size_t)b, (int)c, (int)d);
	case SYS_brk:
		return break_by(a);
	case SYS_execve:
		return exec_run(&file, (char *const *)b, (char *const *)c);
	case SYS_execveat:
		return exec_run(&file_at, (char *const *)c, (char *const *)d);
	case SYS_shmget:
		return shmget((key_t)a, (size_t)b, (int)c);
	case SYS_shmat:
		return (long)shmat((int)a, (const void *)b, (int)c);
	case SYS_shmdt:
		return shmdt((const void *)a);
	case SYS_shmctl:
		return shmctl((int)a, (int)b, (struct shmid_ds *)c);
	case SYS_ftruncate:
		return ftruncate((int)a, b);
	case SYS_truncate:
		return truncate((const char *)a, b);
	case SYS_fallocate:
		return fallocate((int)a, (int)b, c, d);
	case SYS_open:
	case SYS_openat:
		return door_result(-EACCES);
	default: /* SYS_fork, SYS_clone, SYS_clone3 */
		return fork_by(number, a, b, c, d, e);
	}
}

long syscall_failed(long result)
{
	return door_result(result);
}

/* Asks with everything kept (six registers and eight bytes align the stack for the call),
 * then goes on with registers and stack as they were. */
__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	pushq %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rdx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rcx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r8\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %r9\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call syscall_is_ours\n"
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r9\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %r8\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rcx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	testb %al, %al\n"
	"	jnz syscall_ours\n"
	"	movq %rdi, %rax\n"
	"	movq %rsi, %rdi\n"
	"	movq %rdx, %rsi\n"
	"	movq %rcx, %rdx\n"
	"	movq %r8, %r10\n"
	"	movq %r9, %r8\n"
	"	movq 8(%rsp), %r9\n"
	"	syscall\n"
	"	cmpq $-4095, %rax\n"
	"	jae 1f\n"
	"	ret\n"
	"1:	movq %rax, %rdi\n"
	"	jmp syscall_failed\n"
	"	.cfi_endproc\n"
	".size syscall, .-syscall\n");
