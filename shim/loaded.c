/* SPDX-License-Identifier: MIT */
/* The dynamic loader maps libraries by itself, and whom it loads besides the one that was
 * asked for only it knows. So what is loaded is compared with what was, through its own
 * list. The whole segment is charged, the part that RELRO makes read-only again too: the
 * kernel goes on charging it (mm/mprotect.c). */
#include "shim/loaded.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>

#include "shim/charge.h"
#include "shim/map.h"
#include "shim/marks.h"
#include "shim/raw.h"
#include "shim/self.h"
#include "shim/spans.h"
#include "shim/tables.h"

static struct spans data = { .category = CATEGORY_IMAGE };

/* Libraries ever loaded, when we last had them all (dlpi_adds). */
static uint64_t settled_adds;

/* --- finding --- */

#define FRESH 32
#define ROUNDS 256 /* enough for 8192 libraries; without memory to remember them it would not end */

struct fresh {
	uint64_t adds;
	uint32_t n;
	bool more; /* than fit */
	struct segment {
		uintptr_t addr;
		size_t bytes;
	} segment[FRESH];
};

static uint64_t segment_missing(const struct segment *s)
{
	uint64_t pages = pages_of(s->addr + s->bytes) - (s->addr >> PAGE_SHIFT);
	return pages - pagemap_count(&marks, PAGEMAP_CHARGED, s->addr & ~(PAGE_BYTES - 1), pages);
}

/* A sweep of another thread's may have met one that was gone and was just being loaded again, at
 * the same place: then it is among ours, and charged in part. */
static bool segment_is_settled(const struct segment *s)
{
	return spans_has(&data, s->addr, s->bytes) && segment_missing(s) == 0;
}

static void headers_find(struct fresh *f, uintptr_t base, const ElfW(Phdr) *h, int n)
{
	for (int i = 0; i < n; i++) {
		struct segment s = { .addr = base + h[i].p_vaddr, .bytes = h[i].p_memsz };
		if (h[i].p_type != PT_LOAD || !(h[i].p_flags & PF_W) || tables_are_in(s.addr, s.bytes) ||
		    segment_is_settled(&s))
			continue;
		if (f->n == FRESH)
			f->more = true;
		else
			f->segment[f->n++] = s;
	}
}

static int module_find(struct dl_phdr_info *module, size_t size, void *context)
{
	struct fresh *f = context;
	(void)size;
	f->adds = module->dlpi_adds;
	/* Relaxed: a stale value only makes us look. */
	if (f->adds == __atomic_load_n(&settled_adds, __ATOMIC_RELAXED))
		return 1;
	headers_find(f, module->dlpi_addr, module->dlpi_phdr, module->dlpi_phnum);
	return 0;
}

/* --- charging --- */

/* Of what was paid only as much as is missing: the program's own data, which is charged, comes
 * before the library's, for which the rest would be given back and taken again. */
static enum refusal_reason segment_settle(const struct segment *s, uint64_t *paid)
{
	uint64_t part = min_u64(*paid, segment_missing(s));
	enum refusal_reason reason = map_found((void *)s->addr, s->bytes, part, CATEGORY_IMAGE);
	if (reason == REASON_NONE) {
		*paid -= part; /* map_found has given back what it did not need of it */
		if (!spans_has(&data, s->addr, s->bytes))
			spans_add(&data, s->addr, s->bytes);
	}
	return reason;
}

static enum refusal_reason fresh_settle(const struct fresh *f, uint64_t *paid, uint64_t *ret_refused)
{
	enum refusal_reason first = REASON_NONE;
	for (uint32_t i = 0; i < f->n; i++) {
		enum refusal_reason reason = segment_settle(&f->segment[i], paid);
		if (reason != REASON_NONE && first == REASON_NONE) {
			first = reason;
			*ret_refused = pages_of(f->segment[i].bytes);
		}
	}
	/* Another thread may have unloaded one after it was found and looked for what is gone
	 * before it was among ours. If it does so from now on, it finds it. */
	if (f->n > 0)
		loaded_sweep();
	return first;
}

