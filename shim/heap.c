/* SPDX-License-Identifier: MIT */
/* jemalloc's doors to the kernel, and what follows when one of them says no.
 *
 * jemalloc believes that this kernel does not overcommit (heap_door_syscall tells it so).
 * It then reserves addresses without access, commits what it needs and decommits what it
 * does not, each by a fixed mapping over the old one; so its own bookkeeping is what we
 * charge by, and what it purges is really given back.
 *
 * Its locks are held in here. So a door that refuses only leaves a note for its thread, and
 * the rest is done when the allocation has come back empty to shim/malloc.c: purge, try
 * again, record. While the note stands nothing new is reserved for this thread: jemalloc
 * meets a refused commit by reserving another region, which it then keeps, 24 MiB of
 * addresses for each refusal. The kernel may refuse, too (RLIMIT_DATA, its own overcommit
 * mode 2): then the same is done, but nothing is recorded. */
#include "shim/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "reserve/pagemap.h"
#include "shim/afford.h"
#include "shim/arenas.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/environment.h"
#include "shim/handler.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/purge.h"
#include "shim/refuse.h"
#include "shim/self.h"
#include "shim/tables.h"
#include "shim/vmas.h"

extern const char *je_malloc_conf, *je_malloc_conf_2_conf_harder;

/* Who may say what: jemalloc reads the first before, the second after the user's MALLOC_CONF
 * (jemalloc, src/jemalloc.c:obtain_malloc_conf). The second is what our doors rely on: dss
 * would ask sbrk when mmap has refused, hpa purges without decommitting. */
const char *je_malloc_conf = "narenas:8,dirty_decay_ms:2000,muzzy_decay_ms:0,max_background_threads:1";
const char *je_malloc_conf_2_conf_harder = "dss:disabled,retain:true,hpa:false";

static __thread __attribute__((tls_model("initial-exec"))) struct {
	enum refusal_reason refused; /* why a door said no; REASON_NONE: it was the kernel */
	enum refusal_reason denying; /* not REASON_NONE: doors say no without asking, for this */
	int error;		     /* errno when it did */
	uint16_t locks;		     /* of jemalloc's, held or being waited for */
	uint8_t tries;		     /* of this allocation, after it was refused */
	uint32_t asked;		     /* what `given` was when it was asked for */
	uint32_t given;		     /* the same, of what was refused */
	uint64_t pages;		     /* that were refused */
} here;

/* Pages given back by all threads, ever. Relaxed, all of it: that it has changed is enough. */
static uint32_t given;

static void give(size_t bytes)
{
	__atomic_fetch_add(&given, (uint32_t)pages_of(bytes), __ATOMIC_RELAXED);
}

void heap_gave(void)
{
	give(PAGE_BYTES);
}

static uint32_t given_read(void)
{
	return __atomic_load_n(&given, __ATOMIC_RELAXED);
}

/* --- soft pages: decommitted, but writable still (shim/vmas.c) --- */

static void *soft_memory(size_t bytes)
{
	uint64_t paid;
	return marks_own_memory(bytes, &paid);
}

/* Of the two planes the one that forgets too much, not too little, when it has no memory. */
static struct pagemap soft = { .memory = soft_memory };
#define SOFT PAGEMAP_EXEMPT

static bool is_soft(const void *addr, size_t bytes)
{
	return pagemap_count(&soft, SOFT, (uintptr_t)addr, pages_of(bytes)) == pages_of(bytes);
}

static void soft_forget(const void *addr, size_t bytes)
{
	charge_harden(pagemap_clear(&soft, SOFT, (uintptr_t)addr, pages_of(bytes)));
}

/* Marked before, so that at every instant the charge and the soft pages cover what the kernel
 * counts. Without memory for the marks the pages stay as they are. */
static bool soften(void *addr, size_t bytes)
{
	int64_t fresh = pagemap_set(&soft, SOFT, (uintptr_t)addr, pages_of(bytes));
	if (fresh < 0)
		return false;
	charge_soften((uint64_t)fresh);
	if (!raw_failed(map_soften(addr, bytes, CATEGORY_HEAP)))
		return true;
	soft_forget(addr, bytes);
	return false;
}

/* --- the doors: mmap, which is four things --- */

