/* SPDX-License-Identifier: MIT */
/* Description: every name by which a program allocates leads to the one heap: each gives
 * memory of the size and alignment asked for, which any other of them can measure, grow and
 * free. One that was forgotten would mix two heaps.
 * Budget: 256M */
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>

#include "tests/probes/probe.h"

#define KIB ((size_t)1024)

/* What no header of libc's declares, or none any more. */
static void *(*jemalloc_mallocx)(size_t bytes, int flags);
static size_t (*jemalloc_sallocx)(const void *p, int flags), (*jemalloc_nallocx)(size_t bytes, int flags);
static void (*jemalloc_dallocx)(void *p, int flags), (*jemalloc_sdallocx)(void *p, size_t bytes, int flags);
static int (*jemalloc_ctl)(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);
static int (*jemalloc_mib)(const char *name, size_t *mib, size_t *n);
static int (*jemalloc_by_mib)(const size_t *mib, size_t n, void *old, size_t *old_bytes, void *new, size_t new_bytes);
static void (*libc_cfree)(void *p), (*libc_free_sized)(void *p, size_t bytes);
static void (*libc_free_aligned_sized)(void *p, size_t alignment, size_t bytes);
static struct mallinfo (*libc_mallinfo)(void);

#define FIND(function, name) memcpy(&(function), &(void *){ dlsym(RTLD_DEFAULT, name) }, sizeof(void *))

static void functions_find(void)
{
	FIND(jemalloc_mallocx, "mallocx");
	FIND(jemalloc_sallocx, "sallocx");
	FIND(jemalloc_nallocx, "nallocx");
	FIND(jemalloc_dallocx, "dallocx");
	FIND(jemalloc_sdallocx, "sdallocx");
	FIND(jemalloc_ctl, "mallctl");
	FIND(jemalloc_mib, "mallctlnametomib");
	FIND(jemalloc_by_mib, "mallctlbymib");
	FIND(libc_cfree, "cfree");
	FIND(libc_free_sized, "free_sized");
	FIND(libc_free_aligned_sized, "free_aligned_sized");
	FIND(libc_mallinfo, "mallinfo");
}

static void *by_malloc(size_t n) { return malloc(n); }
static void *by_calloc(size_t n) { return calloc(n, 1); }
static void *by_realloc(size_t n) { return realloc(NULL, n); }
static void *by_reallocarray(size_t n) { return reallocarray(NULL, n, 1); }
static void *by_memalign(size_t n) { return memalign(256, n); }
static void *by_aligned_alloc(size_t n) { return aligned_alloc(256, n); }
static void *by_valloc(size_t n) { return valloc(n); }
static void *by_pvalloc(size_t n) { return pvalloc(n); }
static void *by_posix_memalign(size_t n)
{
	void *p = NULL;
	return posix_memalign(&p, 256, n) == 0 ? p : NULL;
}
#define LG_ALIGN_256 8 /* MALLOCX_LG_ALIGN(8) */
static void *by_mallocx(size_t n) { return jemalloc_mallocx(n, LG_ALIGN_256); }

static const struct {
	const char *name;
	void *(*get)(size_t);
	size_t alignment;
} rows[] = {
	{ "malloc", by_malloc, 16 },	       { "calloc", by_calloc, 16 },
	{ "realloc", by_realloc, 16 },	       { "reallocarray", by_reallocarray, 16 },
	{ "memalign", by_memalign, 256 },      { "aligned_alloc", by_aligned_alloc, 256 },
	{ "valloc", by_valloc, 4096 },	       { "pvalloc", by_pvalloc, 4096 },
	{ "posix_memalign", by_posix_memalign, 256 }, { "mallocx", by_mallocx, 256 },
};

/* All that must come from one library, which is not libc. */
static const char *const names[] = {
	"malloc", "calloc", "realloc", "reallocarray", "free", "cfree", "memalign", "aligned_alloc",
	"posix_memalign", "valloc", "pvalloc", "malloc_usable_size", "malloc_trim", "mallinfo", "mallinfo2",
	"mallopt", "malloc_stats", "malloc_info", "free_sized", "free_aligned_sized", "mallocx", "rallocx",
	"xallocx", "sallocx", "dallocx", "sdallocx", "nallocx", "mallctl", "mallctlnametomib", "mallctlbymib",
	"malloc_stats_print", "malloc_message",
};

static void names_are_ours(void)
{
	Dl_info first, info;
	check(dladdr(dlsym(RTLD_DEFAULT, "malloc"), &first) && strstr(first.dli_fname, "libsolvent"), "%s",
	      first.dli_fname);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		void *at = dlsym(RTLD_DEFAULT, names[i]);
		check(at, "%s is nowhere", names[i]);
		check(dladdr(at, &info) && info.dli_fbase == first.dli_fbase, "%s is from %s", names[i],
		      info.dli_fname);
	}
}

static void blocks_are_good(void)
{
	static const size_t sizes[] = { 1, 100, 4096, 100 * KIB, 3 * 1024 * KIB };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
			size_t n = sizes[k];
			unsigned char *p = rows[i].get(n);
			check(p, "%s(%zu)", rows[i].name, n);
			check((uintptr_t)p % (n < rows[i].alignment && rows[i].alignment == 16 ? 8 : rows[i].alignment) == 0,
			      "%s(%zu) is not aligned", rows[i].name, n);
			check(malloc_usable_size(p) >= n, "%s(%zu)", rows[i].name, n);
			check(strcmp(rows[i].name, "calloc") != 0 || (p[0] == 0 && p[n - 1] == 0), "calloc: not zero");
			memset(p, 0x5a, n);
			p = realloc(p, 2 * n);
			check(p && p[0] == 0x5a && p[n - 1] == 0x5a, "%s(%zu), grown", rows[i].name, n);
			free(p);
		}
}

