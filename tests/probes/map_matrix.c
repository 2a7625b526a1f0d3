/* SPDX-License-Identifier: MIT */
/* Description: every mapping call, priced as the list says and never below what the kernel
 * counts; above it by what the list says, to the page. Each row is done alone; the charge is
 * compared before and after.
 * Budget: 600M */
#include <limits.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/probes/probe.h"

#define S ((size_t)16 << 20)
#define P ((long)(S / 4096))
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)
#define DROPPABLE 0x08 /* MAP_DROPPABLE, Linux 6.11 */
#define NOT_HERE LONG_MIN /* this kernel has no such thing */

static char *map(int prot, int flags)
{
	char *p = mmap(NULL, S, prot, flags, -1, 0);
	check(p != MAP_FAILED);
	return p;
}

static int file(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR, 0600);
	if (fd >= 0)
		check(ftruncate(fd, S) == 0);
	return fd;
}

static char *map_file(int fd, int prot, int flags)
{
	char *p = mmap(NULL, S, prot, flags, fd, 0);
	check(p != MAP_FAILED);
	return p;
}

/* Each returns the pages by which the process (or, with `account`, the whole account) should
 * be charged more afterwards, and leaves what to unmap in a..b. */
static char *a;
static size_t a_bytes;
static void kept(char *p, size_t bytes) { a = p; a_bytes = bytes; }