__thread __attribute__((tls_model("initial-exec"))) bool heap_note;

static void *refuse(enum refusal_reason reason)
{
	heap_note = true;
	/* Tried again, it finds what jemalloc said of the attempt before. */
	if (here.tries == 0)
		here.error = errno;
	here.refused = reason;
	here.given = here.asked; /* and not what it is by now: that may be what was missing */
	return MAP_FAILED;
}

/* What every charge ends with. Observed, it is recorded here, where nobody may look who
 * asked: the allocation will not come back to us. */
static void *charged(long r, size_t bytes, enum refusal_reason reason)
{
	here.pages = pages_of(bytes);
	if (unlikely(reason != REASON_NONE))
		return refuse(reason);
	if (unlikely(raw_failed(r)))
		return refuse(REASON_NONE);
	if (unlikely(charge_was_over()))
		door_observed(OP_MALLOC, bytes);
	return (void *)r;
}

/* What was reserved or decommitted is without access and empty. To open it costs a third of
 * mapping it anew (mm/mprotect.c against mm/vma.c: nothing is unmapped, no mapping is made). */
static void *commit(void *addr, size_t bytes, int prot)
{
	enum refusal_reason reason = REASON_NONE;
	long r = 0;
	if (is_soft(addr, bytes))
		reason = map_harden(addr, bytes, CATEGORY_HEAP);
	else
		r = map_mprotect(addr, bytes, prot, -1, CATEGORY_HEAP, &reason);
	if (reason == REASON_NONE && !raw_failed(r))
		soft_forget(addr, bytes);
	return charged(raw_failed(r) ? r : (long)addr, bytes, reason);
}

static void *decommit(void *addr, size_t bytes, int flags)
{
	enum refusal_reason reason;
	if (!vmas_are_short() || !soften(addr, bytes)) {
		long r = map_mmap(addr, bytes, PROT_NONE, flags, -1, 0, CATEGORY_HEAP, &reason);
		/* Too many mappings all the same: other people's, or nobody could count. */
		if (raw_failed(r) && !soften(addr, bytes))
			return MAP_FAILED;
		if (!raw_failed(r))
			soft_forget(addr, bytes);
	}
	give(bytes);
	return addr;
}

/* What jemalloc is to get: its tables must be able to name it. */
static void *covered(long r, size_t bytes)
{
	if (unlikely(raw_failed(r)))
		return MAP_FAILED;
	if (likely(tables_cover((uintptr_t)r, bytes)))
		return (void *)r;
	map_munmap((void *)r, bytes, CATEGORY_HEAP);
	return MAP_FAILED;
}

/* The program's next mapping comes to lie below ours. Were they one to the kernel, which they are
 * if both are writable there, each munmap of it would have to split them again: 0.4 us. */
static void keep_apart(uintptr_t addr)
{
	enum refusal_reason reason;
	map_mmap((void *)(addr - PAGE_BYTES), PAGE_BYTES, PROT_NONE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0, CATEGORY_HEAP, &reason);
}

/* Addresses alone. More than the account may ever hold would only be kept for nothing;
 * told that there are none, jemalloc asks for exactly what it needs. */
static void *reserve(void *addr, size_t bytes, int flags)
{
	enum refusal_reason reason;
	if (self.state == SELF_MEMBER && pages_of(bytes) > self.ledger->header.limit &&
	    self.ledger->header.mode == ACCOUNT_ENFORCE)
		return MAP_FAILED;
	void *p = covered(map_mmap(addr, bytes, PROT_NONE, flags, -1, 0, CATEGORY_HEAP, &reason), bytes);
	if (p != MAP_FAILED && tables_have_begun())
		keep_apart((uintptr_t)p);
	return p;
}

static void *commit_new(void *addr, size_t bytes, int prot, int flags)
{
	enum refusal_reason reason;
	if (tables_want_block()) {
		long r = tables_block(bytes, &reason);
		return charged(r, bytes, reason);
	}
	long r = map_mmap(addr, bytes, prot, flags, -1, 0, CATEGORY_HEAP, &reason);
	void *p = charged(r, bytes, reason);
	return p == MAP_FAILED ? p : covered(r, bytes);
}

