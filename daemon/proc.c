/* SPDX-License-Identifier: MIT */
/* The broker trusts the kernel and nobody else; this is where it asks. stdio and
 * opendir(3) allocate, so files are read with read(2) into the stack and directories with
 * getdents64(2). */
#include "daemon/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "daemon/broker.h"

static int root_fd = -1;

int proc_open(const char *root)
{
	int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (root_fd >= 0)
		close(root_fd);
	root_fd = fd;
	return 0;
}

int proc_descriptor(void)
{
	return root_fd;
}

static int file_open(const char *path)
{
	int fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : fd;
}

int proc_file(int32_t pid, const char *name)
{
	char path[64];
	snprintf(path, sizeof path, "%d/%s", pid, name);
	return file_open(path);
}

ssize_t proc_text(int fd, char *buffer, size_t bytes)
{
	if (fd < 0)
		return fd;
	size_t n = 0;
	ssize_t r = 0;
	while (n < bytes - 1 && (r = read(fd, buffer + n, bytes - 1 - n)) > 0)
		n += (size_t)r;
	int error = errno;
	close(fd);
	buffer[n] = '\0';
	return n == 0 ? (r < 0 ? -error : -ESRCH) : (ssize_t)n;
}

/* `field` of the numbers after the name, counted as in proc(5). */
static uint64_t stat_field(const char *after_name, int field)
{
	for (int i = 2; i < field && after_name; i++) {
		after_name = strchr(after_name, ' ');
		if (after_name)
			after_name++;
	}
	return after_name ? strtoull(after_name, NULL, 10) : 0;
}

/* Where the name ends: it may hold anything, spaces and brackets too; the last bracket is ours.
 * NULL: this is no such line. */
static char *stat_parse(char *text, struct proc_stat *ret)
{
	char *open = strchr(text, '('), *close_ = strrchr(text, ')');
	if (!open || !close_ || close_ < open || close_[1] != ' ')
		return NULL;
	*close_ = '\0';
	struct proc_stat s = { .state = close_[2], .parent = (int32_t)stat_field(close_ + 1, 4),
			       .start_ticks = stat_field(close_ + 1, 22) };
	strncpy(s.comm, open + 1, sizeof s.comm - 1);
	*ret = s;
	return close_ + 1;
}

int proc_stat(int32_t pid, struct proc_stat *ret)
{
	char text[1024];
	ssize_t n = proc_text(proc_file(pid, "stat"), text, sizeof text);
	if (n < 0)
		return (int)n;
	return stat_parse(text, ret) ? 0 : -EPROTO;
}

int proc_life_parse(char *text, struct proc_life *ret)
{
	static const int image_field[] = { 26, 28, 48 };
	const char *after_name = stat_parse(text, &ret->stat);
	if (!after_name)
		return -EPROTO;
	ret->flags = (uint32_t)stat_field(after_name, 9);
	ret->faults = stat_field(after_name, 10) + stat_field(after_name, 12);
	ret->ticks = stat_field(after_name, 14) + stat_field(after_name, 15);
	for (size_t i = 0; i < ARRAY_N(image_field); i++)
		ret->image[i] = stat_field(after_name, image_field[i]);
	return 0;
}

/* The rest of the line that begins with `key`. Closes `fd`, as proc_text. */
static int line_find(int fd, const char *key, char *text, size_t bytes, char **ret)
{
	ssize_t n = proc_text(fd, text, bytes);
	if (n < 0)
		return (int)n;
	size_t length = strlen(key);
	for (char *line = text; line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
		if (strncmp(line, key, length) != 0)
			continue;
		*ret = line + length;
		(*ret)[strcspn(*ret, "\n")] = '\0';
		return 0;
	}
	return -EPROTO;
}

/* A name's newlines are escaped in /proc/PID/status, so a line's beginning is a line's beginning. */
static int status_line(int32_t pid, const char *key, char *text, size_t bytes, char **ret)
{
	return line_find(proc_file(pid, "status"), key, text, bytes, ret);
}

/* "Uid: real effective saved file-system" */
static int uid_read(int32_t pid, int field, uid_t *ret)
{
	char text[2048], *line;
	int error = status_line(pid, "Uid:\t", text, sizeof text, &line);
	if (error)
		return error;
	for (int i = 0; i <= field; i++)
		*ret = (uid_t)strtoul(line, &line, 10);
	return 0;
}

