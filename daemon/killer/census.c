/* SPDX-License-Identifier: MIT */
#include "daemon/killer/census.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "daemon/broker.h"
#include "daemon/count.h"
#include "daemon/killer/group.h"
#include "daemon/killer/hash.h"

#define TICKS_A_SECOND 100u /* USER_HZ, for ever */

#define ADJ_IMMUNE (-1000) /* OOM_SCORE_ADJ_MIN, include/uapi/linux/oom.h */

/* What it is exempt for will not change: it is not looked at again. */
static bool is_fixed(const struct candidate *c)
{
	return c->exempt >= EXEMPT_KERNEL;
}

/* --- the table --- */

static uint32_t *bucket_of(struct census *c, int32_t pid)
{
	return &c->bucket[(uint32_t)pid % CENSUS_BUCKETS];
}

uint32_t census_find(const struct census *c, const struct roll *roll, int32_t pid)
{
	uint32_t p = *bucket_of((struct census *)c, pid);
	while (p && roll->candidate[p - 1].pid != pid)
		p = c->handle[p - 1].chain;
	return p ? p - 1 : ROLL;
}

static uint32_t place_free(const struct roll *roll)
{
	uint32_t i = 0;
	while (i < roll->n && roll->candidate[i].pid != 0)
		i++;
	return i;
}

static void handle_close(struct census *c, struct handle *h)
{
	if (h->pidfd >= 0)
		close(h->pidfd);
	if (h->statm >= 0)
		close(h->statm);
	c->fds -= (h->pidfd >= 0) + (h->statm >= 0);
	h->pidfd = h->statm = -1;
}

static void leave(struct census *c, struct roll *roll, uint32_t i)
{
	uint32_t *at = bucket_of(c, roll->candidate[i].pid);
	while (*at != i + 1)
		at = &c->handle[*at - 1].chain;
	*at = c->handle[i].chain;
	c->unwatched -= !is_fixed(&roll->candidate[i]) && c->handle[i].statm < 0;
	handle_close(c, &c->handle[i]);
	roll->candidate[i] = (struct candidate){ .pid = 0 };
	c->known--;
	while (roll->n > 0 && roll->candidate[roll->n - 1].pid == 0)
		roll->n--;
}

/* --- what a process is --- */

/* What people and logs see of a name that may hold anything. */
static void comm_clean(const char *from, char to[COMM_BYTES])
{
	for (int i = 0; i < COMM_BYTES; i++) {
		unsigned char c = (unsigned char)from[i];
		to[i] = c == '\0' || (c > ' ' && c < 0x7f && c != '[' && c != ']') ? (char)c : '?';
	}
	to[COMM_BYTES - 1] = '\0';
}

static int file_read(int32_t pid, const char *name, char *text, size_t n)
{
	ssize_t r = proc_text(proc_file(pid, name), text, n);
	return r < 0 ? (int)r : 0;
}

static struct file_identity identity_of(int at, const char *path)
{
	uint64_t device, inode;
	if (proc_inode(at, path, &device, &inode) != 0)
		return (struct file_identity){ 0, 0 };
	return (struct file_identity){ device, inode };
}

static bool is_same(const struct file_identity *one, const struct file_identity *other)
{
	return one->inode != 0 && one->inode == other->inode && one->device == other->device;
}

/* All that is asked of /proc about one process. */
struct portrait {
	struct proc_life life;
	struct identity who;
	uint64_t cgroup;
	char group[WATCH_GROUP_BYTES], exe[RULE_PATTERN_BYTES + 16], comm[COMM_BYTES];
};

/* A service manager gives us mounts of our own, on which files have the names that they have for
 * everybody else, who has those of pid 1. */
