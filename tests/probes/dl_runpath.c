/* SPDX-License-Identifier: MIT */
/* Description: a library that opens another by its bare name finds it in its own RUNPATH,
 * and by $ORIGIN beside itself, as if it had asked the loader and not us; nobody else finds
 * it so. What was loaded is charged, at the latest when the next thread or child is made.
 * Budget: 256M */
#include <dlfcn.h>
#include <pthread.h>

#include "tests/probes/library.h"

#define DATA_PAGES ((long)(8 << 20) / 4096)
#define NOISE 768 /* pages by which the heap may grow or shrink meanwhile: a block of its own tables and 1 MiB */

static char dir[] = "/tmp/solvent-dl-XXXXXX";

static void *nothing(void *arg) { return arg; }

static void *library_open(const char *name)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	void *handle = dlopen(path, RTLD_NOW);
	check(handle != NULL, "%s", dlerror());
	return handle;
}

static void libraries_make(void)
{
	static const char host[] = "#include <dlfcn.h>\n"
				   "void *host_open(const char *name) { return dlopen(name, RTLD_NOW); }\n";
	static const char guest[] = "char guest_data[8 << 20]; int guest(void) { return 42; }\n";
	char plugins[128];
	check(mkdtemp(dir) != NULL);
	snprintf(plugins, sizeof plugins, "%s/plugins", dir);
	check(mkdir(plugins, 0755) == 0);
	library_make(plugins, "guest-by-runpath.so", "", guest);
	library_make(dir, "guest-by-origin.so", "", guest);
	library_make(dir, "host.so", "-Wl,--enable-new-dtags,-rpath,'$ORIGIN/plugins'", host);
	library_make(dir, "host-old.so", "-Wl,--disable-new-dtags,-rpath,'$ORIGIN/plugins'", host);
	library_make(dir, "stranger.so", "", host);
}

typedef void *opener(const char *name);

static opener *opener_of(void *library)
{
	opener *open_by = (opener *)(uintptr_t)dlsym(library, "host_open");
	check(open_by != NULL);
	return open_by;
}

static void opens(opener *open_by, const char *name, const char *how)
{
	pthread_t thread;
	long before = charged_pages();
	void *handle = open_by(name);
	check(handle != NULL, "%s: %s", how, dlerror());
	int (*guest)(void) = (int (*)(void))(uintptr_t)dlsym(handle, "guest");
	check(guest && guest() == 42, "%s", how);
	check(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
	check(charged_pages() - before >= DATA_PAGES - NOISE, "%s: charged %ld pages", how,
	      charged_pages() - before);
	check(charged_pages() >= kernel_pages(), "%s: %ld pages under", how, kernel_pages() - charged_pages());
	check(dlclose(handle) == 0);
	check(charged_pages() - before < NOISE, "%s: %ld pages left over", how, charged_pages() - before);
}

int main(void)
{
	pthread_t thread;
	libraries_make();
	/* The first thread's own costs. */
	check(pthread_create(&thread, NULL, nothing, NULL) == 0 && pthread_join(thread, NULL) == 0);
	void *host = library_open("host.so"), *old = library_open("host-old.so");
	void *stranger = library_open("stranger.so");
	check(dlopen("guest-by-runpath.so", RTLD_NOW) == NULL, "the program found its library's library");
	check(opener_of(stranger)("guest-by-runpath.so") == NULL, "a stranger found it");
	for (int i = 0; i < 3; i++) {
		opens(opener_of(host), "guest-by-runpath.so", "RUNPATH");
		opens(opener_of(old), "guest-by-runpath.so", "RPATH");
		opens(opener_of(host), "$ORIGIN/guest-by-origin.so", "$ORIGIN");
		opens(opener_of(stranger), "$ORIGIN/guest-by-origin.so", "$ORIGIN of a stranger");
	}
	check(dlclose(host) == 0 && dlclose(old) == 0 && dlclose(stranger) == 0);
	directory_remove(dir);
	return 0;
}
