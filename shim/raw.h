/* SPDX-License-Identifier: MIT */
/* The kernel, without libc in between. The shim stands inside malloc, in signal
 * handlers and in children of vfork: there libc's wrappers would come back to us,
 * touch errno, or be cancellation points. Every call returns what the kernel
 * returned: >= 0, or -errno. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#if !defined(__x86_64__)
#error "shim/raw.h: only x86-64 is written yet"
#endif

static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define raw_call0(n) raw_call(n, 0, 0, 0, 0, 0, 0)
#define raw_call1(n, a) raw_call(n, (long)(a), 0, 0, 0, 0, 0)
#define raw_call2(n, a, b) raw_call(n, (long)(a), (long)(b), 0, 0, 0, 0)
#define raw_call3(n, a, b, c) raw_call(n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define raw_call4(n, a, b, c, d) raw_call(n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define raw_call6(n, a, b, c, d, e, f) \
	raw_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* Is this the kernel's way of saying -errno? (man 2 intro: -4095 .. -1) */
static inline bool raw_failed(long result)
{
	return (unsigned long)result >= (unsigned long)-4095;
}

static inline long raw_mmap(void *addr, size_t bytes, int prot, int flags, int fd, long offset)
{
	return raw_call6(SYS_mmap, addr, bytes, prot, flags, fd, offset);
}

static inline long raw_munmap(void *addr, size_t bytes)
{
	return raw_call2(SYS_munmap, addr, bytes);
}

static inline long raw_mprotect(void *addr, size_t bytes, int prot)
{
	return raw_call3(SYS_mprotect, addr, bytes, prot);
}

static inline long raw_madvise(void *addr, size_t bytes, int advice)
{
	return raw_call3(SYS_madvise, addr, bytes, advice);
}

static inline int raw_gettid(void)
{
	return (int)raw_call0(SYS_gettid);
}

static inline int raw_getpid(void)
{
	return (int)raw_call0(SYS_getpid);
}