static void exe_draw(const struct census *c, int32_t pid, struct portrait *p)
{
	char path[48];
	snprintf(path, sizeof path, "%d/exe", pid);
	ssize_t n = readlinkat(proc_descriptor(), path, p->exe, sizeof p->exe - 1);
	p->exe[n > 0 ? n : 0] = '\0';
	p->who.file = identity_of(proc_descriptor(), path);
	snprintf(path, sizeof path, "%d/ns/mnt", pid);
	struct file_identity mounts = identity_of(proc_descriptor(), path);
	p->who.same_files = is_same(&mounts, &c->mounts) || is_same(&mounts, &c->init_mounts);
}

static uint64_t group_number(const char *path)
{
	return path[0] ? hash(HASH_BEGIN, path, strlen(path)) : 0;
}

/* 0, or -errno: it is gone, or as good as. */
static int portrait_draw(const struct census *c, int32_t pid, struct portrait *p)
{
	char text[8192];
	*p = (struct portrait){ .cgroup = 0 };
	int error = file_read(pid, "stat", text, sizeof text);
	error = error ? error : proc_life_parse(text, &p->life);
	if (error || p->life.flags & PROC_KERNEL_THREAD)
		return error;
	comm_clean(p->life.stat.comm, p->comm);
	if (proc_effective_uid(pid, &p->who.user) != 0)
		return -ESRCH;
	if (file_read(pid, "oom_score_adj", text, sizeof text) == 0)
		p->who.adj = (int16_t)strtol(text, NULL, 10);
	if (file_read(pid, "cgroup", text, sizeof text) == 0)
		group_of(text, c->unified, p->group, sizeof p->group);
	p->cgroup = group_number(p->group);
	exe_draw(c, pid, p);
	p->who.cgroup = p->group;
	p->who.exe = p->exe;
	p->who.comm = p->comm;
	return 0;
}

/* Forked copies have code, stack and arguments where their parent has them, in the same file; what
 * another execve made has not, as long as addresses are randomised. */
static uint64_t image_of(const struct portrait *p)
{
	if (p->life.image[1] == 0 || p->who.file.inode == 0)
		return 0;
	uint64_t h = hash(HASH_BEGIN, p->life.image, sizeof p->life.image);
	return hash(h, &p->who.file, sizeof p->who.file) | 1;
}

static uint64_t rules_of(const struct census *c, const struct roll *roll, const struct identity *who)
{
	uint64_t bits = 0;
	for (uint32_t i = 0; i < roll->rules; i++)
		if (rule_knows(&roll->rule[i], &c->file[i], who))
			bits |= 1ull << i;
	return bits;
}

static uint16_t watches_of(const struct broker *b, const struct portrait *p)
{
	uint16_t bits = 0;
	for (uint32_t w = 0; w < b->config.watches; w++) {
		const char *group = b->config.watch[w].group;
		if (!group[0] || (p->group[0] && group_holds(group, p->group)))
			bits |= (uint16_t)(1u << w);
	}
	return bits;
}

static enum exemption exemption_of(const struct broker *b, int32_t pid, const struct portrait *p)
{
	if (p->life.flags & PROC_KERNEL_THREAD)
		return EXEMPT_KERNEL;
	if (pid == 1)
		return EXEMPT_INIT;
	if (pid == getpid() || p->life.stat.parent == getpid())
		return EXEMPT_BROKER;
	if (b->uid != 0 && p->who.user != b->uid)
		return EXEMPT_BEYOND;
	return p->who.adj == ADJ_IMMUNE ? EXEMPT_IMMUNE : EXEMPT_NOT;
}

static void candidate_describe(const struct broker *b, const struct portrait *p, struct candidate *of)
{
	const struct census *c = &b->killer.census;
	of->parent = p->life.stat.parent;
	of->start_ticks = p->life.stat.start_ticks;
	of->exempt = (uint8_t)exemption_of(b, of->pid, p);
	memcpy(of->comm, p->comm, sizeof of->comm);
	of->cpu_s = (uint32_t)min_u64(p->life.ticks / TICKS_A_SECOND, UINT32_MAX);
	if (of->exempt == EXEMPT_KERNEL)
		return;
	of->user = p->who.user;
	of->adj = p->who.adj;
	of->image = image_of(p);
	of->cgroup = p->cgroup;
	of->rules = rules_of(c, &b->killer.roll, &p->who);
	of->watches = watches_of(b, p);
}