static long rw(void) { kept(map(RW, PRIVATE), S); return P; }
static long rw_mmap64(void)
{
	char *p = mmap64(NULL, S, RW, PRIVATE, -1, 0);
	check(p != MAP_FAILED);
	kept(p, S);
	return P;
}
static long write_only(void) { kept(map(PROT_WRITE, PRIVATE), S); return P; }
static long read_only(void) { kept(map(PROT_READ, PRIVATE), S); return 0; }
static long none(void) { kept(map(PROT_NONE, PRIVATE), S); return 0; }
static long read_execute(void) { kept(map(PROT_READ | PROT_EXEC, PRIVATE), S); return 0; }
static long stack(void) { kept(map(RW, PRIVATE | MAP_STACK), S); return P; }
static long droppable(void)
{
	char *p = mmap(NULL, S, RW, DROPPABLE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		check(errno != ENOMEM, "a kernel that has no such thing says something else");
		return NOT_HERE;
	}
	kept(p, S);
	return 0;
}
static long huge_pages(void)
{
	char *p = mmap(NULL, (size_t)2 << 20, RW, PRIVATE | MAP_HUGETLB, -1, 0);
	if (p == MAP_FAILED)
		return NOT_HERE;
	kept(p, (size_t)2 << 20);
	return 0;
}
static long grows_down(void)
{
	check(mmap(NULL, S, RW, PRIVATE | MAP_GROWSDOWN, -1, 0) == MAP_FAILED && errno == ENOMEM);
	return 0;
}
static long noreserve(void) { kept(map(RW, PRIVATE | MAP_NORESERVE), S); return P; }
static long none_noreserve(void) { kept(map(PROT_NONE, PRIVATE | MAP_NORESERVE), S); return 0; }
static long populate(void) { kept(map(RW, PRIVATE | MAP_POPULATE), S); return P; }
static long odd_length(void)
{
	char *p = mmap(NULL, S + 1, RW, PRIVATE, -1, 0);
	check(p != MAP_FAILED);
	kept(p, S + 1);
	return P + 1;
}
static long huge_none(void)
{
	char *p = mmap(NULL, (size_t)1 << 40, PROT_NONE, PRIVATE | MAP_NORESERVE, -1, 0);
	check(p != MAP_FAILED);
	kept(p, (size_t)1 << 40);
	return 0;
}
static long none_to_rw(void) { none(); check(mprotect(a, S, RW) == 0); return P; }
static long none_to_rw_half(void) { none(); check(mprotect(a + S / 2, S / 2, RW) == 0); return P / 2; }
static long noreserve_none_to_rw(void) { none_noreserve(); check(mprotect(a, S, RW) == 0); return P; }
static long none_to_rw_across_a_hole(void)
{
	none();
	check(munmap(a + S / 2, S / 4) == 0);
	check(mprotect(a, S, RW) == -1 && errno == ENOMEM);
	return P / 2;
}
static long none_to_rw_with_a_key(void)
{
	int key = pkey_alloc(0, 0); /* -1 where the processor has none: as mprotect */
	none();
	check(pkey_mprotect(a, S, RW, key) == 0);
	if (key >= 0)
		check(pkey_free(key) == 0);
	return P;
}
static long none_to_rw_by_syscall(void) { none(); check(syscall(SYS_pkey_mprotect, a, S, RW, -1) == 0); return P; }
static long rw_untouched_to_ro(void) { rw(); check(mprotect(a, S, PROT_READ) == 0); return P; }
static long rw_untouched_to_none(void) { rw(); check(mprotect(a, S, PROT_NONE) == 0); return P; }
static long rw_twice(void) { none_to_rw(); check(mprotect(a, S, RW | PROT_EXEC) == 0); return P; }
static long rw_touched_to_none(void) { rw(); memset(a, 1, S); check(mprotect(a, S, PROT_NONE) == 0); return P; }
static long none_and_back(void) { rw_touched_to_none(); check(mprotect(a, S, RW) == 0); return P; }
static long dontneed(void) { rw(); memset(a, 1, S); check(madvise(a, S, MADV_DONTNEED) == 0); return P; }
static long guards(void)
{
	rw();
	if (madvise(a, S / 2, 102) != 0) /* MADV_GUARD_INSTALL, Linux 6.13 */
		return munmap(a, S), kept(NULL, 0), NOT_HERE;
	return P;
}
static long not_for_children(void)
{
	int status;
	rw();
	check(madvise(a, S, MADV_DONTFORK) == 0);
	long account = account_pages();
	pid_t pid = fork();
	check(pid >= 0);
	if (pid == 0)
		_exit(charged_pages() - kernel_pages() >= P ? 0 : 1);
	check(waitpid(pid, &status, 0) == pid && status == 0);
	check(account_settled(account) == account, "the child's charge is not back");
	return P;
}
static long fixed(void *over, size_t bytes, int prot, int flags)
{
	check(mmap(over, bytes, prot, flags | MAP_FIXED, -1, 0) == over);
	return 0;
}
static long fixed_rw_over_none(void) { none(); fixed(a, S, RW, PRIVATE); return P; }
static long fixed_rw_over_rw(void) { rw(); fixed(a, S, RW, PRIVATE); return P; }
static long fixed_none_over_half(void) { rw(); fixed(a, S / 2, PROT_NONE, PRIVATE); return P / 2; }
static long fixed_none_over_touched(void) { rw(); memset(a, 1, S); fixed(a, S, PROT_NONE, PRIVATE); return 0; }
static long fixed_shared_over_rw(void) { rw(); fixed(a, S, RW, MAP_SHARED | MAP_ANONYMOUS); return 0; }
static long fixed_shared_over_none(void) { none(); fixed(a, S, RW, MAP_SHARED | MAP_ANONYMOUS); return P; }
static long fixed_rw_over_shared(void)
{
	kept(map(RW, MAP_SHARED | MAP_ANONYMOUS), S);
	fixed(a, S, RW, PRIVATE);
	return P;
}
static long unmap_middle(void) { rw(); check(munmap(a + S / 4, S / 2) == 0); return P / 2; }
static long unmap_with_hole(void) { unmap_middle(); check(munmap(a, S) == 0); kept(NULL, 0); return 0; }
static void grown(void)
{
	char *p = mremap(a, S, 2 * S, MREMAP_MAYMOVE);
	check(p != MAP_FAILED);
	kept(p, 2 * S);
}
static long grow(void)
{
	rw();
	grown();
	return 2 * P;
}
static long shrink(void) { rw(); check(mremap(a, S, S / 2, 0) == a); kept(a, S / 2); return P / 2; }
static long move_over(void)
{
	rw();
	char *from = a, *to = map(RW, PRIVATE);
	check(mremap(from, S, S, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	kept(to, S);
	return P;
}
static long dontunmap(void)
{
	rw();
	char *from = a, *to = mremap(from, S, S, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	check(to != MAP_FAILED);
	check(munmap(from, S) == 0);
	kept(to, S);
	return P;
}
static long grow_charged_none(void)
{
	rw_touched_to_none();
	grown();
	return 2 * P;
}
static long grow_noreserve(void)
{
	noreserve();
	grown();
	return 2 * P;
}
static long duplicate_private(void)
{
	rw();
	check(mremap(a, 0, S, MREMAP_MAYMOVE) == MAP_FAILED && errno == EINVAL);
	return P;
}
static long move_shrink_over(void)
{
	rw();
	char *from = a, *to = map(RW, PRIVATE);
	check(mremap(from, S, S / 2, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	kept(to, S);
	return P;
}
static long grow_none(void)
{
	none();
	grown();
	return 0;
}
static long private_file(void) { kept(map_file(file("/tmp"), RW, MAP_PRIVATE), S); return P; }
static long private_file_beyond_its_end(void)
{
	int fd = file("/tmp");
	check(ftruncate(fd, 1) == 0);
	kept(map_file(fd, RW, MAP_PRIVATE), S);
	return P;
}
static long private_file_noreserve(void) { kept(map_file(file("/tmp"), RW, MAP_PRIVATE | MAP_NORESERVE), S); return P; }
static long private_file_ro(void) { kept(map_file(file("/tmp"), PROT_READ, MAP_PRIVATE), S); return 0; }
static long private_file_ro_to_rw(void) { private_file_ro(); check(mprotect(a, S, RW) == 0); return P; }
static long private_file_rw_ro_rw(void)
{
	private_file();
	check(mprotect(a, S, PROT_READ) == 0 && mprotect(a, S, RW) == 0);
	return P;
}
static long zero_private(void) { kept(map_file(open("/dev/zero", O_RDWR), RW, MAP_PRIVATE), S); return P; }
static long brk_up(void) { char *p = sbrk(S); check(p != (void *)-1); return P; }
extern void *__sbrk(intptr_t increment); /* glibc's, declared nowhere */
static long brk_up_by_its_other_name(void) { check(__sbrk(S) != (void *)-1); return P; }
static long brk_up_down(void) { brk_up(); check(sbrk(-(intptr_t)S) != (void *)-1); return 0; }
static long raw_mmap(void)
{
	char *p = (char *)syscall(SYS_mmap, NULL, S, RW, PRIVATE, -1, 0L);
	check(p != MAP_FAILED);
	kept(p, S);
	return P;
}

/* shared: the account pays, not the process */
static long shared_anon(void) { kept(map(RW, MAP_SHARED | MAP_ANONYMOUS), S); return P; }
static long shared_anon_none(void) { kept(map(PROT_NONE, MAP_SHARED | MAP_ANONYMOUS), S); return P; }
static long shared_half_unmapped(void) { shared_anon(); check(munmap(a, S / 2) == 0); kept(a + S / 2, S / 2); return P; }
static long shared_protect(void) { shared_anon_none(); check(mprotect(a, S, RW) == 0); return P; }
static long shared_anon_ro(void) { kept(map(PROT_READ, MAP_SHARED | MAP_ANONYMOUS), S); return P; }
static long shared_noreserve(void)
{
	kept(map(RW, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE), S);
	memset(a, 1, S);
	return P;
}
static long shared_removed(void) { shared_noreserve(); check(madvise(a, S / 2, MADV_REMOVE) == 0); return P; }
static long shared_grown(void)
{
	shared_anon();
	grown();
	return P;
}
static long shared_duplicated(void)
{
	shared_anon();
	char *first = a, *p = mremap(a, 0, S, MREMAP_MAYMOVE);
	check(p != MAP_FAILED && munmap(first, S) == 0);
	kept(p, S);
	return P;
}
static long zero_shared(void) { kept(map_file(open("/dev/zero", O_RDWR), RW, MAP_SHARED), S); return P; }
static long memfd_shared(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, S) == 0);
	kept(map_file(fd, RW, MAP_SHARED), S);
	close(fd);
	return P;
}
static int memfd(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, S) == 0);
	return fd;
}
static long memfd_mapped(int prot, int flags)
{
	int fd = memfd();
	kept(map_file(fd, prot, flags), S);
	close(fd);
	return 0;
}
static long memfd_alone(void) { close(memfd()); return 0; }
static long memfd_allocated(void)
{
	int fd = memfd();
	check(fallocate(fd, 0, 0, S) == 0 && pwrite(fd, "x", 1, 0) == 1);
	close(fd);
	return 0;
}
static long memfd_shared_ro(void) { memfd_mapped(PROT_READ, MAP_SHARED); return P; }
static long memfd_private_rw(void) { memfd_mapped(RW, MAP_PRIVATE); return 2 * P; }
static long memfd_private_ro(void) { memfd_mapped(PROT_READ, MAP_PRIVATE); return P; }
static long memfd_private_rw_full(void)
{
	int fd = memfd();
	check(fallocate(fd, 0, 0, S) == 0);
	kept(map_file(fd, RW, MAP_PRIVATE), S);
	close(fd);
	return P;
}
static long memfd_punched(void)
{
	int fd = memfd();
	kept(map_file(fd, RW, MAP_SHARED), S);
	memset(a, 1, S);
	check(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, S / 2) == 0);
	check(madvise(a, S, MADV_DONTNEED) == 0);
	close(fd);
	return P;
}
static long memfd_shrinks(void)
{
	int fd = memfd();
	kept(map_file(fd, RW, MAP_SHARED), S);
	check(ftruncate(fd, S / 2) == 0);
	close(fd);
	return P / 2;
}
/* To twice its size, by every name there is for that. */
static long memfd_grown(int (*enlarge)(int fd))
{
	int fd = memfd();
	kept(map_file(fd, RW, MAP_SHARED), S);
	check(enlarge(fd) == 0);
	close(fd);
	return 2 * P;
}
static const char *path_of(int fd)
{
	static char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return path;
}
static int by_ftruncate(int fd) { return ftruncate(fd, 2 * S); }
static int by_ftruncate64(int fd) { return ftruncate64(fd, 2 * S); }
static int by_truncate(int fd) { return truncate(path_of(fd), 2 * S); }
static int by_truncate64(int fd) { return truncate64(path_of(fd), 2 * S); }
static int by_syscall_truncate(int fd) { return (int)syscall(SYS_truncate, path_of(fd), 2 * S); }
static int by_fallocate(int fd) { return fallocate(fd, 0, S, S); }
static int by_fallocate64(int fd) { return fallocate64(fd, 0, S, S); }
static int by_posix_fallocate(int fd) { return posix_fallocate(fd, S, S); }
static int by_posix_fallocate64(int fd) { return posix_fallocate64(fd, S, S); }
static long memfd_ftruncate(void) { return memfd_grown(by_ftruncate); }
static long memfd_ftruncate64(void) { return memfd_grown(by_ftruncate64); }
static long memfd_truncate(void) { return memfd_grown(by_truncate); }
static long memfd_truncate64(void) { return memfd_grown(by_truncate64); }
static long memfd_syscall_truncate(void) { return memfd_grown(by_syscall_truncate); }
static long memfd_fallocate(void) { return memfd_grown(by_fallocate); }
static long memfd_fallocate64(void) { return memfd_grown(by_fallocate64); }
static long memfd_posix_fallocate(void) { return memfd_grown(by_posix_fallocate); }
static long memfd_posix_fallocate64(void) { return memfd_grown(by_posix_fallocate64); }
static long secret(void)
{
	int fd = (int)syscall(447, 0); /* memfd_secret, Linux 5.14 */
	if (fd < 0)
		return NOT_HERE;
	char *p = ftruncate(fd, 4096) == 0 ? mmap(NULL, 4096, RW, MAP_SHARED, fd, 0) : MAP_FAILED;
	close(fd);
	if (p == MAP_FAILED)
		return NOT_HERE;
	kept(p, 4096);
	*p = 1;
	return 0;
}
static long memfd_twice(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, S) == 0);
	char *first = map_file(fd, RW, MAP_SHARED);
	kept(map_file(fd, RW, MAP_SHARED), S);
	close(fd);
	check(munmap(first, S) == 0);
	return P;
}
static long disk_shared(void) { kept(map_file(file("/tmp"), RW, MAP_SHARED), S); return 0; }
static int sysv_id = -1;
static void sysv_remove(void)
{
	if (sysv_id >= 0)
		check(shmctl(sysv_id, IPC_RMID, NULL) == 0);
	sysv_id = -1;
}
static long sysv_alone(void) { check((sysv_id = shmget(IPC_PRIVATE, S, 0600)) >= 0); return P; }
static long sysv_noreserve(void)
{
	check((sysv_id = shmget(IPC_PRIVATE, S, SHM_NORESERVE | 0600)) >= 0);
	return P;
}
static long sysv_detached(void)
{
	sysv_alone();
	char *p = shmat(sysv_id, NULL, 0);
	check(p != (void *)-1 && shmdt(p) == 0);
	return P;
}
static long sysv_grown_and_detached(void)
{
	sysv_alone();
	char *p = shmat(sysv_id, NULL, 0);
	check(p != (void *)-1);
	sysv_remove();
	p = mremap(p, S, 2 * S, MREMAP_MAYMOVE);
	/* Or the kernel would detach it as one piece. */
	check(p != MAP_FAILED && madvise(p + S, S, MADV_DONTFORK) == 0);
	check(shmdt(p) == 0);
	kept(p + S, S);
	return P;
}
static long sysv(void)
{
	sysv_alone();
	char *p = shmat(sysv_id, NULL, 0);
	check(p != (void *)-1);
	sysv_remove();
	long now = account_pages();
	memset(p, 1, S);
	check(account_pages() == now);
	check(shmdt(p) == 0);
	kept(NULL, 0);
	return 0;
}

