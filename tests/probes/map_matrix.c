/* SPDX-License-Identifier: MIT */
/* Description: every mapping call, priced as the list says and never below what the kernel
 * counts. Each row is done alone; the charge is compared before and after.
 * Budget: 600M */
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>

#include "tests/probes/probe.h"

#define S ((size_t)16 << 20)
#define P ((long)(S / 4096))
#define RW (PROT_READ | PROT_WRITE)
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

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
static long write_only(void) { kept(map(PROT_WRITE, PRIVATE), S); return P; }
static long read_only(void) { kept(map(PROT_READ, PRIVATE), S); return 0; }
static long none(void) { kept(map(PROT_NONE, PRIVATE), S); return 0; }
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
static long rw_twice(void) { none_to_rw(); check(mprotect(a, S, RW | PROT_EXEC) == 0); return P; }
static long rw_touched_to_none(void) { rw(); memset(a, 1, S); check(mprotect(a, S, PROT_NONE) == 0); return P; }
static long none_and_back(void) { rw_touched_to_none(); check(mprotect(a, S, RW) == 0); return P; }
static long dontneed(void) { rw(); memset(a, 1, S); check(madvise(a, S, MADV_DONTNEED) == 0); return P; }
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
static long unmap_middle(void) { rw(); check(munmap(a + S / 4, S / 2) == 0); return P / 2; }
static long unmap_with_hole(void) { unmap_middle(); check(munmap(a, S) == 0); kept(NULL, 0); return 0; }
static long grow(void)
{
	rw();
	char *p = mremap(a, S, 2 * S, MREMAP_MAYMOVE);
	check(p != MAP_FAILED);
	kept(p, 2 * S);
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
static long grow_none(void)
{
	none();
	char *p = mremap(a, S, 2 * S, MREMAP_MAYMOVE);
	check(p != MAP_FAILED);
	kept(p, 2 * S);
	return 0;
}
static long private_file(void) { kept(map_file(file("/tmp"), RW, MAP_PRIVATE), S); return P; }
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
static long zero_shared(void) { kept(map_file(open("/dev/zero", O_RDWR), RW, MAP_SHARED), S); return P; }
static long memfd_shared(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, S) == 0);
	kept(map_file(fd, RW, MAP_SHARED), S);
	close(fd);
	return P;
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
static long memfd_grows(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC);
	check(fd >= 0 && ftruncate(fd, S) == 0);
	kept(map_file(fd, RW, MAP_SHARED), S);
	check(ftruncate(fd, 2 * S) == 0);
	close(fd);
	return 2 * P;
}
static long disk_shared(void) { kept(map_file(file("/tmp"), RW, MAP_SHARED), S); return 0; }
static long sysv(void)
{
	int id = shmget(IPC_PRIVATE, S, 0600);
	check(id >= 0);
	char *p = shmat(id, NULL, 0);
	check(p != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
	long now = account_pages();
	memset(p, 1, S);
	check(account_pages() == now);
	check(shmdt(p) == 0);
	kept(NULL, 0);
	return 0;
}

static const struct row {
	const char *name;
	long (*act)(void);
	int account;
	int brk;
} rows[] = {
	{ "private RW", rw, 0, 0 },
	{ "private W", write_only, 0, 0 },
	{ "private RO", read_only, 0, 0 },
	{ "private NONE", none, 0, 0 },
	{ "NORESERVE", noreserve, 0, 0 },
	{ "NONE NORESERVE", none_noreserve, 0, 0 },
	{ "POPULATE", populate, 0, 0 },
	{ "length S+1", odd_length, 0, 0 },
	{ "1 TiB NONE", huge_none, 0, 0 },
	{ "NONE to RW", none_to_rw, 0, 0 },
	{ "half NONE to RW", none_to_rw_half, 0, 0 },
	{ "RW to RWX", rw_twice, 0, 0 },
	{ "touched RW to NONE", rw_touched_to_none, 0, 0 },
	{ "touched RW to NONE and back", none_and_back, 0, 0 },
	{ "DONTNEED", dontneed, 0, 0 },
	{ "FIXED RW over NONE", fixed_rw_over_none, 0, 0 },
	{ "FIXED RW over RW", fixed_rw_over_rw, 0, 0 },
	{ "FIXED NONE over half", fixed_none_over_half, 0, 0 },
	{ "FIXED NONE over touched", fixed_none_over_touched, 0, 0 },
	{ "FIXED shared over RW", fixed_shared_over_rw, 0, 0 },
	{ "munmap middle", unmap_middle, 0, 0 },
	{ "munmap with a hole", unmap_with_hole, 0, 0 },
	{ "mremap grow", grow, 0, 0 },
	{ "mremap shrink", shrink, 0, 0 },
	{ "mremap FIXED over RW", move_over, 0, 0 },
	{ "mremap DONTUNMAP", dontunmap, 0, 0 },
	{ "mremap grow NONE", grow_none, 0, 0 },
	{ "private file RW", private_file, 0, 0 },
	{ "private file RO", private_file_ro, 0, 0 },
	{ "private file RO to RW", private_file_ro_to_rw, 0, 0 },
	{ "private file RW, RO, RW", private_file_rw_ro_rw, 0, 0 },
	{ "/dev/zero private", zero_private, 0, 0 },
	{ "brk up", brk_up, 0, 1 },
	{ "brk up and down", brk_up_down, 0, 0 },
	{ "syscall(SYS_mmap)", raw_mmap, 0, 0 },
	{ "shared anonymous", shared_anon, 1, 0 },
	{ "shared anonymous NONE", shared_anon_none, 1, 0 },
	{ "shared anonymous, half unmapped", shared_half_unmapped, 1, 0 },
	{ "shared anonymous NONE to RW", shared_protect, 1, 0 },
	{ "/dev/zero shared", zero_shared, 1, 0 },
	{ "memfd shared", memfd_shared, 1, 0 },
	{ "memfd mapped twice, once unmapped", memfd_twice, 1, 0 },
	{ "memfd grown under its mapping", memfd_grows, 1, 0 },
	{ "disk file shared", disk_shared, 1, 0 },
	{ "SysV segment, removed and detached", sysv, 1, 0 },
};

/* The kernel's count and ours moved by the same number of pages, or ours by more where the
 * list says so (returned memory that was written to; NORESERVE). */
static void row_check(const struct row *r)
{
	long before = r->account ? account_pages() : charged_pages();
	long kernel_before = kernel_pages(), slack = charged_pages() - kernel_before;
	check(slack >= 0, "before %s: %ld pages under", r->name, -slack);
	long expected = r->act();
	long after = r->account ? account_pages() : charged_pages();
	check(after - before == expected, "%s: %ld pages, expected %ld", r->name, after - before, expected);
	check(charged_pages() >= kernel_pages(), "%s: %ld pages under the kernel's", r->name,
	      kernel_pages() - charged_pages());
	if (r->brk)
		check(sbrk(-(intptr_t)S) != (void *)-1);
	if (a)
		check(munmap(a, a_bytes) == 0);
	kept(NULL, 0);
	after = r->account ? account_pages() : charged_pages();
	check(after == before, "%s: %ld pages left over", r->name, after - before);
}

int main(void)
{
	/* What the first of anything makes (stdio's buffer, a node of the page map, the table of
	 * shared ranges) is made before it is counted. */
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			if (round == 1) {
				row_check(&rows[i]);
				continue;
			}
			rows[i].act();
			if (rows[i].brk)
				sbrk(-(intptr_t)S);
			if (a)
				munmap(a, a_bytes);
			kept(NULL, 0);
		}
	return 0;
}