void *heap_door_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset);
void *heap_door_mmap(void *addr, size_t bytes, int prot, int flags, int fd, off_t offset)
{
	(void)fd, (void)offset; /* -1, 0: memory is all it maps */
	here.asked = given_read();
	bool fixed = (flags & MAP_FIXED) != 0;
	if (fixed && prot == PROT_NONE)
		return decommit(addr, bytes, flags);
	if (unlikely(here.denying != REASON_NONE))
		return refuse(here.denying);
	if (unlikely(heap_note) && !fixed && (prot == PROT_NONE || here.refused != REASON_NONE))
		return MAP_FAILED;
	if (prot == PROT_NONE)
		return reserve(addr, bytes, flags);
	if (!fixed)
		return commit_new(addr, bytes, prot, flags);
	vmas_are_short();
	return commit(addr, bytes, prot);
}

/* --- the other doors --- */

int heap_door_munmap(void *addr, size_t bytes);
int heap_door_munmap(void *addr, size_t bytes)
{
	long r = map_munmap(addr, bytes, CATEGORY_HEAP);
	if (!raw_failed(r)) {
		soft_forget(addr, bytes);
		give(bytes);
	}
	return (int)door_result(r);
}

/* Guard pages, where MALLOC_CONF wants them. */
int heap_door_mprotect(void *addr, size_t bytes, int prot);
int heap_door_mprotect(void *addr, size_t bytes, int prot)
{
	enum refusal_reason reason;
	return (int)door_result(map_mprotect(addr, bytes, prot, -1, CATEGORY_HEAP, &reason));
}

int heap_door_madvise(void *addr, size_t bytes, int advice);
int heap_door_madvise(void *addr, size_t bytes, int advice)
{
	return (int)door_result(raw_madvise(addr, bytes, advice));
}

void *heap_door_sbrk(intptr_t increment);
void *heap_door_sbrk(intptr_t increment)
{
	(void)increment;
	return (void *)door_result(-ENOMEM);
}

long heap_door_syscall(long number, ...);
long heap_door_syscall(long number, ...)
{
	va_list arguments;
	va_start(arguments, number);
	long a = va_arg(arguments, long), b = va_arg(arguments, long), c = va_arg(arguments, long);
	va_end(arguments);
	if (number == SYS_open && strcmp((const char *)a, "/proc/sys/vm/overcommit_memory") == 0)
		return door_result(-EACCES);
	return door_result(raw_call3(number, a, b, c));
}

/* A page more for each large block, against cache conflicts, would all be charged. 5.3.0 has
 * no option for it; the environment is the last it asks before it lays out its sizes. */
extern bool je_opt_cache_oblivious;
char *heap_door_getenv(const char *name);
char *heap_door_getenv(const char *name)
{
	je_opt_cache_oblivious = false;
	return environment_early(name);
}

/* jemalloc starts its background threads, if it is told to, with the next pthread_create
 * after its own, which would be libc's; not finding one it takes the first, ours. */
void *heap_door_dlsym(void *handle, const char *name);
void *heap_door_dlsym(void *handle, const char *name)
{
	(void)handle, (void)name;
	return NULL;
}

/* What such a thread needs of stack; the usual 8 MiB would be charged for each. The stack is
 * ours, so that the thread starts without our help, which allocates: it has no arena yet and
 * must not need one. It lives as long as the process; one that is ended leaves it behind. */
#define BACKGROUND_STACK_BYTES ((size_t)256 << 10)

