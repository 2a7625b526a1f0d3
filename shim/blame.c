/* SPDX-License-Identifier: MIT */
/* The only file that knows libunwind.
 *
 * libunwind can walk the stack of its own process by itself; but then it takes the loader's
 * lock for each frame, and it probes memory by writing a byte of it into a pipe that it keeps
 * open: two descriptors, and a program that closes what it does not know and opens a file
 * finds that byte in it (src/x86_64/Ginit.c:write_validate). So we treat ourselves as a
 * stranger: libunwind-x86_64 walks an address space of ours, whose memory it reads through
 * functions of ours. They find unwind tables by _dl_find_object, without a lock, and ask
 * before they read.
 *
 * It is loaded at the first refusal, and out of everybody's sight: a library that our program
 * depended on would put its _Unwind_* in front of libgcc's. */
#include "shim/blame.h"

#include <dlfcn.h>
#include <errno.h>
#include <libunwind.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "include/base.h"
#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/confined.h"
#include "shim/handler.h"
#include "shim/heap.h"
#include "shim/loaded.h"
#include "shim/lock.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/next.h"
#include "shim/origin.h"
#include "shim/peek.h"
#include "shim/raw.h"
#include "shim/self.h"

/* Exported, and used by other unwinders of foreign processes, but in no header. */
#define unw_search_table UNW_OBJ(dwarf_search_unwind_table)
extern int unw_search_table(unw_addr_space_t space, unw_word_t ip, unw_dyn_info_t *table,
			    unw_proc_info_t *ret, int need_unwind_info, void *context);

/* X(member, function): what we use of it. */
#define UNWINDER_FUNCTIONS(X) \
	X(create_addr_space, unw_create_addr_space) \
	X(set_caching_policy, unw_set_caching_policy) \
	X(init_remote, unw_init_remote) \
	X(step, unw_step) \
	X(get_reg, unw_get_reg) \
	X(search_table, unw_search_table)

static struct {
#define MEMBER(member, function) __typeof__(function) *member;
	UNWINDER_FUNCTIONS(MEMBER)
#undef MEMBER
	unw_addr_space_t space;
} unwinder;

#define ATTEMPTS 8 /* at loading it */
static int attempts;
static bool is_ready;

/* The account is full when it is loaded, and loading allocates. So that much heap is kept
 * from the start, untouched, and let go just before. And its data, with that of the libraries
 * it needs, is to be paid for: with the charge of a mapping that nobody uses. */
#define BALLAST_BYTES ((size_t)128 << 10)
#define BALLAST_DATA_BYTES ((size_t)112 << 10) /* 26 pages are needed on Debian 12 */
static void *ballast, *ballast_data;

