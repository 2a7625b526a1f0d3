/* SPDX-License-Identifier: MIT */
#include "daemon/armour.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/proc.h"

/* --- who goes last and runs first --- */

#define NICE (-10)
/* The shortest there is: who is woken goes before one with a longer slice, which else may use up its
 * own first, 3 ms (kernel/sched/fair.c:wakeup_preempt_fair, PREEMPT_SHORT; Linux 6.12, before that it is
 * not looked at). */
#define SLICE_NS (100 * 1000)
#define SCHED_FLAG_RESET_ON_FORK 1u /* linux/sched.h, which libc's does not go with */
#define ADJ "-1000" /* the kernel's killer never takes it */
#define ADJ_USUAL "0"

static void denied_say(const char *what, const char *instead, int error)
{
	log_info("%s: %s; %s", what, strerror(error), instead);
}

static int nice_denied, score_denied; /* errors of the start, said when it is over */

static bool score_is_low(void)
{
	char text[16] = "";
	return proc_text(proc_file(getpid(), "oom_score_adj"), text, sizeof text) > 0 && text[0] == '-';
}

static int score_write(const char *score)
{
	int fd = openat(proc_descriptor(), "self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || write(fd, score, strlen(score)) != (ssize_t)strlen(score) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return error;
}

/* A service manager may have lowered it already (OOMScoreAdjust=). */
static int score_lower(void)
{
	int error = score_write(ADJ);
	return error && score_is_low() ? 0 : error;
}

/* Among everybody, and with that slice; 0 is the usual one. Where it is denied, it is what it is. libc
 * has no sched_setattr(2). */
static void fair_share(uint64_t slice_ns, uint64_t flags)
{
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
	} attr = { .size = sizeof attr, .policy = SCHED_OTHER, .flags = flags, .nice = getpriority(PRIO_PROCESS, 0),
		   .runtime = slice_ns };
	if (syscall(SYS_sched_setattr, 0, &attr, 0) != 0)
		errno = 0;
}

static bool share_is_fair(void)
{
	return sched_getscheduler(0) == SCHED_OTHER; /* a service manager may have said otherwise */
}

void armour_raise(void)
{
	bool low = getpriority(PRIO_PROCESS, 0) > NICE;
	nice_denied = low && setpriority(PRIO_PROCESS, 0, NICE) != 0 ? errno : 0;
	if (share_is_fair())
		fair_share(SLICE_NS, 0);
	score_denied = score_lower();
}

void armour_leave(void)
{
	if (getpriority(PRIO_PROCESS, 0) < 0)
		setpriority(PRIO_PROCESS, 0, 0);
	if (share_is_fair())
		fair_share(0, 0);
	if (score_is_low())
		score_write(ADJ_USUAL);
}

void armour_say(void)
{
	if (nice_denied)
		denied_say("priority cannot be raised", "it may be late where all processors are busy (systemd: Nice=-10)",
			   nice_denied);
	if (score_denied)
		denied_say("oom_score_adj cannot be lowered", "the kernel's killer may take this broker "
			   "(systemd: OOMScoreAdjust=-999)", score_denied);
}

void armour_hurry(bool hurry)
{
	struct sched_param first = { .sched_priority = 1 };
	/* Where it is denied, the priority is what it is. */
	if (!hurry)
		fair_share(SLICE_NS, SCHED_FLAG_RESET_ON_FORK);
	else if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) != 0)
		errno = 0;
}

/* --- pages that stay --- */

/* What is used when memory is short: our own image with its tables, libc, the stack. Not what comes
 * before the text of an image: the dynamic linker's tables were for the start (-z now), and in libc
 * they are a twelfth. */
struct locking {
	uintptr_t ours, libc; /* an address in each */
	bool text;	      /* that of the image which is being read has been seen */
	bool bss;	      /* what follows is our image's, without a name */
	int pagemap;
	int error;
	char file[2][256]; /* their paths, once seen */
};

#define PAGEMAP_PRESENT (1ull << 63) /* Documentation/admin-guide/mm/pagemap.rst */
#define PAGES_AT_ONCE 512u

