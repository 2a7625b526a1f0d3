/* SPDX-License-Identifier: MIT */
#include "daemon/killer/group.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/proc.h"

#define MOUNT_BYTES 256

/* A mount of control groups that count memory. */
struct mount {
	char root[MOUNT_BYTES], point[MOUNT_BYTES];
	bool unified, found;
};

static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);
	for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
		if ((at == list || at[-1] == ',') && (at[n] == '\0' || at[n] == ',' || at[n] == ' '))
			return true;
	return false;
}

/* "36 25 0:32 /root /mount/point rw,... - cgroup cgroup rw,memory", man 5 proc_pid_mountinfo */
static bool line_is_mount(void *context, const char *line)
{
	struct mount *m = context, found = { .found = true };
	char type[32], super[512];
	const char *tail = strstr(line, " - ");
	if (!tail || sscanf(line, "%*s %*s %*s %255s %255s", found.root, found.point) != 2 ||
	    sscanf(tail + 3, "%31s %*s %511s", type, super) != 2)
		return false;
	if (strcmp(type, "cgroup") == 0 && has_word(super, "memory")) {
		*m = found;
		return true;
	}
	if (strcmp(type, "cgroup2") == 0) {
		*m = found;
		m->unified = true; /* unless the controller is mounted as v1, further down */
	}
	return false;
}

static int mount_find(struct mount *ret)
{
	*ret = (struct mount){ .found = false };
	int fd = proc_file(getpid(), "mountinfo");
	int r = proc_lines(fd, line_is_mount, ret);
	return r < 0 ? r : ret->found ? 0 : -ENOENT;
}

bool group_is_unified(void)
{
	struct mount m;
	return mount_find(&m) == 0 && m.unified;
}

int group_open(const char *path, struct group *ret)
{
	struct mount m;
	char whole[2 * MOUNT_BYTES + 8];
	int error = mount_find(&m);
	if (error)
		return error;
	/* In a container the mount begins further down. */
	size_t root = strcmp(m.root, "/") == 0 ? 0 : strlen(m.root);
	const char *below = root && strncmp(path, m.root, root) == 0 ? path + root : path;
	snprintf(whole, sizeof whole, "%s/%s", m.point, below);
	ret->unified = m.unified;
	ret->dir = open(whole, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (ret->dir < 0)
		return -errno;
	if (faccessat(ret->dir, m.unified ? "memory.current" : "memory.usage_in_bytes", R_OK, AT_EACCESS) == 0)
		return 0;
	error = -errno;
	close(ret->dir);
	ret->dir = -1;
	return error;
}

int group_file(const struct group *g, const char *name, int flags)
{
	int fd = openat(g->dir, name, flags | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

/* "4:memory:/path" in v1; "0::/path" in v2. A path may hold colons, controllers may not. */
void group_of(const char *text, bool unified, char *ret, size_t n)
{
	ret[0] = '\0';
	for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		const char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
		char list[128];
		if (!path || (size_t)(path - controllers) > sizeof list)
			continue;
		memcpy(list, controllers + 1, (size_t)(path - controllers - 1));
		list[path - controllers - 1] = '\0';
		if (unified ? list[0] != '\0' : !has_word(list, "memory"))
			continue;
		snprintf(ret, n, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
		return;
	}
}

bool group_holds(const char *group, const char *path)
{
	size_t n = strlen(group);
	while (n > 0 && group[n - 1] == '/')
		n--;
	return strncmp(path, group, n) == 0 && (path[n] == '\0' || path[n] == '/');
}