/* The charge of the mapping is the caller's business. */
__attribute__((constructor(102))) static void ballast_take(void)
{
	ballast = malloc(BALLAST_BYTES);
	long r = raw_mmap(NULL, BALLAST_DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ballast_data = raw_failed(r) ? NULL : (void *)r;
}

/* The mapping goes, its charge stays: how many pages that is. The heap is purged, for what it
 * needs more of may be its own tables and not the piece that was freed. */
static uint64_t ballast_drop(void)
{
	struct lifted l = { .charged = 0 };
	free(ballast);
	heap_purge();
	ballast = NULL;
	if (ballast_data) {
		marks_lift((uintptr_t)ballast_data, pages_of(BALLAST_DATA_BYTES), &l);
		raw_munmap(ballast_data, BALLAST_DATA_BYTES);
		ballast_data = NULL;
	}
	return l.charged;
}

/* Until the next attempt; `paid` pages are charged. */
static void ballast_keep(uint64_t paid)
{
	ballast_take();
	if (ballast_data && map_found(ballast_data, BALLAST_DATA_BYTES, paid, CATEGORY_IMAGE) == REASON_NONE)
		return;
	if (ballast_data)
		raw_munmap(ballast_data, BALLAST_DATA_BYTES);
	ballast_data = NULL;
	charge_give(paid, CATEGORY_IMAGE);
}

static __thread __attribute__((tls_model("initial-exec"))) bool walking;

bool blame_is_walking(void)
{
	return walking;
}

/* --- the stack we walk --- */

#define STACK_NEED_BYTES ((uintptr_t)64 << 10) /* for loading; 12 KiB were used */
#define REGISTERS 17			       /* as libunwind counts them: UNW_X86_64_RIP is 16 */

struct walk {
	uintptr_t reg[REGISTERS];
	uintptr_t known_page; /* the last one found readable */
};

/* What a call preserves, and where we are: enough to find the caller's. */
static inline __attribute__((always_inline)) void registers_read(uintptr_t *reg)
{
	__asm__ volatile("movq %%rbx, 3*8(%0)\n\t"
			 "movq %%rbp, 6*8(%0)\n\t"
			 "movq %%rsp, 7*8(%0)\n\t"
			 "movq %%r12, 12*8(%0)\n\t"
			 "movq %%r13, 13*8(%0)\n\t"
			 "movq %%r14, 14*8(%0)\n\t"
			 "movq %%r15, 15*8(%0)\n\t"
			 "leaq 1f(%%rip), %%rax\n\t"
			 "movq %%rax, 16*8(%0)\n"
			 "1:"
			 :
			 : "r"(reg)
			 : "rax", "memory");
}

static bool is_readable(struct walk *w, uintptr_t address)
{
	uintptr_t page = address & ~(PAGE_BYTES - 1);
	if (page != w->known_page && !peek_is_readable(page))
		return false;
	w->known_page = page;
	return true;
}

static bool stack_has_room(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	for (uintptr_t below = PAGE_BYTES; below <= STACK_NEED_BYTES; below += PAGE_BYTES)
		if (!peek_is_readable(here - below))
			return false;
	return true;
}

/* --- what libunwind asks of an address space --- */

/* .eh_frame_hdr as every linker writes it (LSB Core, 10.6.2): a sorted table of 32-bit
 * offsets from its own start. */
struct table_header {
	uint8_t version, frame_encoding, count_encoding, table_encoding;
	int32_t frame;
	uint32_t count;
};

static int find_proc_info(unw_addr_space_t space, unw_word_t ip, unw_proc_info_t *ret, int need, void *context)
{
	struct dl_find_object o;
	if (_dl_find_object((void *)ip, &o) != 0 || !o.dlfo_eh_frame)
		return -UNW_ENOINFO;
	const struct table_header *h = o.dlfo_eh_frame;
	if (h->version != 1 || h->frame_encoding != 0x1b || h->count_encoding != 0x03 || h->table_encoding != 0x3b)
		return -UNW_ENOINFO;
	unw_dyn_info_t table = {
		.start_ip = (uintptr_t)o.dlfo_map_start,
		.end_ip = (uintptr_t)o.dlfo_map_end,
		.format = UNW_INFO_FORMAT_REMOTE_TABLE,
		.u.rti = { .segbase = (uintptr_t)h, .table_data = (uintptr_t)(h + 1), .table_len = h->count },
	};
	return unwinder.search_table(space, ip, &table, ret, need, context);
}

static void put_unwind_info(unw_addr_space_t space, unw_proc_info_t *info, void *context)
{
	(void)space, (void)info, (void)context;
}

static int get_dyn_info_list_addr(unw_addr_space_t space, unw_word_t *ret, void *context)
{
	(void)space, (void)ret, (void)context;
	return -UNW_ENOINFO;
}

static int access_mem(unw_addr_space_t space, unw_word_t address, unw_word_t *value, int write, void *context)
{
	(void)space;
	if (write || !is_readable(context, address))
		return -UNW_EINVAL;
	*value = *(unw_word_t *)address;
	return 0;
}

static int access_reg(unw_addr_space_t space, unw_regnum_t reg, unw_word_t *value, int write, void *context)
{
	(void)space;
	if (write || reg < 0 || reg >= REGISTERS)
		return -UNW_EBADREG;
	*value = ((struct walk *)context)->reg[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t space, unw_regnum_t reg, unw_fpreg_t *value, int write, void *context)
{
	(void)space, (void)reg, (void)value, (void)write, (void)context;
	return -UNW_EBADREG;
}

static int resume(unw_addr_space_t space, unw_cursor_t *cursor, void *context)
{
	(void)space, (void)cursor, (void)context;
	return -UNW_EINVAL;
}

static int get_proc_name(unw_addr_space_t space, unw_word_t ip, char *ret, size_t n, unw_word_t *offset,
			 void *context)
{
	(void)space, (void)ip, (void)ret, (void)n, (void)offset, (void)context;
	return -UNW_ENOINFO;
}

/* --- loading it --- */

#define TEXT_OF(name) #name
#define NAME_OF(function) TEXT_OF(function)

static bool functions_find(void *library)
{
#define FIND(member, function) \
	unwinder.member = (__typeof__(unwinder.member))(uintptr_t)dlsym(library, NAME_OF(function)); \
	if (!unwinder.member) \
		return false;
	UNWINDER_FUNCTIONS(FIND)
#undef FIND
	return true;
}

/* Its cache has a lock, which a fork could leave locked in the child: none. */
static int first_use(void *walk)
{
	unw_cursor_t cursor;
	unwinder.set_caching_policy(unwinder.space, UNW_CACHE_NONE);
	return unwinder.init_remote(&cursor, unwinder.space, walk);
}

/* Its first use opens the pipe, which strangers' memory is never probed with. It happens in
 * a child that shares our memory but not our descriptors, so that they end with it. The
 * child sends no signal and is waited for by nobody else (__WCLONE, man 2 wait). */
static bool first_use_apart(struct walk *w)
{
	_Alignas(16) char stack[16384];
	int pid = next()->clone(first_use, stack + sizeof stack, CLONE_VM | CLONE_VFORK, w, NULL, NULL, NULL);
	long r = pid;
	while (pid > 0 && (r = raw_call4(SYS_wait4, pid, NULL, __WCLONE, NULL)) == -EINTR)
		;
	return r > 0;
}

/* A library that cannot be paid for does not stay. */
static void *library_load(const char *name)
{
	uint64_t refused, paid = ballast_drop();
	void *library = next()->dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (library && loaded_settle(&paid, &refused) == REASON_NONE) {
		charge_give(paid, CATEGORY_IMAGE);
		return library;
	}
	if (library)
		next()->dlclose(library);
	loaded_sweep();
	ballast_keep(paid);
	return NULL;
}

static bool unwinder_load(struct walk *w)
{
	unw_accessors_t accessors = { find_proc_info, put_unwind_info, get_dyn_info_list_addr, access_mem,
				      access_reg,     access_fpreg,    resume,		       get_proc_name };
	void *library = library_load("libunwind-x86_64.so.8");
	if (!library || !functions_find(library))
		return false;
	unwinder.space = unwinder.create_addr_space(&accessors, 0);
	return unwinder.space && first_use_apart(w);
}

/* The loader must not be entered from within itself, which is where its allocations come
 * from, nor from a signal handler. */
static bool may_load(const void *caller)
{
	return attempts < ATTEMPTS && !confined() && !origin_is_loader((uintptr_t)caller) && stack_has_room() &&
	       !handler_is_running();
}

/* --- one walker at a time --- */

/* libunwind has locks too. A child of fork that finds this one held by nobody it knows will
 * never walk, and never wait for those. */
#define PATIENCE 100
static bool is_taken;

static bool walker_enter(void)
{
	for (int i = 0; i < PATIENCE; i++) {
		/* Acquire: pairs with the release in walker_leave. */
		if (!__atomic_exchange_n(&is_taken, true, __ATOMIC_ACQUIRE))
			return true;
		raw_call0(SYS_sched_yield);
	}
	return false;
}

static void walker_leave(void)
{
	__atomic_store_n(&is_taken, false, __ATOMIC_RELEASE);
}

static bool walker_is_ready(struct walk *w, const void *caller)
{
	if (!is_ready && may_load(caller)) {
		attempts++;
		is_ready = unwinder_load(w);
	}
	return is_ready;
}

/* --- walking --- */

static int frames_collect(struct walk *w, uintptr_t *frames, int n)
{
	unw_cursor_t cursor;
	unw_word_t ip;
	int found = 0;
	if (unwinder.init_remote(&cursor, unwinder.space, w) != 0)
		return 0;
	while (found < n && unwinder.step(&cursor) > 0 && unwinder.get_reg(&cursor, UNW_REG_IP, &ip) == 0 && ip != 0)
		if (!origin_is_ours(ip - 1))
			frames[found++] = ip;
	return found;
}

__attribute__((noinline)) int blame_walk(uintptr_t *frames, int n, const void *caller)
{
	struct walk w = { .known_page = 0 };
	int found = 0;
	if (walking || heap_is_locked() || space_is_borrowed())
		return 0;
	uint64_t signals = signals_block();
	walking = true;
	registers_read(w.reg);
	if (walker_enter()) {
		if (walker_is_ready(&w, caller))
			found = frames_collect(&w, frames, n);
		walker_leave();
	}
	walking = false;
	signals_restore(signals);
	return found;
}