int proc_uid(int32_t pid, uid_t *ret)
{
	return uid_read(pid, 0, ret);
}

int proc_effective_uid(int32_t pid, uid_t *ret)
{
	return uid_read(pid, 1, ret);
}

bool proc_handles(int32_t pid, int signal)
{
	char text[4096], *line;
	if (status_line(pid, "SigCgt:\t", text, sizeof text, &line) != 0)
		return false;
	return strtoull(line, NULL, 16) >> (signal - 1) & 1;
}

int proc_inode(int at, const char *path, uint64_t *ret_device, uint64_t *ret_inode)
{
	struct statx st;
	if (statx(at, path, AT_STATX_DONT_SYNC, STATX_INO, &st) != 0)
		return -errno;
	*ret_device = makedev(st.stx_dev_major, st.stx_dev_minor);
	*ret_inode = st.stx_ino;
	return 0;
}

/* /proc/self/fdinfo/FD */
static int fdinfo_open(int fd)
{
	char path[64];
	snprintf(path, sizeof path, "self/fdinfo/%d", fd);
	return file_open(path);
}

/* The line alone costs a third of /proc/PID/status (the kernel's pidfd_show_fdinfo), and is of that very
 * process. Who has capabilities from its file, and is not root, may not read its own fdinfo. */
bool proc_is_foreign(int32_t pid, int pidfd)
{
	char text[4096], *line;
	if (line_find(fdinfo_open(pidfd), "NSpid:\t", text, sizeof text, &line) != 0 &&
	    status_line(pid, "NSpid:\t", text, sizeof text, &line) != 0)
		return false;
	return strchr(line, '\t') != NULL;
}

/* Is this line of /proc/PID/maps a shared and writable mapping of that file, and a ledger?
 * "7f..-7f.. rw-s 00000000 00:01 2049   /memfd:solvent-ledger (deleted)"
 * Anybody may call a file of his own so, and choose among inode numbers; a device of the
 * kernel's own nobody has. */
static bool maps_line_is(const char *line, dev_t device, uint64_t inode)
{
	unsigned long long its_inode;
	unsigned int high, low;
	char mode[5];
	if (!strstr(line, " /memfd:solvent-ledger"))
		return false;
	return sscanf(line, "%*x-%*x %4s %*x %x:%x %llu", mode, &high, &low, &its_inode) == 4 && mode[1] == 'w' &&
	       mode[3] == 's' && makedev(high, low) == device && its_inode == inode;
}

/* How long a question may take: of our own time, and, where we are kept waiting, of everybody's. */
struct patience {
	uint64_t own_ns, all_ns;
};

static struct patience patience_begin(void)
{
	return (struct patience){ clock_ns(CLOCK_THREAD_CPUTIME_ID) + PROC_MAPS_NS,
				  clock_ns(CLOCK_MONOTONIC) + PROC_MAPS_WAIT_NS };
}

static bool patience_is_over(const struct patience *p)
{
	return p && (clock_ns(CLOCK_MONOTONIC) >= p->all_ns || clock_ns(CLOCK_THREAD_CPUTIME_ID) >= p->own_ns);
}

/* The rest of a line that was too long is no line: whoever names a file chooses what stands there. */
static int lines_read(int fd, bool (*each)(void *context, const char *line), void *context,
		      const struct patience *patience)
{
	char buffer[16384];
	bool stopped = false, too_long = false, late = false;
	size_t kept = 0;
	ssize_t n = 0;
	if (fd < 0)
		return fd;
	while (!stopped && !(late = patience_is_over(patience)) &&
	       (n = read(fd, buffer + kept, sizeof buffer - 1 - kept)) > 0) {
		buffer[kept + (size_t)n] = '\0';
		char *line = buffer, *end;
		for (; !stopped && (end = strchr(line, '\n')); line = end + 1) {
			*end = '\0';
			stopped = !too_long && each(context, line);
			too_long = false;
		}
		kept = strlen(line);
		too_long |= kept == sizeof buffer - 1;
		kept = too_long ? 0 : kept;
		memmove(buffer, line, kept);
	}
	int error = late ? -ETIME : n < 0 ? -errno : 0;
	close(fd);
	return stopped ? 1 : error;
}

int proc_lines(int fd, bool (*each)(void *context, const char *line), void *context)
{
	return lines_read(fd, each, context, NULL);
}