/* `over`: pages by which the process is charged more than the kernel counts; none on kernels that
 * count it, too (vm.overcommit_memory=2, Linux before 6.12). */
static const struct row {
	const char *name;
	long (*act)(void);
	int account;
	int brk;
	long over;
} rows[] = {
	{ "private RW", rw, 0, 0, 0 },
	{ "private RW by mmap64", rw_mmap64, 0, 0, 0 },
	{ "private W", write_only, 0, 0, 0 },
	{ "private RO", read_only, 0, 0, 0 },
	{ "private RX", read_execute, 0, 0, 0 },
	{ "STACK", stack, 0, 0, 0 },
	{ "DROPPABLE", droppable, 0, 0, 0 },
	{ "HUGETLB", huge_pages, 0, 0, 0 },
	{ "GROWSDOWN", grows_down, 0, 0, 0 },
	{ "private NONE", none, 0, 0, 0 },
	{ "NORESERVE", noreserve, 0, 0, P },
	{ "NONE NORESERVE", none_noreserve, 0, 0, 0 },
	{ "POPULATE", populate, 0, 0, 0 },
	{ "length S+1", odd_length, 0, 0, 0 },
	{ "1 TiB NONE", huge_none, 0, 0, 0 },
	{ "NONE to RW", none_to_rw, 0, 0, 0 },
	{ "half NONE to RW", none_to_rw_half, 0, 0, 0 },
	{ "NONE NORESERVE to RW", noreserve_none_to_rw, 0, 0, P },
	{ "NONE to RW across a hole", none_to_rw_across_a_hole, 0, 0, 0 },
	{ "NONE to RW by pkey_mprotect", none_to_rw_with_a_key, 0, 0, 0 },
	{ "NONE to RW by syscall(SYS_pkey_mprotect)", none_to_rw_by_syscall, 0, 0, 0 },
	{ "RW to RO untouched", rw_untouched_to_ro, 0, 0, P },
	{ "RW to NONE untouched", rw_untouched_to_none, 0, 0, P },
	{ "RW to RWX", rw_twice, 0, 0, 0 },
	{ "touched RW to NONE", rw_touched_to_none, 0, 0, 0 },
	{ "touched RW to NONE and back", none_and_back, 0, 0, 0 },
	{ "DONTNEED", dontneed, 0, 0, 0 },
	{ "GUARD_INSTALL", guards, 0, 0, 0 },
	{ "DONTFORK", not_for_children, 0, 0, 0 },
	{ "FIXED RW over NONE", fixed_rw_over_none, 0, 0, 0 },
	{ "FIXED RW over RW", fixed_rw_over_rw, 0, 0, 0 },
	{ "FIXED NONE over half", fixed_none_over_half, 0, 0, 0 },
	{ "FIXED NONE over touched", fixed_none_over_touched, 0, 0, 0 },
	{ "FIXED shared over NONE", fixed_shared_over_none, 1, 0, 0 },
	{ "FIXED RW over shared", fixed_rw_over_shared, 0, 0, 0 },
	{ "FIXED shared over RW", fixed_shared_over_rw, 0, 0, 0 },
	{ "munmap middle", unmap_middle, 0, 0, 0 },
	{ "munmap with a hole", unmap_with_hole, 0, 0, 0 },
	{ "mremap grow", grow, 0, 0, 0 },
	{ "mremap shrink", shrink, 0, 0, 0 },
	{ "mremap FIXED over RW", move_over, 0, 0, 0 },
	{ "mremap DONTUNMAP", dontunmap, 0, 0, 0 },
	{ "mremap grow NONE", grow_none, 0, 0, 0 },
	{ "mremap grow NONE that is charged", grow_charged_none, 0, 0, 0 },
	{ "mremap grow NORESERVE", grow_noreserve, 0, 0, 2 * P },
	{ "mremap of 0 bytes, private", duplicate_private, 0, 0, 0 },
	{ "mremap shrink, FIXED over RW", move_shrink_over, 0, 0, 0 },
	{ "private file RW", private_file, 0, 0, 0 },
	{ "private file RW beyond its end", private_file_beyond_its_end, 0, 0, 0 },
	{ "private file RW NORESERVE", private_file_noreserve, 0, 0, P },
	{ "private file RO", private_file_ro, 0, 0, 0 },
	{ "private file RO to RW", private_file_ro_to_rw, 0, 0, 0 },
	{ "private file RW, RO, RW", private_file_rw_ro_rw, 0, 0, 0 },
	{ "/dev/zero private", zero_private, 0, 0, 0 },
	{ "brk up", brk_up, 0, 1, 0 },
	{ "brk up by __sbrk", brk_up_by_its_other_name, 0, 1, 0 },
	{ "brk up and down", brk_up_down, 0, 0, 0 },
	{ "syscall(SYS_mmap)", raw_mmap, 0, 0, 0 },
	{ "shared anonymous", shared_anon, 1, 0, 0 },
	{ "shared anonymous NONE", shared_anon_none, 1, 0, 0 },
	{ "shared anonymous RO", shared_anon_ro, 1, 0, 0 },
	{ "shared anonymous NORESERVE", shared_noreserve, 1, 0, 0 },
	{ "shared anonymous, half removed", shared_removed, 1, 0, 0 },
	{ "shared anonymous, grown", shared_grown, 1, 0, 0 },
	{ "shared anonymous, duplicated", shared_duplicated, 1, 0, 0 },
	{ "shared anonymous, half unmapped", shared_half_unmapped, 1, 0, 0 },
	{ "shared anonymous NONE to RW", shared_protect, 1, 0, 0 },
	{ "/dev/zero shared", zero_shared, 1, 0, 0 },
	{ "memfd shared", memfd_shared, 1, 0, 0 },
	{ "memfd not mapped", memfd_alone, 1, 0, 0 },
	{ "memfd allocated and written, not mapped", memfd_allocated, 1, 0, 0 },
	{ "memfd shared RO", memfd_shared_ro, 1, 0, 0 },
	{ "memfd private RW, with holes", memfd_private_rw, 1, 0, 0 },
	{ "memfd private RW, without", memfd_private_rw_full, 1, 0, 0 },
	{ "memfd private RO, with holes", memfd_private_ro, 1, 0, 0 },
	{ "memfd punched", memfd_punched, 1, 0, 0 },
	{ "memfd shrunk under its mapping", memfd_shrinks, 1, 0, 0 },
	{ "memfd grown by ftruncate", memfd_ftruncate, 1, 0, 0 },
	{ "memfd grown by ftruncate64", memfd_ftruncate64, 1, 0, 0 },
	{ "memfd grown by truncate", memfd_truncate, 1, 0, 0 },
	{ "memfd grown by truncate64", memfd_truncate64, 1, 0, 0 },
	{ "memfd grown by syscall(SYS_truncate)", memfd_syscall_truncate, 1, 0, 0 },
	{ "memfd grown by fallocate", memfd_fallocate, 1, 0, 0 },
	{ "memfd grown by fallocate64", memfd_fallocate64, 1, 0, 0 },
	{ "memfd grown by posix_fallocate", memfd_posix_fallocate, 1, 0, 0 },
	{ "memfd grown by posix_fallocate64", memfd_posix_fallocate64, 1, 0, 0 },
	{ "memfd_secret", secret, 1, 0, 0 },
	{ "memfd mapped twice, once unmapped", memfd_twice, 1, 0, 0 },
	{ "disk file shared", disk_shared, 1, 0, 0 },
	{ "SysV segment, never attached", sysv_alone, 1, 0, 0 },
	{ "SysV segment NORESERVE", sysv_noreserve, 1, 0, 0 },
	{ "SysV segment, detached", sysv_detached, 1, 0, 0 },
	{ "SysV segment, grown and detached", sysv_grown_and_detached, 1, 0, 0 },
	{ "SysV segment, removed and detached", sysv, 1, 0, 0 },
};