int heap_door_thread(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int heap_door_thread(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	enum refusal_reason reason;
	pthread_attr_t own;
	(void)attr; /* NULL, in 5.3.0 */
	long stack = map_mmap(NULL, BACKGROUND_STACK_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0, CATEGORY_THREAD, &reason);
	if (raw_failed(stack))
		return EAGAIN;
	if (pthread_attr_init(&own) != 0)
		return EAGAIN;
	pthread_attr_setstack(&own, (void *)stack, BACKGROUND_STACK_BYTES);
	int error = pthread_create(ret, &own, start, arg);
	pthread_attr_destroy(&own);
	if (error)
		map_munmap((void *)stack, BACKGROUND_STACK_BYTES, CATEGORY_THREAD);
	return error;
}

/* --- the locks --- */

/* Counted before it is held and until after it is not: a signal may come in between. */
int heap_door_trylock(pthread_mutex_t *lock);
int heap_door_trylock(pthread_mutex_t *lock)
{
	here.locks++;
	int error = pthread_mutex_trylock(lock);
	if (error)
		here.locks--;
	return error;
}

int heap_door_lock(pthread_mutex_t *lock);
int heap_door_lock(pthread_mutex_t *lock)
{
	here.locks++;
	return pthread_mutex_lock(lock);
}

int heap_door_unlock(pthread_mutex_t *lock);
int heap_door_unlock(pthread_mutex_t *lock)
{
	int error = pthread_mutex_unlock(lock);
	here.locks--;
	return error;
}

void heap_refused(enum refusal_reason reason)
{
	here.asked = given_read();
	here.pages = 1; /* or some, of tables */
	refuse(reason);
}

void heap_forgive(void)
{
	heap_note = false;
}

/* A handler may have interrupted the allocation whose note it is. */
void heap_forget(void)
{
	if (handler_is_running())
		here.given--; /* then, or if it only seems so, it is worth an attempt in earnest */
	else
		heap_forgive();
}

bool heap_is_locked(void)
{
	return here.locks != 0;
}

void heap_child(void)
{
	here.locks = 0;
}

/* --- purging --- */

/* Where the caller is known to be outside of jemalloc. */
static bool purge(uint32_t before)
{
	if (purge_is_running() || here.locks != 0 || space_is_borrowed())
		return false;
	int error = errno;
	purge_arenas(true);
	heap_forgive(); /* no allocation is waiting for it */
	errno = error;
	return given_read() != before;
}

bool heap_purge(void)
{
	uint32_t before = given_read();
	return self.state == SELF_MEMBER && !handler_is_running() && purge(before);
}

/* In the middle of an allocation that may just be refused: of that nothing changes. */
void heap_give(void)
{
	bool note = heap_note;
	int error = errno;
	if (purge_is_running() || here.locks != 0 || space_is_borrowed() || handler_is_running())
		return;
	purge_arenas(false);
	heap_note = note;
	errno = error;
}

bool heap_trim(void)
{
	return purge(given_read());
}

/* Before we join (shim/start.c): what jemalloc needs to start with belongs to the price of
 * the program, and cannot be refused to it any more. */
__attribute__((constructor(101))) static void heap_start(void)
{
	void *first = malloc(1);
	__asm__ volatile("" : "+r"(first)); /* or the compiler would do without both */
	free(first);
	arenas_start();
}

/* --- an allocation that failed --- */

#define TRIES 16 /* while something comes back: another thread may be sooner to take it */

/* As the doors do (afford_purge), but in a handler, too: no allocation of this thread is under way. */
static bool gone_or_idle(uint32_t given_then)
{
	heap_trim();
	if (!space_is_borrowed())
		afford_sweep();
	return given_read() != given_then;
}

/* Could pages that come back cure it? */
static bool may_help(enum refusal_reason reason)
{
	if (reason == REASON_LIMIT && here.pages > self.ledger->header.limit)
		return false;
	return reason == REASON_NONE || afford_may_help(reason);
}

bool heap_try_again(void)
{
	enum refusal_reason reason = here.refused;
	if (!heap_note || here.denying != REASON_NONE)
		return false;
	uint32_t given_then = here.given; /* a purge may be refused something itself */
	bool helped = here.tries++ < TRIES && may_help(reason) && gone_or_idle(given_then);
	here.refused = reason;
	/* Nothing came back: what is free in the arenas' slabs may still do, and only that. */
	if (!helped)
		here.denying = reason;
	if (!helped && reason == REASON_NONE)
		return false;
	heap_forgive();
	return true;
}

bool heap_tried_again(bool succeeded, size_t bytes, const void *caller)
{
	bool noted = heap_note, tried = here.tries != 0;
	enum refusal_reason reason = here.refused;
	here.denying = REASON_NONE;
	here.tries = 0;
	heap_forgive();
	if (!tried)
		return false;
	errno = here.error;
	if (!succeeded && noted && reason != REASON_NONE)
		refuse_by(OP_MALLOC, bytes, reason, caller);
	return true;
}