/* --- what it holds --- */

/* What is resident and not shared is private to its address space. */
static uint32_t private_of(const struct count *c)
{
	return (uint32_t)min_u64(c->resident > c->shared ? c->resident - c->shared : 0, PAGES_MAX);
}

/* Where the first thread has ended before the others, its statm reads 0: another's is kept. */
static int thread_statm(int32_t pid)
{
	char path[64];
	struct proc_walk w;
	int fd = -1;
	if (proc_walk_threads(&w, pid) != 0)
		return -1;
	for (int32_t tid; fd < 0 && (tid = proc_walk_next(&w)) != 0;) {
		struct count c;
		snprintf(path, sizeof path, "%d/task/%d/statm", pid, tid);
		fd = openat(proc_descriptor(), path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && (count_quick(pid, fd, &c) != 0 || c.size == 0)) {
			close(fd);
			fd = -1;
		}
	}
	proc_walk_close(&w);
	return fd;
}

static bool has_changed(uint32_t now, uint32_t then)
{
	return now > then + then / 16 || now < then - then / 16;
}

static void pages_count(const struct candidate *of, struct handle *h, const struct count *now)
{
	uint64_t alone;
	uint32_t private = private_of(now), shared = (uint32_t)min_u64(now->shared, PAGES_MAX);
	bool counted = (uint64_t)private + shared >= CENSUS_COUNTED_LEAST && (uint64_t)private + shared <= CENSUS_COUNTED_MOST;
	if (!counted)
		h->correction = 0;
	if (!counted || !(has_changed(private, h->private_then) || has_changed(shared, h->shared_then)) ||
	    count_alone(of->pid, &alone) != 0)
		return;
	h->private_then = private;
	h->shared_then = shared;
	h->correction = (int32_t)((int64_t)alone - private);
}

static void held_set(struct candidate *of, const struct handle *h, const struct count *now)
{
	uint32_t private = private_of(now);
	int64_t held = (int64_t)private + h->correction;
	of->held = (uint32_t)min_u64(held > 0 ? (uint64_t)held : 0, PAGES_MAX);
	of->shared = h->correction < 0 ? (uint32_t)min_u64((uint64_t)-(int64_t)h->correction, private) : 0;
}

/* False: it is gone. Where another thread's statm is kept, that one may end before the rest. */
static bool candidate_measure(struct census *c, struct candidate *of, struct handle *h)
{
	struct count now = { .size = 0 };
	int error = count_quick(of->pid, h->statm, &now);
	bool ended = error == -ESRCH || error == -ENOENT;
	if (ended && (h->pidfd < 0 || pidfd_is_gone(h->pidfd)))
		return false;
	if ((ended || (!error && now.size == 0)) && !is_fixed(of)) {
		int fd = thread_statm(of->pid);
		if (fd < 0)
			return !(h->pidfd >= 0 && pidfd_is_gone(h->pidfd));
		c->fds += h->statm < 0;
		if (h->statm >= 0)
			close(h->statm);
		h->statm = fd;
		count_quick(of->pid, fd, &now);
	}
	held_set(of, h, &now);
	return true;
}

/* At leisure: its pages one by one. */
static void candidate_count(struct candidate *of, struct handle *h)
{
	struct count now;
	if (count_quick(of->pid, h->statm, &now) != 0 || now.size == 0)
		return;
	pages_count(of, h, &now);
	held_set(of, h, &now);
}

/* Who is in which account now. */
static void candidate_place(struct broker *b, struct candidate *of)
{
	const struct account *a = registry_next(b, of->pid, NULL);
	const struct member *m = a ? registry_find(b, a, of->pid) : NULL;
	of->account = a ? (uint16_t)(a - b->account + 1) : 0;
	of->borrower = m && !a->damaged && a->policy.fork_percent < 100 &&
		       __atomic_load_n(&a->ledger->slot[member_slot(a, m)].credit, __ATOMIC_RELAXED) > 0;
}

