/* SPDX-License-Identifier: MIT */
/* Description: a library that is loaded by a way that only libc can go ($ORIGIN) is charged when the
 * thread that loads it comes by again, whatever other threads did meanwhile.
 * Budget: 256M */
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "tests/probes/bloated_library.h"

#define DATA ((size_t)16 << 20)
#define ROUNDS 100

static char name[128];
static bool stop;

static void *busy(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED || munmap(p, 4096) != 0)
			return (void *)"refused";
	}
	return arg;
}

/* Charged as soon as this thread maps anything. */
static void load(void)
{
	void *handle = dlopen(name, RTLD_NOW);
	check(handle != NULL, "%s", dlerror());
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED);
	long charged = charged_pages();
	check(charged >= (long)(DATA / 4096), "only %ld pages are charged", charged);
	check(munmap(p, 4096) == 0 && dlclose(handle) == 0);
	check(charged_pages() < (long)(DATA / 4096), "and are not given back");
}

int main(void)
{
	pthread_t t;
	void *said;
	const char *path = library_make(DATA);
	/* Up from the program's directory to the root, and down to the library. */
	snprintf(name, sizeof name, "$ORIGIN/../../../../../../../../../../../../..%s", path);
	load();
	check(pthread_create(&t, NULL, busy, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		load();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	check(pthread_join(t, &said) == 0 && said == NULL, "%s", (const char *)said);
	check(charged_pages() < (long)(DATA / 4096), "debts are left");
	return 0;
}