enum refusal_reason loaded_settle(uint64_t *paid, uint64_t *ret_refused)
{
	struct fresh f = { .more = true };
	enum refusal_reason reason = REASON_NONE;
	for (int round = 0; f.more && reason == REASON_NONE && round < ROUNDS; round++) {
		f.n = 0;
		f.more = false;
		dl_iterate_phdr(module_find, &f);
		reason = fresh_settle(&f, paid, ret_refused);
	}
	if (reason == REASON_NONE && !f.more)
		__atomic_store_n(&settled_adds, f.adds, __ATOMIC_RELAXED);
	return reason;
}

enum refusal_reason loaded_settle_namespace(struct link_map *module, uint64_t *paid, uint64_t *ret_refused)
{
	struct fresh f = { .n = 0 };
	const ElfW(Phdr) *headers;
	while (module->l_prev)
		module = module->l_prev;
	for (; module; module = module->l_next) {
		int n = dlinfo(module, RTLD_DI_PHDR, &headers); /* -1 before glibc 2.36 */
		headers_find(&f, module->l_addr, headers, n);
	}
	return fresh_settle(&f, paid, ret_refused);
}

bool loaded_sweep(void)
{
	return spans_sweep(&data);
}

/* --- what is settled later --- */

bool loaded_is_owed;
__thread __attribute__((tls_model("initial-exec"))) bool loaded_owes;

/* Whose dlopen it was, and pages charged for it. While it is in there another thread finds nothing,
 * or half of what will have come: only its own next call, or its end, says that all is there. */
static struct debt {
	int32_t tid; /* 0: none */
	uint64_t paid;
} debts[16];

/* Of more than so many at once: whoever looks first takes it for all. */
static uint64_t debts_beyond;

/* Claimed for as long as it is written or read: -tid. Acquire: pairs with the release in debt_leave. */
static bool debt_claim(struct debt *d, int32_t tid, int32_t own)
{
	return __atomic_compare_exchange_n(&d->tid, &tid, -own, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void debt_leave(struct debt *d, int32_t tid)
{
	__atomic_store_n(&d->tid, tid, __ATOMIC_RELEASE);
}

void loaded_owe(uint64_t paid)
{
	int32_t own = raw_gettid();
	size_t i = 0;
	while (i < ARRAY_N(debts) && !debt_claim(&debts[i], 0, own))
		i++;
	if (i < ARRAY_N(debts)) {
		debts[i].paid = paid;
		debt_leave(&debts[i], own);
	} else {
		__atomic_fetch_add(&debts_beyond, paid, __ATOMIC_RELAXED);
	}
	loaded_owes = true;
	__atomic_store_n(&loaded_is_owed, true, __ATOMIC_RELEASE);
}

/* Its thread comes by, or has ended: here, or when this process was copied from another. */
static bool debt_is_over(int32_t tid, int32_t own)
{
	if (tid == own)
		return true;
	return tid != -own && raw_call3(SYS_tgkill, raw_getpid(), tid < 0 ? -tid : tid, 0) == -ESRCH;
}

/* What was paid for what is loaded by now; is more on its way? */
static uint64_t debts_take(bool *ret_more)
{
	int32_t own = raw_gettid();
	uint64_t paid = __atomic_exchange_n(&debts_beyond, 0, __ATOMIC_RELAXED);
	*ret_more = false;
	for (size_t i = 0; i < ARRAY_N(debts); i++) {
		struct debt *d = &debts[i];
		int32_t tid = __atomic_load_n(&d->tid, __ATOMIC_RELAXED);
		if (tid != 0 && debt_is_over(tid, own) && debt_claim(d, tid, own)) {
			paid += d->paid;
			d->paid = 0;
			debt_leave(d, 0);
		} else if (tid != 0) {
			*ret_more = true;
		}
	}
	return paid;
}

void loaded_settle_owed(void)
{
	uint64_t refused;
	bool more;
	if (!__atomic_exchange_n(&loaded_is_owed, false, __ATOMIC_ACQ_REL) && !loaded_owes)
		return;
	loaded_owes = false;
	uint64_t paid = debts_take(&more);
	/* It cannot be refused any more; what could not be paid is asked for again. */
	if (loaded_settle(&paid, &refused) != REASON_NONE || more)
		__atomic_store_n(&loaded_is_owed, true, __ATOMIC_RELEASE);
	charge_give(paid, CATEGORY_IMAGE);
}
