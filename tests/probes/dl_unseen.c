/* SPDX-License-Identifier: MIT */
/* Description: a library that was closed by a way round the door is uncharged before anybody
 * is refused for it, and before another one is loaded in its place; and one that comes to
 * stand exactly where it was, when part of that was found to be gone, is paid for whole.
 * Budget: 128M */
#include <sys/syscall.h>

#include "tests/probes/bloated_library.h"

#define DATA ((size_t)80 << 20)
#define DATA_PAGES ((long)(DATA / 4096))

static const char *path;

/* As a plugin host may that asks libc itself for it. */
static void *libc_own(const char *name, void *ours)
{
	void *own = dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), name);
	check(own != NULL && own != ours);
	return own;
}

static void close_unseen(void *handle)
{
	int (*closer)(void *) = (int (*)(void *))(uintptr_t)libc_own("dlclose", (void *)(uintptr_t)dlclose);
	check(closer(handle) == 0);
	check(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL, "it stayed");
}

static void *library_open(void)
{
	void *handle = dlopen(path, RTLD_NOW);
	check(handle != NULL, "%s", dlerror());
	return handle;
}

static void mapped_meanwhile(void)
{
	close_unseen(library_open());
	check(charged_pages() >= DATA_PAGES, "it was seen");
	void *m = mmap(NULL, DATA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(m != MAP_FAILED, "refused for what is gone");
	check(munmap(m, DATA) == 0);
}

/* A page in its middle stays charged, for it is mapped when the rest is found to be gone. */
static void loaded_in_place(void)
{
	void *(*opener)(const char *, int) =
		(void *(*)(const char *, int))(uintptr_t)libc_own("dlopen", (void *)(uintptr_t)dlopen);
	struct link_map *module;
	void *handle = library_open();
	check(dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0);
	uintptr_t base = module->l_addr;
	close_unseen(handle);
	void *page = (void *)(base + DATA / 2);
	check(mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == page);
	check(mmap(NULL, (size_t)1 << 45, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
	check(charged_pages() < DATA_PAGES && syscall(SYS_munmap, page, 4096) == 0);
	handle = opener(path, RTLD_NOW);
	check(handle != NULL && dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0);
	if (module->l_addr != base)
		skip("the loader chose another place");
	void *other = dlopen("libBrokenLocale.so.1", RTLD_NOW);
	check(other != NULL && charged_pages() >= kernel_pages(), "%ld pages under", kernel_pages() - charged_pages());
	check(dlclose(other) == 0 && dlclose(handle) == 0);
}

int main(void)
{
	unsigned long before;
	path = library_make(DATA);
	before = figures().refusals;
	mapped_meanwhile();
	close_unseen(library_open());
	close_unseen(library_open());
	check(figures().refusals == before);
	loaded_in_place();
	return 0;
}