static void with_cfree(void *p, size_t n) { (void)n; libc_cfree(p); }
static void with_free_sized(void *p, size_t n) { libc_free_sized(p, n); }
static void with_free_aligned_sized(void *p, size_t n) { libc_free_aligned_sized(p, 256, n); }
static void with_dallocx(void *p, size_t n) { (void)n; jemalloc_dallocx(p, LG_ALIGN_256); }
static void with_sdallocx(void *p, size_t n) { jemalloc_sdallocx(p, n, LG_ALIGN_256); }

/* Whose memory did not come back, it would run out of. */
static void every_name_frees(void)
{
	static void (*const frees[])(void *, size_t) = { with_cfree, with_free_sized, with_free_aligned_sized,
							 with_dallocx, with_sdallocx };
	for (size_t i = 0; i < sizeof frees / sizeof *frees; i++)
		for (int round = 0; round < 400; round++) {
			void *p = aligned_alloc(256, 1024 * KIB);
			check(p, "row %zu does not free", i);
			frees[i](p, 1024 * KIB);
		}
}

static void sizes_agree(void)
{
	static const size_t sizes[] = { 1, 100, 5000, 100 * KIB, 3000 * KIB };
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		size_t said = jemalloc_nallocx(sizes[i], LG_ALIGN_256);
		void *p = jemalloc_mallocx(sizes[i], LG_ALIGN_256);
		check(said >= sizes[i] && jemalloc_sallocx(p, LG_ALIGN_256) == said && malloc_usable_size(p) == said,
		      "%zu: %zu, %zu, %zu", sizes[i], said, jemalloc_sallocx(p, LG_ALIGN_256), malloc_usable_size(p));
		jemalloc_dallocx(p, LG_ALIGN_256);
	}
}

static volatile size_t huge = SIZE_MAX; /* volatile: compilers know too much about these calls */

static void arguments_are_checked(void)
{
	void *p = (void *)1;
	errno = 0;
	check(malloc(huge) == NULL && errno == ENOMEM);
	errno = 0;
	check(calloc(huge / 2, 4) == NULL && errno == ENOMEM);
	errno = 0;
	check(reallocarray(NULL, huge / 2, 4) == NULL && errno == ENOMEM);
	errno = 0;
	check(pvalloc(huge) == NULL && errno == ENOMEM);
	errno = 0;
	check(posix_memalign(&p, 24, 10) == EINVAL && errno == 0 && p == (void *)1);
	check(posix_memalign(&p, 64, huge) == ENOMEM && errno == 0);
	check((p = malloc(0)) != NULL, "malloc(0)");
	free(p);
	p = malloc(100);
	check(realloc(p, 0) == NULL, "realloc(p, 0) frees");
	free(NULL);
	check(figures().refusals == 0, "bad arguments are no refusals");
}

static void figures_follow(void)
{
	size_t before = mallinfo2().uordblks;
	char *volatile p = malloc(5 * 1024 * KIB); /* volatile: or it is never asked for */
	size_t now = mallinfo2().uordblks;
	check(now >= before + 5 * 1024 * KIB && now <= before + 6 * 1024 * KIB, "%zu, then %zu", before, now);
	check(mallinfo2().arena == mallinfo2().uordblks + mallinfo2().fordblks);
	free(p);
	check(mallinfo2().uordblks <= before + 64 * KIB);
	check(mallopt(M_MMAP_THRESHOLD, 1) == 1);

	char text[512] = "";
	FILE *f = fmemopen(text, sizeof text, "w");
	check(malloc_info(0, f) == 0 && fclose(f) == 0);
	check(strncmp(text, "<malloc version=", 16) == 0 && strstr(text, "</malloc>"), "%s", text);
	check(malloc_info(1, stdout) == -1 && errno == EINVAL);
	struct mallinfo old = libc_mallinfo();
	check((size_t)old.uordblks == mallinfo2().uordblks && (size_t)old.arena == mallinfo2().arena);
}

/* The same figure by its name and by its number. */
static void figures_have_numbers(void)
{
	size_t mib[4], n = 4, by_name = 0, by_number = 0, bytes = sizeof by_name;
	check(jemalloc_mib("stats.allocated", mib, &n) == 0 && n == 2);
	check(jemalloc_ctl("stats.allocated", &by_name, &bytes, NULL, 0) == 0 && by_name > 0);
	check(jemalloc_by_mib(mib, n, &by_number, &bytes, NULL, 0) == 0 && by_number == by_name, "%zu, %zu", by_name,
	      by_number);
	check(jemalloc_mib("no.such.name", mib, &n) == ENOENT);
}

static void statistics_are_told(void)
{
	char text[16384] = "";
	int error = dup(STDERR_FILENO), said = memfd_create("said", 0);
	check(error >= 0 && said >= 0 && dup2(said, STDERR_FILENO) == STDERR_FILENO);
	malloc_stats();
	check(dup2(error, STDERR_FILENO) == STDERR_FILENO && pread(said, text, sizeof text - 1, 0) > 0);
	check(strstr(text, "Allocated: ") && strstr(text, "End jemalloc statistics"), "%s", text);
	close(said);
	close(error);
}

int main(void)
{
	functions_find();
	names_are_ours();
	blocks_are_good();
	every_name_frees();
	sizes_agree();
	arguments_are_checked();
	figures_follow();
	figures_have_numbers();
	statistics_are_told();
	return 0;
}
