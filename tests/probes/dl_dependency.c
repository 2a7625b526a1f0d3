/* SPDX-License-Identifier: MIT */
/* Description: a library that is too large is refused before its constructor runs. A small
 * one that needs a large one is refused as well, after the loader has said what it pulled
 * in; neither stays, and dlerror says why. RTLD_DEEPBIND does not
 * tear the heap in two. A namespace of its own is charged too.
 * Budget: 128M */
#include <dlfcn.h>

#include "tests/probes/library.h"

static char dir[] = "/tmp/solvent-dl-XXXXXX";

static const char *path_of(const char *name)
{
	static char path[128];
	snprintf(path, sizeof path, "%s/%s", dir, name);
	return path;
}

static void needs_too_much(void)
{
	long before = charged_pages();
	unsigned long refusals = figures().refusals;
	errno = 0;
	void *handle = dlopen(path_of("small.so"), RTLD_NOW);
	int error = errno;
	const char *said = dlerror();
	check(handle == NULL, "was loaded");
	check(said && strstr(said, "budget") && error == ENOMEM, "dlerror: %s", said);
	check(figures().refusals == refusals + 1);
	check(dlopen(path_of("large.so"), RTLD_NOW | RTLD_NOLOAD) == NULL, "the large one stayed");
	check(charged_pages() <= before + 256, "%ld pages stay charged", charged_pages() - before);
	check(charged_pages() >= kernel_pages());
}

static void refused_early(void)
{
	check(dlopen(path_of("eager.so"), RTLD_NOW) == NULL && strstr(dlerror(), "budget"));
	check(getenv("EAGER") == NULL, "its constructor ran");
}

static void deep(void)
{
	void *handle = dlopen(path_of("deep.so"), RTLD_NOW | RTLD_DEEPBIND);
	check(handle != NULL, "%s", dlerror());
	char *(*make)(void) = (char *(*)(void))(uintptr_t)dlsym(handle, "make");
	void (*end)(char *) = (void (*)(char *))(uintptr_t)dlsym(handle, "end");
	for (int i = 0; i < 1000; i++) {
		free(make());
		end(malloc(100));
	}
	check(dlclose(handle) == 0);
}

static void namespace(void)
{
	long before = charged_pages();
	void *handle = dlmopen(LM_ID_NEWLM, path_of("middle.so"), RTLD_NOW);
	check(handle != NULL, "%s", dlerror());
	check(charged_pages() - before >= 1024, "charged %ld pages", charged_pages() - before);
	check(dlclose(handle) == 0);
	check(charged_pages() - before < 1024, "%ld pages left over", charged_pages() - before);
	check(dlmopen(LM_ID_NEWLM, path_of("large.so"), RTLD_NOW) == NULL && strstr(dlerror(), "budget"));
}

int main(void)
{
	char options[128];
	/* What the first refusal makes (the unwinder) is made before anything is counted. */
	check(malloc((size_t)1 << 40) == NULL);
	check(mkdtemp(dir) != NULL);
	library_make(dir, "large.so", "-Wl,-soname,large.so", "char large[512 << 20];\n");
	library_make(dir, "middle.so", "", "char middle[4 << 20];\n");
	snprintf(options, sizeof options, "%s/large.so -Wl,-rpath,%s", dir, dir);
	library_make(dir, "small.so", options, "extern char large[]; char *small(void) { return large; }\n");
	library_make(dir, "eager.so", "",
		     "#include <stdlib.h>\nchar eager[512 << 20];\n"
		     "__attribute__((constructor)) static void start(void) { setenv(\"EAGER\", \"1\", 1); }\n");
	library_make(dir, "deep.so", "",
		     "#include <stdlib.h>\n#include <string.h>\n"
		     "char *make(void) { return strdup(\"made by libc\"); }\nvoid end(char *p) { free(p); }\n");
	for (int i = 0; i < 3; i++) {
		refused_early();
		needs_too_much();
		deep();
		namespace();
	}
	directory_remove(dir);
	return 0;
}
