/* SPDX-License-Identifier: MIT */
/* Description: a refusal says who asked: the functions of this program that led to it, as
 * offsets into the file with this file's build id. From malloc and from mmap, in a thread, in
 * a signal handler, on a small stack; and it costs the program no file descriptor.
 * Budget: 64M */
#include <dirent.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "tests/probes/ledger.h"

#define TOO_MUCH ((size_t)256 << 20)
#define NOINLINE __attribute__((noinline))

static const struct ledger *ledger;

static const struct refusal *newest(void)
{
	uint64_t head = ledger->header.refusal_head;
	check(head > 0, "nothing was recorded");
	const struct refusal *r = &ledger->refusal[(head - 1) % LEDGER_REFUSALS];
	check(r->seq == 2 * head, "the newest record is not whole");
	return r;
}

static uintptr_t bias;
static unsigned char build_id[BUILD_ID_BYTES];

static int self_find(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size, (void)context;
	bias = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *h = &info->dlpi_phdr[i];
		for (uintptr_t at = bias + h->p_vaddr; h->p_type == PT_NOTE && at < bias + h->p_vaddr + h->p_memsz;) {
			const ElfW(Nhdr) *n = (const void *)at;
			if (n->n_type == NT_GNU_BUILD_ID)
				memcpy(build_id, (const char *)(n + 1) + 4, n->n_descsz < 20 ? n->n_descsz : 20);
			at += sizeof *n + ((n->n_namesz + 3) & ~3u) + ((n->n_descsz + 3) & ~3u);
		}
	}
	return 1; /* the program comes first */
}

/* Is a return address into `function` among the first `most` frames? */
static void is_named(const struct refusal *r, void *function, size_t bytes, int most, const char *what)
{
	for (int i = 0; i < r->frames && i < most; i++) {
		uintptr_t at = r->offset[i] + bias - (uintptr_t)function;
		if (r->module[i] == REFUSAL_NO_MODULE || at > bytes)
			continue;
		const struct refusal_module *m = &r->modules[r->module[i]];
		check(memcmp(m->build_id, build_id, sizeof build_id) == 0, "%s: another build id", what);
		check(strstr(m->name, "heap_frames"), "%s: the module is %s", what, m->name);
		return;
	}
	check(0, "%s: not among %d frames", what, r->frames);
}

/* --- those who ask --- */

static void *volatile sink; /* keeps calls from becoming jumps */

NOINLINE static void ask_malloc(void) { sink = malloc(TOO_MUCH); }
NOINLINE static void ask_realloc(void) { sink = realloc(NULL, TOO_MUCH); }
NOINLINE static void ask_mmap(void)
{
	sink = mmap(NULL, TOO_MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
NOINLINE static void outer(void (*ask)(void))
{
	ask();
	__asm__ volatile("" ::: "memory");
}

static void *on_thread(void *opaque)
{
	(void)opaque;
	outer(ask_malloc);
	return NULL;
}

static void on_signal(int signal)
{
	(void)signal;
	outer(ask_mmap);
}

static int descriptors(void)
{
	int n = 0;
	DIR *d = opendir("/proc/self/fd");
	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

#define FUNCTION_BYTES 128

static void asked_by(void (*ask)(void), enum refusal_op op, const char *what)
{
	outer(ask);
	const struct refusal *r = newest();
	check(r->op == op && r->bytes == TOO_MUCH && r->pid == getpid(), "%s: op %d, %lu bytes", what, r->op,
	      (unsigned long)r->bytes);
	check(strcmp(r->comm, "heap_frames") == 0, "%s: comm %s", what, r->comm);
	is_named(r, (void *)(uintptr_t)ask, FUNCTION_BYTES, 1, what);
	is_named(r, (void *)(uintptr_t)outer, FUNCTION_BYTES, 2, what);
	is_named(r, (void *)(uintptr_t)asked_by, 4096, 3, what);
}

int main(void)
{
	static char small[20480] __attribute__((aligned(4096)));
	pthread_t thread;
	pthread_attr_t attr;
	ledger = ledger_find();
	dl_iterate_phdr(self_find, NULL);
	int before = descriptors();
	asked_by(ask_malloc, OP_MALLOC, "malloc");
	asked_by(ask_realloc, OP_MALLOC, "realloc");
	asked_by(ask_mmap, OP_MMAP, "mmap");

	check(pthread_create(&thread, NULL, on_thread, NULL) == 0);
	pthread_join(thread, NULL);
	check(newest()->tid != getpid(), "the thread's refusal is another's");
	is_named(newest(), (void *)(uintptr_t)ask_malloc, FUNCTION_BYTES, 1, "a thread's malloc");
	is_named(newest(), (void *)(uintptr_t)on_thread, FUNCTION_BYTES, 3, "a thread's function");

	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	is_named(newest(), (void *)(uintptr_t)ask_mmap, FUNCTION_BYTES, 1, "a handler's mmap");
	is_named(newest(), (void *)(uintptr_t)main, 4096, REFUSAL_FRAMES, "who was interrupted");

	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, small, sizeof small) == 0);
	check(pthread_create(&thread, &attr, on_thread, NULL) == 0);
	pthread_join(thread, NULL);
	is_named(newest(), (void *)(uintptr_t)ask_malloc, FUNCTION_BYTES, 1, "malloc on a small stack");

	check(descriptors() == before, "%d descriptors, then %d", before, descriptors());
	return 0;
}
