/* SPDX-License-Identifier: MIT */
/* Description: shared memory that a thread has mapped, or attached, but not entered anywhere yet when
 * another thread forks is held by the child, which has it.
 * Budget: 256M */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "tests/probes/probe.h"

#define BYTES ((size_t)(16 << 20) + 4096) /* a length that nothing else has */
#define PAGES ((long)(BYTES / 4096))
#define LITTLE 600 /* pages: what a child has of its own, and threads */

#if !defined(__x86_64__)
int main(void)
{
	skip("knows the registers of x86-64 only");
}
#else

/* Flags that change nothing, and say that it is we who ask. */
#define MMAP_OURS MAP_NONBLOCK
#define SHMAT_OURS SHM_EXEC

static sem_t made, forked;

static long kernel(long number, const greg_t *r, long third, long fourth)
{
	long result;
	register long r10 __asm__("r10") = fourth;
	register long r8 __asm__("r8") = r[REG_R8];
	register long r9 __asm__("r9") = r[REG_R9];
	__asm__ volatile("syscall" : "=a"(result)
			 : "a"(number), "D"(r[REG_RDI]), "S"(r[REG_RSI]), "d"(third), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

/* The call is made, and its thread does not come back from it yet. */
static void midway(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	r[REG_RAX] = info->si_syscall == SYS_mmap ? kernel(SYS_mmap, r, r[REG_RDX], r[REG_R10] | MMAP_OURS) :
						    kernel(SYS_shmat, r, r[REG_RDX] | SHMAT_OURS, r[REG_R10]);
	sem_post(&made);
	while (sem_wait(&forked) != 0)
		;
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(value, past) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, (past))
#define WITH(bits, past) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), (past), 0)
#define TRAP BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)

static void interrupt_calls(void)
{
	struct sock_filter steps[] = {
		LOAD(nr), UNLESS(SYS_mmap, 5), LOAD(args[1]), UNLESS(BYTES, 3), LOAD(args[3]), WITH(MMAP_OURS, 1), TRAP,
		LOAD(nr), UNLESS(SYS_shmat, 4), LOAD(args[2]), WITH(SHMAT_OURS, 2), UNLESS(SHM_RDONLY, 1), TRAP,
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof steps / sizeof *steps, steps };
	struct sigaction action = { .sa_sigaction = midway, .sa_flags = SA_SIGINFO };
	check(sigaction(SIGSYS, &action, NULL) == 0);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
		skip("no seccomp here");
}

static void *nothing(void *argument)
{
	return argument;
}

static int segment;

static void *maps(void *unused)
{
	(void)unused;
	void *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED && munmap(p, BYTES) == 0);
	return NULL;
}

static void *attaches(void *unused)
{
	(void)unused;
	void *p = shmat(segment, NULL, SHM_RDONLY);
	check(p != (void *)-1 && shmdt(p) == 0);
	return NULL;
}

/* Forks while the thread is in the middle; then the thread lets go of what it made. */
static void fork_midway(const char *what, void *thread(void *), void meanwhile(void), long before)
{
	pthread_t other;
	check(pthread_create(&other, NULL, thread, NULL) == 0);
	check(sem_wait(&made) == 0);
	if (meanwhile)
		meanwhile();
	pid_t pid = fork();
	if (pid == 0)
		_exit(pause());
	check(pid > 0 && sem_post(&forked) == 0 && pthread_join(other, NULL) == 0);
	usleep(200000);
	long charged = account_pages() - before;
	check(charged >= PAGES + charged_pages() - LITTLE, "%s: of a child with 16 MiB of it %ld pages are charged", what,
	      charged);
	check(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	check(account_settled(before + LITTLE) <= before + LITTLE, "%s: %ld pages, %ld before", what, account_pages(),
	      before);
}

/* Its stack stays charged, for the next one. */
static void thread_before(void)
{
	pthread_t other;
	check(pthread_create(&other, NULL, nothing, NULL) == 0 && pthread_join(other, NULL) == 0);
}

static void *attached;

static void let_go_and_remove(void)
{
	check(shmdt(attached) == 0 && shmctl(segment, IPC_RMID, NULL) == 0);
}

int main(void)
{
	check(sem_init(&made, 0, 0) == 0 && sem_init(&forked, 0, 0) == 0);
	interrupt_calls();
	thread_before();
	long before = account_pages();
	fork_midway("mmap", maps, NULL, before);
	segment = shmget(IPC_PRIVATE, BYTES, 0600);
	check(segment >= 0);
	attached = shmat(segment, NULL, 0);
	check(attached != (void *)-1);
	fork_midway("shmat", attaches, let_go_and_remove, before);
	return 0;
}
#endif
