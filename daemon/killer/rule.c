/* SPDX-License-Identifier: MIT */
#include "daemon/killer/rule.h"

#include <string.h>

const char *const action_name[ACTION_N] = { "never", "notify", "reclaim", "freeze", "kill" };
const char *const unit_name[UNIT_N] = { "process", "family", "account", "cgroup" };

/* Back to the last star, a byte further, whenever it does not go on: linear in practice, and
 * never worse than the product of the lengths. */
bool pattern_fits(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL;
	while (*text) {
		if (*pattern == '*') {
			star = pattern++;
			resume = text;
		} else if (*pattern == '?' || *pattern == *text) {
			pattern++;
			text++;
		} else if (star) {
			pattern = star + 1;
			text = ++resume;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return *pattern == '\0';
}

bool pattern_is_wild(const char *pattern)
{
	return strpbrk(pattern, "*?") != NULL;
}

/* A group's pattern stands for the groups below it, too. */
static bool cgroup_fits(const char *pattern, const char *path)
{
	char part[RULE_PATTERN_BYTES];
	size_t n = strnlen(path, sizeof part - 1);
	memcpy(part, path, n);
	part[n] = '\0';
	for (;;) {
		if (pattern_fits(pattern, part))
			return true;
		char *slash = strrchr(part, '/');
		if (!slash || part[1] == '\0')
			return false;
		slash[slash == part] = '\0'; /* the root keeps its name */
	}
}

/* A path stands for the file that is there now; and where files have the names there that they
 * have here, also for the one that was there when the program was started. */
static bool exe_fits(const struct rule *r, const struct file_identity *file, const struct identity *who)
{
	static const char DELETED[] = " (deleted)";
	if (file->inode != 0 && file->inode == who->file.inode && file->device == who->file.device)
		return true;
	if (!who->same_files)
		return false;
	char path[RULE_PATTERN_BYTES + sizeof DELETED];
	size_t n = strnlen(who->exe, sizeof path - 1), suffix = sizeof DELETED - 1;
	memcpy(path, who->exe, n);
	path[n] = '\0';
	if (n > suffix && strcmp(path + n - suffix, DELETED) == 0)
		path[n - suffix] = '\0';
	return pattern_fits(r->exe, path);
}

bool rule_knows(const struct rule *r, const struct file_identity *file, const struct identity *who)
{
	if (r->has_user && r->user != who->user)
		return false;
	if (r->has_adj && who->adj < r->adj)
		return false;
	if (r->cgroup[0] && !cgroup_fits(r->cgroup, who->cgroup))
		return false;
	if (r->comm[0] && !pattern_fits(r->comm, who->comm))
		return false;
	return !r->exe[0] || exe_fits(r, file, who);
}
