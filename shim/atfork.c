/* SPDX-License-Identifier: MIT */
/* Before a fork jemalloc takes every lock it has, and afterwards gives them back in the parent
 * and makes them anew in the child: each page with a lock in it is then written to on both sides,
 * and copied. That is for locks that other threads hold. Who has none forks as libc does then,
 * which takes no lock either (nptl/fork.c), and a fork is half as dear.
 *
 * A handler that interrupted this very thread inside jemalloc may fork as well, which with the
 * locks would be a deadlock: the child has a copy of what was begun, and ends it there. */
#include <pthread.h>
#include <sys/single_threaded.h>

#include "shim/afford.h"
#include "shim/arenas.h"
#include "shim/fork.h"
#include "shim/heap.h"
#include "shim/purge.h"
#include "shim/self.h"
#include "shim/tables.h"
#include "shim/vmas.h"

static struct {
	void (*prepare)(void), (*parent)(void), (*child)(void);
} jemalloc;

static void before(void)
{
	/* For those who come after. Where two threads fork at once both write the same. */
	self.forks_alone = __libc_single_threaded;
	if (self.forks_alone)
		return;
	purge_before_fork();
	jemalloc.prepare();
}

static void in_parent(void)
{
	if (self.forks_alone)
		return;
	purge_after_fork();
	jemalloc.parent();
	purge_made_up();
}

static void in_child(void)
{
	if (self.forks_alone)
		return;
	jemalloc.child();
	heap_child();
	tables_child();
	vmas_child();
	arenas_child();
	afford_child();
	purge_child();
}

int heap_door_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
int heap_door_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	fork_register();
	jemalloc.prepare = prepare;
	jemalloc.parent = parent;
	jemalloc.child = child;
	return pthread_atfork(before, in_parent, in_child);
}
