/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <string.h>

#include "daemon/killer/rule.h"

TestSuite(rule, .timeout = 20);

Test(rule, has_patterns)
{
	static const struct {
		const char *pattern, *text;
		bool fits;
	} table[] = {
		{ "", "", true },	     { "", "a", false },	  { "a", "", false },
		{ "a", "a", true },	     { "a", "ab", false },	  { "ab", "a", false },
		{ "*", "", true },	     { "*", "anything", true },	  { "**", "", true },
		{ "?", "", false },	     { "?", "a", true },	  { "?", "ab", false },
		{ "a*", "a", true },	     { "a*", "ba", false },	  { "*a", "ba", true },
		{ "*a", "ab", false },	     { "a*c", "abbc", true },	  { "a*c", "abbcd", false },
		{ "a*b*c", "aXbYbZc", true }, { "a*b*c", "acb", false },  { "*ab", "aab", true },
		{ "*aab", "aaab", true },    { "a?c", "abc", true },	  { "a?c", "ac", false },
		{ "*?", "", false },	     { "*?", "a", true },	  { "?*?", "ab", true },
		{ "?*?", "a", false },	     { "batch/*", "batch/nightly", true }, { "batch/*", "batch", false },
		{ "/usr/*/sshd", "/usr/local/sbin/sshd", true }, { "*", "with a/slash", true },
		{ "a*", "A", false },	     { "a*b", "a*b", true },	  { "a?b", "a?b", true },
		{ "[ab]", "a", false },	     { "[ab]", "[ab]", true },	  { "a\\*", "a*", false },
		{ "\xc3?", "\xc3\xa9", true }, { "?", "\xc3\xa9", false }, { "*\n*", "two\nlines", true },
		{ "mississip*issip*", "mississipissippi", true }, { "*****a*****", "bbbabbb", true },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(pattern_fits(table[i].pattern, table[i].text) == table[i].fits, "\"%s\" and \"%s\"",
			  table[i].pattern, table[i].text);
	cr_assert(pattern_is_wild("a*") && pattern_is_wild("?") && !pattern_is_wild("/usr/bin/a") && !pattern_is_wild(""));
}

/* Backtracking star by star would take longer than the world stands. */
Test(rule, patterns_end_whatever_they_are)
{
	static char pattern[RULE_PATTERN_BYTES], text[65536];
	for (size_t i = 0; i + 3 < sizeof pattern; i += 2)
		memcpy(pattern + i, "*a", 2);
	memset(text, 'a', sizeof text - 1);
	cr_assert(pattern_fits(pattern, text));
	text[sizeof text - 2] = 'b';
	cr_assert(!pattern_fits(pattern, text));
	strcpy(pattern, "*aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac");
	cr_assert(!pattern_fits(pattern, text));
}

#define SSHD { 8, 1001 }
#define HOG { 8, 1002 }

/* What it names now, and who it is; its rule matches all else. */
struct known {
	const char *name;
	struct rule rule;
	struct file_identity names;
	struct identity who;
	bool knows;
};

static const struct known table[] = {
	{ "everybody", { .action = ACTION_KILL }, { 0, 0 }, { .cgroup = "/", .exe = "", .comm = "a" }, true },

	{ "its user", { .has_user = true, .user = 7 }, { 0, 0 }, { .user = 7 }, true },
	{ "another user", { .has_user = true, .user = 7 }, { 0, 0 }, { .user = 8 }, false },
	{ "root by its number", { .has_user = true, .user = 0 }, { 0, 0 }, { .user = 8 }, false },
	{ "any user", { .has_user = false, .user = 7 }, { 0, 0 }, { .user = 8 }, true },

	{ "adj as much", { .has_adj = true, .adj = 300 }, { 0, 0 }, { .adj = 300 }, true },
	{ "adj more", { .has_adj = true, .adj = 300 }, { 0, 0 }, { .adj = 1000 }, true },
	{ "adj less", { .has_adj = true, .adj = 300 }, { 0, 0 }, { .adj = 299 }, false },
	{ "adj below zero", { .has_adj = true, .adj = -500 }, { 0, 0 }, { .adj = -499 }, true },
	{ "adj further below", { .has_adj = true, .adj = -500 }, { 0, 0 }, { .adj = -1000 }, false },
	{ "adj of zero is one", { .has_adj = true, .adj = 0 }, { 0, 0 }, { .adj = -1 }, false },

	{ "its cgroup", { .cgroup = "/db" }, { 0, 0 }, { .cgroup = "/db" }, true },
	{ "a cgroup below", { .cgroup = "/db" }, { 0, 0 }, { .cgroup = "/db/a/b" }, true },
	{ "a cgroup above", { .cgroup = "/db/a" }, { 0, 0 }, { .cgroup = "/db" }, false },
	{ "a cgroup beside", { .cgroup = "/db" }, { 0, 0 }, { .cgroup = "/dbx" }, false },
	{ "a cgroup of that name elsewhere", { .cgroup = "/db" }, { 0, 0 }, { .cgroup = "/a/db" }, false },
	{ "below a pattern", { .cgroup = "/user.slice/*.scope" }, { 0, 0 }, { .cgroup = "/user.slice/a.scope/b" }, true },
	{ "not below that", { .cgroup = "/user.slice/*.scope" }, { 0, 0 }, { .cgroup = "/user.slice/a.service" }, false },
	{ "the root is above all", { .cgroup = "/" }, { 0, 0 }, { .cgroup = "/a/b" }, true },
	{ "the root itself", { .cgroup = "/" }, { 0, 0 }, { .cgroup = "/" }, true },
	{ "not in the root", { .cgroup = "/a" }, { 0, 0 }, { .cgroup = "/" }, false },
	{ "a cgroup that is unknown", { .cgroup = "/db" }, { 0, 0 }, { .cgroup = "" }, false },

	{ "its file", { .exe = "/usr/sbin/sshd" }, SSHD,
	  { .exe = "/usr/sbin/sshd", .file = SSHD, .same_files = true }, true },
	{ "its file by another name", { .exe = "/usr/sbin/sshd" }, SSHD,
	  { .exe = "/opt/link", .file = SSHD, .same_files = true }, true },
	{ "its file, seen from a container", { .exe = "/usr/sbin/sshd" }, SSHD, { .exe = "/s", .file = SSHD }, true },
	{ "that name in a container", { .exe = "/usr/sbin/sshd" }, SSHD, { .exe = "/usr/sbin/sshd", .file = HOG }, false },
	{ "that name, deleted, in a container", { .exe = "/usr/sbin/sshd" }, SSHD,
	  { .exe = "/usr/sbin/sshd (deleted)", .file = HOG }, false },
	{ "that pattern in a container", { .exe = "/usr/sbin/*" }, { 0, 0 }, { .exe = "/usr/sbin/sshd", .file = HOG }, false },
	{ "that number on another device", { .exe = "/usr/sbin/sshd" }, SSHD, { .exe = "/x", .file = { 9, 1001 } }, false },
	{ "the file before an upgrade", { .exe = "/usr/sbin/sshd" }, SSHD,
	  { .exe = "/usr/sbin/sshd (deleted)", .file = { 8, 999 }, .same_files = true }, true },
	{ "only the end is cut off", { .exe = "/usr/sbin/sshd" }, SSHD,
	  { .exe = "/usr/sbin/sshd (deleted) (deleted)", .file = HOG, .same_files = true }, false },
	{ "no file is no file's", { .exe = "/usr/sbin/none" }, { 0, 0 },
	  { .exe = "/bin/hog", .file = { 0, 0 }, .same_files = true }, false },
	{ "a pattern of a path", { .exe = "/usr/*/make" }, { 0, 0 },
	  { .exe = "/usr/local/bin/make", .file = HOG, .same_files = true }, true },
	{ "another path", { .exe = "/usr/bin/make" }, SSHD,
	  { .exe = "/usr/bin/cmake", .file = HOG, .same_files = true }, false },
	{ "who has none", { .exe = "/usr/bin/make" }, SSHD, { .exe = "", .same_files = true }, false },

	{ "its comm", { .comm = "make" }, { 0, 0 }, { .comm = "make" }, true },
	{ "another comm", { .comm = "make" }, { 0, 0 }, { .comm = "cmake" }, false },
	{ "a pattern of it", { .comm = "kworker/*" }, { 0, 0 }, { .comm = "kworker/0:1" }, true },
	{ "a comm of many kinds", { .comm = "*) (*" }, { 0, 0 }, { .comm = "a) (b\nc" }, true },

	{ "all of it at once", { .has_user = true, .user = 7, .has_adj = true, .cgroup = "/a", .exe = "/b", .comm = "b" },
	  HOG, { .user = 7, .adj = 0, .cgroup = "/a", .exe = "/b", .comm = "b", .file = HOG }, true },
	{ "all but its comm", { .has_user = true, .user = 7, .has_adj = true, .cgroup = "/a", .exe = "/b", .comm = "b" },
	  HOG, { .user = 7, .adj = 0, .cgroup = "/a", .exe = "/b", .comm = "c", .file = HOG }, false },
};

Test(rule, knows_who_it_is_about)
{
	for (size_t i = 0; i < ARRAY_N(table); i++)
		cr_assert(rule_knows(&table[i].rule, &table[i].names, &table[i].who) == table[i].knows, "%s", table[i].name);
}

/* A path as long as the kernel's is cut to what a pattern can be as long as, not written past. */
Test(rule, paths_may_be_long)
{
	static char long_path[4096];
	memset(long_path, 'd', sizeof long_path - 1);
	long_path[0] = '/';
	struct identity who = { .cgroup = long_path, .exe = long_path, .comm = "a", .same_files = true };
	struct file_identity none = { 0, 0 };
	static const struct rule by_cgroup = { .cgroup = "/d" }, by_exe = { .exe = "/d" }, any = { .exe = "/*d" };
	cr_assert(!rule_knows(&by_cgroup, &none, &who) && !rule_knows(&by_exe, &none, &who) && rule_knows(&any, &none, &who));
	for (size_t i = 2; i < sizeof long_path - 1; i += 2)
		long_path[i] = '/';
	cr_assert(rule_knows(&by_cgroup, &none, &who));
}
