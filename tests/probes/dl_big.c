/* SPDX-License-Identifier: MIT */
/* Description: a library whose data does not fit in the budget is not loaded: dlopen gives
 * NULL, dlerror says why, nothing stays charged or mapped. One that fits is charged while
 * it is open, once however often it is opened, and uncharged when it has been closed.
 * Budget: 128M */
#include "tests/probes/bloated_library.h"

#define FITS ((size_t)32 << 20)
#define FITS_PAGES ((long)(FITS / 4096))
#define NOISE 768 /* pages by which the heap may grow or shrink meanwhile: a block of its own tables and 1 MiB */

static const char *small, *large;

static int is_loaded(const char *path)
{
	void *handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
	return handle != NULL && dlclose(handle) == 0;
}

static int refused(int round)
{
	long before = charged_pages(), kernel = kernel_pages();
	unsigned long refusals = figures().refusals;
	errno = 0;
	void *handle = dlopen(large, RTLD_NOW);
	int error = errno;
	const char *said = dlerror();
	if (handle || error != ENOMEM || !said || !strstr(said, "budget") || !strstr(said, large)) {
		fprintf(stderr, "refused: %p, errno %d, dlerror: %s\n", handle, error, said ? said : "nothing");
		return 1;
	}
	if (is_loaded(large) || figures().refusals != refusals + 1)
		return 2;
	if (round > 0 && (charged_pages() > before + NOISE || kernel_pages() > kernel + NOISE))
		return 3;
	return 0;
}

static int granted(int round)
{
	long before = charged_pages();
	void *handle = dlopen(small, RTLD_NOW | RTLD_LOCAL);
	if (!handle) {
		fprintf(stderr, "%s\n", dlerror());
		return 4;
	}
	long cost = charged_pages() - before;
	void *again = dlopen(small, RTLD_LAZY);
	if (again != handle || charged_pages() - before > cost + NOISE)
		return 5;
	if (cost < FITS_PAGES - NOISE || cost > FITS_PAGES + NOISE || charged_pages() < kernel_pages()) {
		fprintf(stderr, "32 MiB cost %ld pages\n", cost);
		return 6;
	}
	if (dlclose(again) != 0 || charged_pages() - before < cost - NOISE || dlclose(handle) != 0)
		return 7;
	if (round > 0 && charged_pages() > before + NOISE) {
		fprintf(stderr, "%ld pages left over\n", charged_pages() - before);
		return 8;
	}
	return 0;
}

int main(void)
{
	int wrong = 0;
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	small = library_make(FITS);
	large = library_make((size_t)1 << 30);
	for (int round = 0; round < 5 && wrong == 0; round++)
		if ((wrong = refused(round)) == 0)
			wrong = granted(round);
	if (wrong)
		fprintf(stderr, "wrong: %d\n", wrong);
	return wrong != 0;
}
