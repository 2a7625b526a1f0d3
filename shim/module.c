/* SPDX-License-Identifier: MIT */
/* dlopen: the library's data is charged before it is mapped as far as its file says, and
 * after it as far as the loader says, with whatever it pulled in; over budget it is closed
 * again. Two things make these doors peculiar.
 *
 * The loader asks who calls: a bare name is looked for in the RUNPATH of the calling
 * module, and $ORIGIN is its directory. Called from here that would be us. So the doors
 * are a few instructions that ask module_open first: where the answer does not depend on
 * the caller, it opens the library itself and settles; where it does, the door jumps on
 * to the loader with the caller's return address still on the stack, the charge that we
 * could foresee is kept, and the settlement waits for the next time we come by
 * (shim/loaded.h).
 *
 * And RTLD_DEEPBIND goes: a library bound so takes libc's malloc and gives what it got to
 * our free. */
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <string.h>

#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/image.h"
#include "shim/loaded.h"
#include "shim/next.h"
#include "shim/search.h"

/* What is asked of one of the doors. */
struct request {
	Lmid_t space;
	bool has_space; /* dlmopen */
	const char *name;
	int flags;
	const void *caller;
};

/* In two registers, for the doors: where to jump to, or the result. */
struct answer {
	void *handle;
	const void *jump; /* not NULL: go there, as if we had never been asked */
};

static struct answer answer_jump(const struct request *r)
{
	const struct next *n = next();
	return (struct answer){ .jump = r->has_space ? (const void *)(uintptr_t)n->dlmopen :
						       (const void *)(uintptr_t)n->dlopen };
}

static void *request_open(const struct request *r, int more_flags)
{
	int flags = (r->flags & ~RTLD_DEEPBIND) | more_flags;
	return r->has_space ? next()->dlmopen(r->space, r->name, flags) : next()->dlopen(r->name, flags);
}

/* Does what is found depend on the module that asks? elf/dl-open.c:dl_open_worker_begin. */
static bool caller_matters(const struct request *r)
{
	if (strchr(r->name, '$'))
		return true;
	return !strchr(r->name, '/') && !search_is_ours(r->caller);
}

/* --- before --- */

static bool is_loaded(const struct request *r)
{
	if (r->has_space && r->space == LM_ID_NEWLM)
		return false;
	void *handle = request_open(r, RTLD_NOLOAD);
	return handle && next()->dlclose(handle) == 0;
}

/* What the library itself will cost, as far as its file can be found; 0 if not. */
static uint64_t request_pages(const struct request *r)
{
	char path[PATH_MAX];
	uint64_t pages = 0;
	const char *file = r->name;
	if (is_loaded(r))
		return 0;
	if (!strchr(file, '/'))
		file = search_library(r->caller, file, path, sizeof path) ? path : NULL;
	if (file)
		image_of_library(file, &pages);
	return pages;
}

/* --- refusing --- */

/* dlerror(3) has to say something, and only the loader can set it: asked for a file that
 * cannot exist, it says that it cannot open it, and our sentence is the file's name. */
static struct answer answer_refused(const struct request *r)
{
	static const char sentence[] = "/solvent: budget exhausted: ";
	char name[256];
	size_t length = strnlen(r->name, sizeof name - sizeof sentence);
	memcpy(name, sentence, sizeof sentence - 1);
	memcpy(name + sizeof sentence - 1, r->name, length);
	name[sizeof sentence - 1 + length] = '\0';
	next()->dlopen(name, RTLD_LAZY);
	errno = ENOMEM;
	return (struct answer){ .handle = NULL };
}

/* --- after --- */

static enum refusal_reason handle_settle(const struct request *r, void *handle, uint64_t *paid,
					 uint64_t *ret_refused)
{
	struct link_map *module;
	if (r->has_space && r->space != LM_ID_BASE && dlinfo(handle, RTLD_DI_LINKMAP, &module) == 0)
		return loaded_settle_namespace(module, paid, ret_refused);
	return loaded_settle(paid, ret_refused);
}