/* --- entering --- */

static bool fds_take(struct census *c, struct handle *h, int32_t pid)
{
	char text[256];
	if (c->fds + 2 > c->fds_most)
		return false;
	h->pidfd = pidfd_open(pid, 0);
	h->statm = count_open(pid);
	c->fds += (h->pidfd >= 0) + (h->statm >= 0);
	/* Read once, so that the buffer exists. */
	return h->pidfd >= 0 && h->statm >= 0 && pread(h->statm, text, sizeof text, 0) >= 0;
}

static void enter(struct broker *b, int32_t pid)
{
	struct census *c = &b->killer.census;
	struct roll *roll = &b->killer.roll;
	struct portrait p;
	uint32_t i = place_free(roll);
	if (i == ROLL)
		return;
	struct candidate *of = &roll->candidate[i];
	struct handle *h = &c->handle[i];
	*of = (struct candidate){ .pid = pid };
	*h = (struct handle){ .pidfd = -1, .statm = -1, .round = c->round, .came_ns = b->now_ns,
				 .known_ns = b->now_ns };
	/* The pidfd first: what is read then is of the process it stands for, or of none. */
	bool has_fds = fds_take(c, h, pid);
	bool gone = h->pidfd >= 0 && pidfd_is_gone(h->pidfd); /* a zombie: nobody has waited for it yet */
	if (gone || portrait_draw(c, pid, &p) != 0 || (h->pidfd >= 0 && pidfd_is_gone(h->pidfd))) {
		handle_close(c, h);
		*of = (struct candidate){ .pid = 0 };
		return;
	}
	candidate_describe(b, &p, of);
	if (is_fixed(of))
		handle_close(c, h);
	else if (!has_fds)
		c->unwatched++;
	h->chain = *bucket_of(c, pid);
	*bucket_of(c, pid) = i + 1;
	c->known++;
	roll->n = i >= roll->n ? i + 1 : roll->n;
	candidate_place(b, of);
	candidate_measure(c, of, h);
}

/* --- all of them --- */

bool census_is_gone(struct broker *b, uint32_t i)
{
	struct census *c = &b->killer.census;
	const struct handle *h = &c->handle[i];
	bool gone = h->pidfd >= 0 ? pidfd_is_gone(h->pidfd) : c->handle[i].round != c->round;
	if (gone)
		leave(c, &b->killer.roll, i);
	return gone;
}

void census_walk(struct broker *b)
{
	struct census *c = &b->killer.census;
	struct roll *roll = &b->killer.roll;
	struct proc_walk w;
	if (proc_walk_open(&w) != 0)
		return;
	c->round++;
	for (int32_t pid; (pid = proc_walk_next(&w)) != 0;) {
		uint32_t i = census_find(c, roll, pid);
		if (i == ROLL)
			enter(b, pid);
		else
			c->handle[i].round = c->round;
	}
	proc_walk_close(&w);
	for (uint32_t i = 0; i < roll->n; i++)
		if (roll->candidate[i].pid != 0 && c->handle[i].round != c->round)
			census_is_gone(b, i);
}

void census_measure(struct broker *b)
{
	struct census *c = &b->killer.census;
	struct roll *roll = &b->killer.roll;
	for (uint32_t i = 0; i < roll->n; i++) {
		struct candidate *of = &roll->candidate[i];
		if (of->pid == 0 || of->exempt == EXEMPT_KERNEL)
			continue;
		if (!candidate_measure(c, of, &c->handle[i]))
			leave(c, roll, i);
		else
			candidate_place(b, of);
	}
}

static void review(struct broker *b, uint32_t i, bool count)
{
	struct census *c = &b->killer.census;
	struct candidate *of = &b->killer.roll.candidate[i];
	struct portrait p;
	c->handle[i].known_ns = b->now_ns;
	if (portrait_draw(c, of->pid, &p) != 0) {
		census_is_gone(b, i);
	} else if (p.life.stat.start_ticks != of->start_ticks) {
		leave(c, &b->killer.roll, i);
	} else {
		/* Whose first thread has ended shows no program any more: it is what it was. */
		if (p.life.stat.state != 'Z')
			candidate_describe(b, &p, of);
		if (count && !is_fixed(of) && p.life.stat.state != 'D')
			candidate_count(of, &c->handle[i]);
	}
}