struct file {
	dev_t device;
	uint64_t inode;
};

static bool line_is_ledger(void *context, const char *line)
{
	const struct file *f = context;
	return maps_line_is(line, f->device, f->inode);
}

/* PROCMAP_QUERY of include/uapi/linux/fs.h, since Linux 6.11 */
struct query {
	uint64_t bytes, flags, address;
	uint64_t start, end, mode, page_bytes, offset, inode;
	uint32_t major, minor, name_bytes, build_id_bytes;
	uint64_t name, build_id;
};
#define QUERY _IOWR('f', 17, struct query)
#define QUERY_SHARED_FILES (0x02u | 0x08u | 0x10u | 0x20u) /* writable, shared; here or next; of a file */

/* Only mappings that may be the one are seen, and no names are made: 70 ns for each that is not.
 * What the kernel does not answer is read. */
static int maps_query(int fd, const struct file *f, const struct patience *patience)
{
	struct query q = { .bytes = sizeof q, .flags = QUERY_SHARED_FILES };
	for (; ioctl(fd, QUERY, &q) == 0; q.address = q.end) {
		if (makedev(q.major, q.minor) == f->device && q.inode == f->inode)
			return 1;
		if (patience_is_over(patience))
			return -ETIME;
	}
	return errno == ENOENT ? 0 : -errno;
}

int proc_maps(int32_t pid, dev_t device, uint64_t inode)
{
	struct file file = { device, inode };
	struct patience patience = patience_begin();
	int fd = proc_file(pid, "maps");
	int maps = fd < 0 ? fd : maps_query(fd, &file, &patience);
	if (fd < 0 || (maps < 0 && maps != -ETIME))
		return lines_read(fd, line_is_ledger, &file, &patience);
	close(fd);
	return maps;
}

static bool path_is_under(const char *path, const char *prefix)
{
	size_t n = strlen(prefix);
	while (n > 0 && prefix[n - 1] == '/')
		n--;
	return strncmp(path, prefix, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool proc_in_cgroup(int32_t pid, const char *prefix)
{
	char text[8192];
	if (proc_text(proc_file(pid, "cgroup"), text, sizeof text) < 0)
		return false;
	for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		/* "hierarchy:controllers:path"; a path may hold colons, controllers may not. */
		char *path = strchr(line, ':');
		path = path ? strchr(path + 1, ':') : NULL;
		if (path && path_is_under(path + 1, prefix))
			return true;
	}
	return false;
}

static uint64_t meminfo_kib(const char *text, const char *key)
{
	const char *line = strstr(text, key);
	return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

uint64_t proc_memory_bytes(void)
{
	char text[8192];
	if (proc_text(file_open("meminfo"), text, sizeof text) < 0)
		return 0;
	return (meminfo_kib(text, "MemTotal:") + meminfo_kib(text, "SwapTotal:")) << 10;
}

static int walk_begin(struct proc_walk *w, const char *directory)
{
	int fd = openat(root_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	w->fd = fd;
	w->bytes = w->at = 0;
	w->place = 0;
	return 0;
}

int proc_walk_open(struct proc_walk *w)
{
	return walk_begin(w, ".");
}

int proc_walk_resume(struct proc_walk *w, int64_t place)
{
	int error = walk_begin(w, ".");
	if (error || place == 0)
		return error;
	w->place = place;
	if (lseek(w->fd, place, SEEK_SET) == place)
		return 0;
	error = -errno;
	close(w->fd);
	return error;
}

int proc_walk_threads(struct proc_walk *w, int32_t pid)
{
	char path[32];
	snprintf(path, sizeof path, "%d/task", pid);
	return walk_begin(w, path);
}

/* man 2 getdents64 */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t bytes;
	uint8_t type;
	char name[];
};

int32_t proc_walk_next(struct proc_walk *w)
{
	for (;;) {
		if (w->at >= w->bytes) {
			w->bytes = syscall(SYS_getdents64, w->fd, w->entries, sizeof w->entries);
			w->at = 0;
			if (w->bytes <= 0)
				return 0;
		}
		const struct entry *e = (const struct entry *)(w->entries + w->at);
		w->at += e->bytes;
		w->place = e->offset;
		if (e->name[0] >= '1' && e->name[0] <= '9')
			return (int32_t)strtol(e->name, NULL, 10);
	}
}

void proc_walk_close(struct proc_walk *w)
{
	close(w->fd);
}