/* Locks the runs of resident pages in [start, end). */
static void pages_lock(struct locking *l, uintptr_t start, uintptr_t end)
{
	uint64_t entry[PAGES_AT_ONCE];
	uintptr_t run = 0;
	for (uintptr_t at = start; at < end && !l->error; at += PAGES_AT_ONCE * PAGE_BYTES) {
		size_t n = min_u64((end - at) / PAGE_BYTES, PAGES_AT_ONCE);
		if (pread(l->pagemap, entry, n * sizeof *entry, (off_t)(at / PAGE_BYTES * sizeof *entry)) !=
		    (ssize_t)(n * sizeof *entry))
			l->error = errno ? errno : EIO;
		for (size_t i = 0; i < n && !l->error; i++) {
			uintptr_t page = at + i * PAGE_BYTES;
			bool present = entry[i] & PAGEMAP_PRESENT;
			if (present && run == 0)
				run = page;
			if (!present && run != 0 && mlock((void *)run, page - run) != 0)
				l->error = errno;
			run = present ? run : 0;
		}
	}
	if (run != 0 && !l->error && mlock((void *)run, end - run) != 0)
		l->error = errno;
}

static bool line_lock(void *context, const char *line)
{
	struct locking *l = context;
	unsigned long start, end;
	char mode[5], path[256] = "";
	if (sscanf(line, "%lx-%lx %4s %*s %*s %*s %255[^\n]", &start, &end, mode, path) < 3 || mode[0] != 'r')
		return false;
	uintptr_t known[2] = { l->ours, l->libc };
	bool wanted = strcmp(path, "[stack]") == 0 || (path[0] == '\0' && l->bss);
	for (int i = 0; i < 2; i++) {
		if (known[i] >= start && known[i] < end) {
			memcpy(l->file[i], path, sizeof path);
			l->text = false;
		}
		l->text |= mode[2] == 'x';
		wanted |= l->text && l->file[i][0] != '\0' && strcmp(l->file[i], path) == 0;
	}
	/* Its bss is the mapping right behind the last one of our file. */
	l->bss = l->file[0][0] != '\0' && strcmp(l->file[0], path) == 0;
	if (wanted)
		pages_lock(l, start, end);
	return l->error != 0;
}

/* The first segment of an image: its mappings come in order of address, that one first. */
static uintptr_t image_start(const void *inside)
{
	struct dl_find_object found;
	return _dl_find_object((void *)inside, &found) == 0 ? (uintptr_t)found.dlfo_map_start : 0;
}

int armour_lock(void)
{
	static bool said;
	struct locking l = { .ours = image_start((const void *)armour_lock), .libc = image_start((const void *)mlock) };
	l.pagemap = openat(proc_descriptor(), "self/pagemap", O_RDONLY | O_CLOEXEC);
	if (l.pagemap < 0)
		return -errno;
	proc_lines(proc_file(getpid(), "maps"), line_lock, &l);
	close(l.pagemap);
	if (l.error && !said)
		denied_say("its memory cannot be locked", "it may be paged out when it is needed (systemd: LimitMEMLOCK=64M)",
			   l.error);
	said |= l.error != 0;
	return -l.error;
}

void armour_shed(void *start, size_t bytes)
{
	uintptr_t from = ((uintptr_t)start + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	uintptr_t end = ((uintptr_t)start + bytes) & ~(PAGE_BYTES - 1);
	if (from < end && madvise((void *)from, end - from, MADV_DONTNEED) != 0)
		errno = 0;
}

/* Of code alone: it was never written, so nothing is lost. */
static bool line_forget(void *context, const char *line)
{
	unsigned long start, end;
	char mode[5];
	(void)context;
	if (sscanf(line, "%lx-%lx %4s", &start, &end, mode) == 3 && strcmp(mode, "r-xp") == 0)
		armour_shed((void *)start, end - start);
	return false;
}

void armour_forget(void)
{
	proc_lines(proc_file(getpid(), "maps"), line_forget, NULL);
}

/* --- no more memory --- */

static int rules_add(scmp_filter_ctx filter)
{
	static const int denied[] = { SCMP_SYS(brk), SCMP_SYS(mremap), SCMP_SYS(shmat), SCMP_SYS(remap_file_pages) };
	static const int program[] = { SCMP_SYS(execve), SCMP_SYS(execveat) };
	int error = 0;
	for (size_t i = 0; i < ARRAY_N(denied) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOMEM), denied[i], 0);
	for (size_t i = 0; i < ARRAY_N(program) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), program[i], 0);
	/* All but MAP_SHARED of a file: MAP_PRIVATE, MAP_SHARED_VALIDATE, and anything anonymous. */
	error = error ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOMEM), SCMP_SYS(mmap), 1,
						 SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_PRIVATE, MAP_PRIVATE));
	return error ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOMEM), SCMP_SYS(mmap), 1,
						SCMP_A3(SCMP_CMP_MASKED_EQ, MAP_ANONYMOUS, MAP_ANONYMOUS));
}

int armour_seal(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int error = filter ? rules_add(filter) : -ENOMEM;
	error = error ? error : seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	if (error)
		denied_say("the filter against allocating cannot be set", "it does not allocate all the same", -error);
	return error;
}