static void row_undo(const struct row *r)
{
	if (r->brk)
		check(sbrk(-(intptr_t)S) != (void *)-1);
	if (a)
		check(munmap(a, a_bytes) == 0);
	kept(NULL, 0);
	sysv_remove();
}

/* What is not here, we have not refused. */
static long row_act(const struct row *r)
{
	unsigned long refusals = figures().refusals;
	long expected = r->act();
	check(expected != NOT_HERE || figures().refusals == refusals, "%s was refused", r->name);
	return expected;
}

static void row_check(const struct row *r)
{
	long before = r->account ? account_pages() : charged_pages();
	long slack = charged_pages() - kernel_pages();
	check(slack >= 0, "before %s: %ld pages under", r->name, -slack);
	long expected = row_act(r);
	if (expected == NOT_HERE)
		return;
	long after = r->account ? account_pages() : charged_pages();
	check(after - before == expected, "%s: %ld pages, expected %ld", r->name, after - before, expected);
	long over = charged_pages() - kernel_pages() - slack;
	check(over == r->over || over == 0, "%s: %ld pages above the kernel's count, expected %ld", r->name, over,
	      r->over);
	row_undo(r);
	after = r->account ? account_pages() : charged_pages();
	check(after == before, "%s: %ld pages left over", r->name, after - before);
}

/* Of a check that failed no segment is left on the machine. */
static void sysv_remove_at_exit(void)
{
	shmctl(sysv_id, IPC_RMID, NULL);
}

int main(void)
{
	check(atexit(sysv_remove_at_exit) == 0);
	/* What the first of anything makes (stdio's buffer, a node of the page map, the table of
	 * shared ranges) is made before it is counted. */
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		row_act(&rows[i]);
		row_undo(&rows[i]);
	}
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		row_check(&rows[i]);
	return 0;
}