/* Nothing of it changes; but its pid may be another's by now. */
static void fixed_look(struct broker *b, uint32_t i)
{
	struct proc_stat st;
	const struct candidate *of = &b->killer.roll.candidate[i];
	if (proc_stat(of->pid, &st) == 0 && st.start_ticks != of->start_ticks)
		leave(&b->killer.census, &b->killer.roll, i);
}

static void review_some(struct broker *b, uint32_t n, bool count)
{
	struct census *c = &b->killer.census;
	const struct roll *roll = &b->killer.roll;
	for (uint32_t looked = 0; looked < roll->n && n > 0; looked++) {
		c->next = c->next + 1 < roll->n ? c->next + 1 : 0;
		const struct candidate *of = &roll->candidate[c->next];
		if (of->pid == 0 || (count && c->handle[c->next].known_ns == b->now_ns))
			continue;
		if (is_fixed(of)) {
			fixed_look(b, c->next);
			continue;
		}
		review(b, c->next, count);
		n--;
	}
}

void census_hear(struct broker *b, int32_t pid)
{
	uint32_t i = b->config.watches ? census_find(&b->killer.census, &b->killer.roll, pid) : ROLL;
	if (i < ROLL && !is_fixed(&b->killer.roll.candidate[i]))
		review(b, i, false);
}

void census_review(struct broker *b, uint32_t n)
{
	review_some(b, n, true);
}

static bool groups_matter(const struct broker *b)
{
	for (uint32_t w = 0; w < b->config.watches; w++)
		if (b->config.watch[w].group[0])
			return true;
	for (uint32_t i = 0; i < b->config.rules; i++)
		if (b->config.rule[i].cgroup[0] || b->config.rule[i].unit == UNIT_CGROUP)
			return true;
	return false;
}

void census_locate(struct broker *b, uint64_t since_ns)
{
	const struct census *c = &b->killer.census;
	const struct roll *roll = &b->killer.roll;
	char text[8192], group[WATCH_GROUP_BYTES];
	bool matter = groups_matter(b);
	for (uint32_t i = 0; matter && i < roll->n; i++) {
		const struct candidate *of = &roll->candidate[i];
		if (of->pid == 0 || is_fixed(of) || c->handle[i].came_ns < since_ns ||
		    file_read(of->pid, "cgroup", text, sizeof text) != 0)
			continue;
		group_of(text, c->unified, group, sizeof group);
		if (group_number(group) != of->cgroup)
			review(b, i, false);
	}
}

void census_judge(struct broker *b)
{
	struct census *c = &b->killer.census;
	struct roll *roll = &b->killer.roll;
	for (uint32_t i = 0; i < roll->rules; i++) {
		const char *exe = roll->rule[i].exe;
		c->file[i] = exe[0] && !pattern_is_wild(exe) ? identity_of(AT_FDCWD, exe) :
							       (struct file_identity){ 0, 0 };
	}
	review_some(b, ROLL, false);
}

void census_begin(struct census *c, struct roll *roll, uint32_t fds_most)
{
	memset(c->bucket, 0, sizeof c->bucket);
	roll->n = 0;
	c->known = c->unwatched = c->fds = 0;
	c->fds_most = fds_most;
	c->unified = group_is_unified();
	c->mounts = identity_of(proc_descriptor(), "self/ns/mnt");
	c->init_mounts = identity_of(proc_descriptor(), "1/ns/mnt");
}

void census_end(struct census *c, struct roll *roll)
{
	for (uint32_t i = roll->n; i-- > 0;)
		if (i < roll->n && roll->candidate[i].pid != 0)
			leave(c, roll, i);
}
