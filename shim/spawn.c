/* SPDX-License-Identifier: MIT */
/* posix_spawn: its child runs in our memory until it calls exec, so there is no fork to pay
 * for; the new image joins and pays by itself. What is asked here is whether it would fit,
 * because later the child could only die of it. */
#include <alloca.h>
#include <errno.h>
#include <spawn.h>

#include "shim/afford.h"
#include "shim/charge.h"
#include "shim/door.h"
#include "shim/environment.h"
#include "shim/exec.h"
#include "shim/next.h"

/* posix_spawn and posix_spawnp differ in the search alone. */
typedef int spawn_function(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
			   char *const[], char *const[]);

static bool image_fits(const struct image *image, char *const argv[], char *const envp[])
{
	uint64_t paid;
	if (!afford(OP_EXEC, exec_pages(image, argv, envp), CATEGORY_IMAGE, &paid))
		return false;
	charge_give(paid, CATEGORY_IMAGE);
	return true;
}

static int spawn(spawn_function *next_spawn, const struct program *p, pid_t *ret,
		 const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attr, char *const argv[],
		 char *const envp[])
{
	if (self.state != SELF_MEMBER)
		return next_spawn(ret, p->path, actions, attr, argv, envp);
	struct image image = exec_image(p);
	if (!image_fits(&image, argv, envp))
		return ENOMEM;
	size_t room = image.kind != IMAGE_FOREIGN ? environment_missing(envp) : 0;
	if (room != 0)
		envp = environment_complete(envp, alloca(room));
	return next_spawn(ret, p->path, actions, attr, argv, envp);
}

SHIM_EXPORT int posix_spawn(pid_t *ret, const char *path, const posix_spawn_file_actions_t *actions,
			    const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct program p = { .how = EXEC_PATH, .path = path };
	return spawn(next()->posix_spawn, &p, ret, actions, attr, argv, envp);
}

SHIM_EXPORT int posix_spawnp(pid_t *ret, const char *file, const posix_spawn_file_actions_t *actions,
			     const posix_spawnattr_t *attr, char *const argv[], char *const envp[])
{
	struct program p = { .how = EXEC_SEARCH, .path = file };
	return spawn(next()->posix_spawnp, &p, ret, actions, attr, argv, envp);
}
