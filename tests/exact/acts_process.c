/* SPDX-License-Identifier: MIT */
/* fork: the child plays the next steps itself, then ends or becomes another program; after
 * that its parent plays them, too. And children that share our memory or take a new one. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/exact/books.h"
#include "tests/exact/compare.h"
#include "tests/exact/place.h"

#define DEPTH 3
#define NOT_STARTED 125 /* the budget was too small for the new image */

static char *const verify[] = { (char *)"exact", (char *)"verify", NULL };

static void child_expect(const char *what, pid_t pid, bool new_image)
{
	int status;
	while (waitpid(pid, &status, 0) != pid)
		;
	bool not_started = new_image && WIFEXITED(status) && WEXITSTATUS(status) == NOT_STARTED;
	if (status != 0 && !not_started)
		fail("%s: the child ended with status %#x", what, status);
}

static _Noreturn void child(struct actor *a, struct dice *d, uint64_t steps, bool new_image)
{
	bool alone = a->alone;
	a->alone = true;
	tally_start();
	for (unsigned i = 0; i < ACTORS; i++) {
		actors[i].depth++;
		threads_become_child(&actors[i]);
		model_become_child(&actors[i].model);
		if (&actors[i] != a)
			model_take_left(&a->model, &actors[i].model);
	}
	if (alone) {
		compare_or_fail("in the child of a fork");
		play(a, d->step + 1, d->step + 1 + steps);
		shared_clean(a);
	} else {
		compare_roughly_or_fail("in the child of a fork beside others");
	}
	tally_write();
	if (new_image)
		execv("/proc/self/exe", verify);
	_exit(0);
}

static pid_t fork_by(uint64_t kind)
{
	switch (kind) {
	case 0:
		return (pid_t)syscall(SYS_fork);
	case 1:
		return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	case 2:
		return _Fork();
	default:
		return fork();
	}
}

/* A file that had grown by write(2) is reserved as it is now, if the child mapped it. */
static void files_settle(struct model *m)
{
	for (uint32_t i = 0; i < THINGS; i++) {
		struct thing *t = &m->thing[i];
		if (t->kind != THING_TMPFS || t->fd < 0 || !thing_is_held(m, i))
			continue;
		int64_t pages = books_object(OBJECT_FILE, t->dev, t->ino);
		if (pages > (int64_t)t->pages && pages <= (int64_t)thing_cost(t->fd))
			t->pages = (uint64_t)pages;
	}
}

static void fork_one(struct actor *a, struct dice *d)
{
	static const char *const names[] = { "syscall:fork", "syscall:clone", "_Fork", "fork", "fork", "fork" };
	uint64_t kind = roll(d, ARRAY_N(names)), steps = roll(d, 10);
	bool new_image = chance(d, 15);
	uint64_t before = books_refusals();
	if (a->depth == DEPTH)
		return;
	say(a, "%s(), then the child plays %lu steps%s", names[kind], steps, new_image ? " and calls execv" : "");
	pid_t pid = fork_by(kind);
	if (pid == 0)
		child(a, d, steps, new_image);
	say_result(a, pid < 0 ? -1 : 0);
	if (pid < 0) {
		was_refused(a, before, bytes_of(books_charge()));
		return;
	}
	__atomic_fetch_add(&tally.forks, 1, __ATOMIC_RELAXED);
	child_expect(names[kind], pid, new_image);
	files_settle(&a->model);
}

/* It maps in our memory, and the mapping stays. */
static void vfork_one(struct actor *a, struct dice *d)
{
	struct place p = place_in_window(a, d);
	static __thread void *volatile got;
	uintptr_t at = p.addr;
	say(a, "vfork(), then the child calls mmap(%#lx, %#zx, RW, FIXED)", at, p.bytes);
	pid_t pid = vfork();
	if (pid == 0) {
		got = mmap((void *)at, p.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		_exit(0);
	}
	say_result(a, got == MAP_FAILED ? -1 : 0);
	if (pid > 0)
		child_expect("vfork", pid, false);
	if (pid > 0 && got != MAP_FAILED)
		model_put(&a->model, (struct run){ at, at + bytes_of(pages_of(p.bytes)),
						   IS_MAPPED | IS_CHARGED | IS_READABLE | IS_WRITABLE, NO_THING, 0 });
}

static void spawn_one(struct actor *a, struct dice *d)
{
	pid_t pid;
	(void)d;
	say(a, "posix_spawn(ourselves)");
	int error = posix_spawn(&pid, "/proc/self/exe", NULL, NULL, verify, environ);
	say_error(a, error);
	if (error == 0)
		child_expect("posix_spawn", pid, true);
}

static void system_one(struct actor *a, struct dice *d)
{
	(void)d;
	say(a, "system(true)");
	say_error(a, system("true"));
}

const struct act acts_process[] = {
	{ "fork", 4, fork_one, false },
	{ "vfork", 1, vfork_one, true },
	{ "posix_spawn", 1, spawn_one, false },
	{ "system", 0, system_one, false },
	{ 0 },
};
