/* SPDX-License-Identifier: MIT */
/* Files of /proc that say anything: daemon/proc.c and cli/smaps.c. The kernel is trusted,
 * but a name in them is whatever a process called itself, and it hands a file out in pieces
 * of any size: what is understood must not depend on where it was cut. */
#include "tests/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/smaps.h"
#include "daemon/count.h"
#include "daemon/proc.h"

static int file = -1;   /* what every path leads to */
static size_t piece;    /* the most that is read at once */

int __wrap_openat(int dir, const char *path, int flags, ...);
ssize_t __real_read(int fd, void *to, size_t n);
ssize_t __wrap_read(int fd, void *to, size_t n);

static int file_again(void)
{
	char path[32];
	snprintf(path, sizeof path, "/proc/self/fd/%d", file);
	return open(path, O_RDONLY | O_CLOEXEC);
}

int __wrap_openat(int dir, const char *path, int flags, ...)
{
	(void)dir, (void)path, (void)flags;
	return file_again();
}

ssize_t __wrap_read(int fd, void *to, size_t n)
{
	return __real_read(fd, to, n < piece ? n : piece);
}

/* Everything the broker learns from a file, whichever it is. */
struct learnt {
	struct proc_stat stat;
	uid_t uid, effective;
	struct count count;
	uint64_t whole;
	int stat_error, uid_error, effective_error, count_error, whole_error, maps;
	bool foreign, in_cgroup;
	uint64_t memory;
};

/* Without what lies between its parts, for it will be compared byte by byte. */
static int stat_learn(struct proc_stat *ret)
{
	struct proc_stat s;
	int error = proc_stat(1, &s);
	if (error)
		return error;
	ret->state = s.state;
	ret->parent = s.parent;
	ret->start_ticks = s.start_ticks;
	memcpy(ret->comm, s.comm, sizeof s.comm);
	return 0;
}

static struct learnt learn(size_t most, uint64_t inode, const char *cgroup)
{
	struct learnt l;
	memset(&l, 0, sizeof l);
	piece = most;
	l.stat_error = stat_learn(&l.stat);
	l.uid_error = proc_uid(1, &l.uid);
	l.effective_error = proc_effective_uid(1, &l.effective);
	l.count_error = count_quick(1, -1, &l.count);
	l.whole_error = count_whole(1, &l.whole);
	l.foreign = proc_is_foreign(1, 1);
	l.maps = proc_maps(1, makedev(0, 1), inode);
	l.in_cgroup = proc_in_cgroup(1, cgroup);
	l.memory = proc_memory_bytes();
	return l;
}

static void broker_check(const uint8_t *text, size_t n, size_t most, uint64_t inode, const char *cgroup)
{
	struct learnt whole = learn(SIZE_MAX, inode, cgroup), pieces = learn(most, inode, cgroup);
	must(whole.maps == 0 || whole.maps == 1);
	must(whole.stat_error != 0 || memchr(whole.stat.comm, '\0', sizeof whole.stat.comm));
	if (pieces.maps == -ETIME) /* in pieces so small that it took too long */
		pieces.maps = whole.maps;
	if (memchr(text, '\0', n)) { /* the kernel does not write that */
		whole.maps = pieces.maps;
		whole.whole = pieces.whole;
	}
	must(memcmp(&whole, &pieces, sizeof whole) == 0);
}

static void stream_check(int (*read)(FILE *, uint64_t *))
{
	uint64_t number = 4711;
	FILE *f = fdopen(file_again(), "r");
	must(f);
	int error = read(f, &number);
	must(error <= 0 && (error == 0 || number == 4711));
	fclose(f);
}

static void reader_check(void)
{
	piece = SIZE_MAX;
	stream_check(smaps_accountable);
	stream_check(statm_private);
	stream_check(stat_start_ticks);
}

/* What the broker and `solvent audit` count each for itself, in a list as the kernel writes it. */
static void counts_agree(struct feed f, size_t most)
{
	static const char *const names[] = { "", "[heap]", "/a Size: 7", "/VmFlags: ac", "/tmp/ac\\012Size: 9" };
	static const char *const flags[] = { "rd wr mr mw me ac", "rd ex mr mw me", "rd wr ac sd", "ac", "wr nr" };
	uint64_t broker = 0, reader = 0, sum_kib = 0;
	FILE *out = fdopen(file = memfd_create("fuzz-smaps", 0), "w");
	must(out);
	for (uint8_t i = feed_byte(&f) % 64; i > 0; i--) {
		unsigned long kib = feed_number(&f, 3) * 4;
		uint8_t flag = feed_byte(&f) % 5;
		sum_kib += strstr(flags[flag], "ac") ? kib : 0;
		fprintf(out, "7f0000000000-7f0000200000 rw-p 00000000 00:00 0    %s\nSize: %15lu kB\nRss: 4 kB\nVmFlags: %s \n",
			names[feed_byte(&f) % 5], kib, flags[flag]);
	}
	fflush(out);
	piece = most;
	must(count_whole(1, &broker) == 0);
	FILE *in = fdopen(file_again(), "r");
	must(in && smaps_accountable(in, &reader) == 0);
	must(broker == reader && broker == sum_kib / 4);
	fclose(in);
	fclose(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	char cgroup[16] = "/";
	uint64_t inode = feed_number(&f, 2);
	size_t most = 1 + feed_number(&f, 2);
	feed_bytes(&f, cgroup + 1, feed_byte(&f) % 14);
	size_t rest = (size_t)(f.end - f.at);
	file = memfd_create("fuzz-proc", MFD_CLOEXEC);
	must(file >= 0 && write(file, f.at, rest) == (ssize_t)rest);
	broker_check(f.at, rest, most, inode, cgroup);
	reader_check();
	close(file);
	counts_agree(feed_of(input, n), most);
	piece = SIZE_MAX;
	return 0;
}