/* True: what was loaded is paid for, or may stay all the same. */
static bool handle_keep(const struct request *r, void *handle, uint64_t *paid)
{
	uint64_t refused = 0;
	enum refusal_reason reason = handle_settle(r, handle, paid, &refused);
	if (afford_may_help(reason) && afford_purge())
		reason = handle_settle(r, handle, paid, &refused);
	if (reason != REASON_NONE && self.ledger->header.mode != ACCOUNT_OBSERVE) {
		next()->dlclose(handle);
		loaded_sweep();
		door_refused(OP_DLOPEN, bytes_of(refused), reason);
		return false;
	}
	if (reason != REASON_NONE || charge_was_over())
		door_observed(OP_DLOPEN, bytes_of(refused));
	return true;
}

static struct answer open_and_settle(const struct request *r, uint64_t paid)
{
	void *handle = request_open(r, 0);
	bool keep = !handle || handle_keep(r, handle, &paid);
	charge_give(paid, CATEGORY_IMAGE);
	return keep ? (struct answer){ .handle = handle } : answer_refused(r);
}

static struct answer module_open(const struct request *r)
{
	uint64_t paid;
	if (self.state != SELF_MEMBER || !r->name || !*r->name || (r->flags & RTLD_NOLOAD))
		return answer_jump(r);
	loaded_settle_due();
	/* Or the library may come to stand on something that is gone and charged still, and be
	 * charged for its text as long as it stays. */
	afford_sweep();
	if (!afford(OP_DLOPEN, request_pages(r), CATEGORY_IMAGE, &paid))
		return answer_refused(r);
	if (!caller_matters(r))
		return open_and_settle(r, paid);
	loaded_owe(paid);
	return answer_jump(r);
}

/* --- the doors --- */

__attribute__((used)) struct answer module_dlopen(const char *name, int flags, const void *caller);
__attribute__((used)) struct answer module_dlmopen(Lmid_t space, const char *name, int flags,
						   const void *caller);

struct answer module_dlopen(const char *name, int flags, const void *caller)
{
	struct request r = { .name = name, .flags = flags, .caller = caller };
	return module_open(&r);
}

struct answer module_dlmopen(Lmid_t space, const char *name, int flags, const void *caller)
{
	struct request r = { .has_space = true, .space = space, .name = name, .flags = flags,
			     .caller = caller };
	return module_open(&r);
}

/* Each keeps its arguments, asks, and either returns the handle or jumps on with the
 * arguments as they were but for RTLD_DEEPBIND, and the stack as it was. */
#if RTLD_DEEPBIND != 8
#error "shim/module.c: the doors clear RTLD_DEEPBIND as 8"
#endif
__asm__(".text\n"
	".globl dlopen\n"
	".type dlopen, @function\n"
	"dlopen:\n"
	"	.cfi_startproc\n"
	"	pushq %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	movq 24(%rsp), %rdx\n"
	"	call module_dlopen\n"
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	testq %rdx, %rdx\n"
	"	jz 1f\n"
	"	andl $~8, %esi\n"
	"	jmpq *%rdx\n"
	"1:	ret\n"
	"	.cfi_endproc\n"
	".size dlopen, .-dlopen\n"

	".globl dlmopen\n"
	".type dlmopen, @function\n"
	"dlmopen:\n"
	"	.cfi_startproc\n"
	"	pushq %rdi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rsi\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	pushq %rdx\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	movq 24(%rsp), %rcx\n"
	"	call module_dlmopen\n"
	"	movq %rdx, %rcx\n"
	"	popq %rdx\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rsi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	popq %rdi\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	testq %rcx, %rcx\n"
	"	jz 1f\n"
	"	andl $~8, %edx\n"
	"	jmpq *%rcx\n"
	"1:	ret\n"
	"	.cfi_endproc\n"
	".size dlmopen, .-dlmopen\n");

SHIM_EXPORT int dlclose(void *handle)
{
	int r = next()->dlclose(handle);
	if (r == 0 && self.state == SELF_MEMBER) {
		loaded_settle_due();
		loaded_sweep();
	}
	return r;
}
