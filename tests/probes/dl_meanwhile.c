/* SPDX-License-Identifier: MIT */
/* Description: a library that is loaded by a way that only libc can go ($ORIGIN) is charged when the
 * thread that loads it comes by again, whatever other threads did meanwhile.
 * Budget: 256M */
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "tests/probes/bloated.h"

#define DATA ((size_t)16 << 20)
#define ROUNDS 100

static char dir[] = "/tmp/solvent-dl-XXXXXX";
static char path[64], name[128];
static bool stop;

static void library_remove(void)
{
	unlink(path);
	rmdir(dir);
}

/* Up from the program's directory to the root, and down to the library. */
static void library_make(void)
{
	struct link_map *module;
	void *handle = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	if (!handle)
		skip("there is no libBrokenLocale.so.1 here: %s", dlerror());
	check(mkdtemp(dir) != NULL && atexit(library_remove) == 0);
	check(dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0);
	snprintf(path, sizeof path, "%s/bloated.so", dir);
	bloat(module->l_name, path, DATA);
	check(dlclose(handle) == 0);
	snprintf(name, sizeof name, "$ORIGIN/../../../../../../../../../../../../..%s", path);
}

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
	library_make();
	load();
	check(pthread_create(&t, NULL, busy, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++)
		load();
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	check(pthread_join(t, &said) == 0 && said == NULL, "%s", (const char *)said);
	check(charged_pages() < (long)(DATA / 4096), "debts are left");
	return 0;
}
