/* SPDX-License-Identifier: MIT */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/proc.h"

static void proc_is_there(void)
{
	proc_open("/proc");
}

TestSuite(config, .timeout = 20, .init = proc_is_there);

static char said[2048];
static int complaints;
static struct config config;

static void listen_to(void *context, const char *sentence)
{
	(void)context;
	snprintf(said, sizeof said, "%s", sentence);
	complaints++;
}

/* Reads `text` from a file that has no name but this one. */
static int read_text(const char *text, size_t n)
{
	char path[64];
	int fd = memfd_create("test-config", 0);
	cr_assert(write(fd, text, n) == (ssize_t)n);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	said[0] = '\0';
	complaints = 0;
	int error = config_read(path, listen_to, NULL, &config);
	close(fd);
	return error;
}

static int read_string(const char *text)
{
	return read_text(text, strlen(text));
}

Test(config, is_read_as_the_manual_writes_it)
{
	cr_assert(read_string("pool { limit = 8G }                   # of RAM + swap, or a size\n"
			      "account \"pg\" { limit = 300M  guarantee = 100M  warn = 80%  mode = enforce  "
			      "fork = strict  users = {\"root\"} }\n"
			      "account \"cache\" {\n\tlimit = \"25%\"\n\tmode = observe\n\tfork = 30%\n"
			      "\tnoreserve = free\n\tcgroup = /system.slice/cache.service\n\tusers = {\"*\", 33}\n}\n") == 0,
		  "%s", said);
	cr_assert(config.pool == 8u << 18 && config.accounts == 2);
	const struct config_account *pg = &config.account[0], *cache = &config.account[1];
	cr_assert_str_eq(pg->name, "pg");
	cr_assert(pg->policy.limit == 76800 && pg->policy.guarantee == 25600 && pg->policy.warn == 61440);
	cr_assert(pg->policy.mode == ACCOUNT_ENFORCE && pg->policy.fork_percent == 100 && !pg->policy.noreserve_free);
	cr_assert(pg->admission.users == 1 && pg->admission.user[0] == 0 && !pg->admission.everyone);
	cr_assert(cache->policy.limit == 2u << 18 && cache->policy.guarantee == 0);
	cr_assert(cache->policy.mode == ACCOUNT_OBSERVE && cache->policy.fork_percent == 30);
	cr_assert(cache->policy.noreserve_free == 1 && cache->admission.everyone);
	cr_assert_str_eq(cache->admission.cgroup, "/system.slice/cache.service");
	cr_assert(admission_allows(&pg->admission, 0) && !admission_allows(&pg->admission, 1));
	cr_assert(admission_allows(&cache->admission, 4711));
}

Test(config, fills_in_what_is_not_said)
{
	cr_assert(read_string("account a { limit = 100M }\naccount b { }\n") == 0, "%s", said);
	uint64_t nine_tenths = pages_of(proc_memory_bytes() / 10 * 9);
	cr_assert(config.pool >= nine_tenths - 3 && config.pool <= nine_tenths + 3, "%u", config.pool);
	cr_assert(config.account[0].policy.warn == 20480, "80%% of the limit");
	cr_assert(config.account[1].policy.limit == PAGES_MAX && config.account[1].policy.warn == PAGES_MAX);
	cr_assert(!admission_allows(&config.account[0].admission, 1000));
}

Test(config, takes_the_largest_sizes_for_infinity)
{
	cr_assert(read_string("pool { limit = infinity } account a { limit = 16T } account b { limit = infinity }") == 0);
	cr_assert(config.pool == PAGES_MAX && config.account[0].policy.limit == PAGES_MAX);
	cr_assert(config.account[1].policy.limit == PAGES_MAX);
}

Test(config, lets_a_limit_be_larger_than_the_pool)
{
	cr_assert(read_string("pool { limit = 10M } account a { limit = 1T guarantee = 10M }") == 0, "%s", said);
}

Test(config, may_be_empty)
{
	cr_assert(read_string("") == 0 && config.accounts == 0);
	cr_assert(read_string("# nothing yet\n/* nor\n here */ // nor here") == 0 && config.accounts == 0);
}

struct mistake {
	const char *text;
	int line; /* 0: none is told */
	const char *says;
};

static const struct mistake mistakes[] = {
	{ "# one\n# two\naccount a { limit = \"16X\" }", 3,
	  "limit = \"16X\" is not a size; write a number with K, M, G or T, a percentage, or infinity" },
	{ "account a { limit = -1 }", 1, "\"-1\" is not a size" },
	{ "account a { limit = 1e99 }", 1, "\"1e99\" is not a size" },
	{ "account a { limit = 101% }", 1, "is not a size" },
	{ "account a { limit = \"\" }", 1, "is not a size" },
	{ "account a { limit = 99999999P }", 1, "larger than any machine" },
	{ "account a {\nlimit = 0 }", 2, "would refuse everything" },
	{ "account a {\nlimit = 0.000001% }\npool { limit = 1M }", 2, "less than a page" },
	{ "account a { limit = 1M\n\n limit = 2M }", 3, "limit is given twice, first in line 1" },
	{ "account a {\n limit = 10M\n guarantee = 20M }", 3, "its guarantee is more than its limit" },
	{ "account a { guarantee = infinity }", 1, "guarantee = infinity cannot be kept" },
	{ "pool { limit = 10M }\naccount a { guarantee = 8M }\naccount b { guarantee = 4M }", 3,
	  "with account \"b\" the guarantees come to 12 MiB, the pool has 10 MiB" },
	{ "pool { limit = 1M }\npool { limit = 2M }", 2, "given twice" },
	{ "pool { limit = 0 }", 1, "would refuse everything" },
	{ "pool { size = 1M }", 1, "in a pool write limit = SIZE" },
	{ "account a { }\n\naccount a { }", 3, "duplicate title 'a'" },
	{ "account \"\" { }", 1, "name is empty" },
	{ "account \"a/b\" { }", 1, "slash or a control character" },
	{ "account \"a\\tb\" { }", 1, "slash or a control character" },
	{ "account aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa { }", 1, "too long a name" },
	{ "account { }", 1, "missing title" },
	{ "account a {\n memory = 1M }", 2, "no such option 'memory'; in an account write limit, guarantee" },
	{ "budget a { }", 1, "no such option 'budget'; write pool { ... } or account" },
	{ "account a { mode = strict }", 1, "write enforce or observe" },
	{ "account a { fork = 0% }", 1, "write strict, or a percentage" },
	{ "account a { fork = 30 }", 1, "write strict, or a percentage" },
	{ "account a { fork = 101% }", 1, "write strict, or a percentage" },
	{ "account a { noreserve = yes }", 1, "write charge or free" },
	{ "account a { warn = soon }", 1, "is not a size" },
	{ "account a { cgroup = system.slice }", 1, "is not a path" },
	{ "account a {\n users = {\"root\",\n \"nobody-is-called-this\"} }", 3,
	  "no user is called \"nobody-is-called-this\"" },
	{ "account a { users = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17} }", 1, "more than 16 users" },
	{ "account a { users = {99999999999} }", 1, "no user is called" },
	{ "account a { limit = }", 1, "unexpected token" },
	{ "account a { limit 4M }", 1, "missing equal sign" },
	{ "account a\n{ limit = 4M\n", 2, "never closed; write }" },
	{ "account a { }\n}", 2, "closes nothing" },
	{ "account \"a { }\n", 1, "quotation mark is never closed" },
	{ "account a { }\n/* until\n", 2, "comment never ends" },
	{ "account a { }\n\x01", 2, "not text" },
	{ "account \xc3\xa4 { }\n", 1, "not text" },
	{ "include(\"/etc/passwd\")", 1, "no such option 'include'" },
};

Test(config, names_the_line_and_what_to_write)
{
	for (size_t i = 0; i < ARRAY_N(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		struct config before = config;
		char line[32];
		cr_assert(read_string(m->text) != 0, "accepted: %s", m->text);
		cr_assert(complaints == 1, "%d complaints about: %s", complaints, m->text);
		cr_assert(strstr(said, m->says), "for: %s\nit says: %s", m->text, said);
		snprintf(line, sizeof line, ":%d: ", m->line);
		cr_assert(strstr(said, line), "for: %s\nthe line is not %d: %s", m->text, m->line, said);
		cr_assert(memcmp(&before, &config, sizeof config) == 0, "changed by: %s", m->text);
	}
}

Test(config, stops_at_a_nul)
{
	static const char text[] = "account a { limit = 1M }\n\0account b { }";
	cr_assert(read_text(text, sizeof text - 1) != 0);
	cr_assert(strstr(said, ":2: ") && strstr(said, "not text"), "%s", said);
}

Test(config, has_room_for_64_accounts_and_no_more)
{
	static char text[65 * 16];
	size_t n = 0;
	for (int i = 0; i < 64; i++)
		n += (size_t)sprintf(text + n, "account a%d {}\n", i);
	cr_assert(read_text(text, n) == 0 && config.accounts == 64);
	n += (size_t)sprintf(text + n, "account a64 {}\n");
	cr_assert(read_text(text, n) != 0 && strstr(said, ":65: there are more than 64"), "%s", said);
}

Test(config, says_what_is_wrong_with_a_file)
{
	static const struct {
		const char *file, *says;
	} table[] = {
		{ "/nonexistent/solvent.conf", "/nonexistent/solvent.conf: there is no such file" },
		{ "/tmp", "/tmp: this is a directory" },
		{ "/dev/zero", "/dev/zero: this is larger than 1 MiB" },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		complaints = 0;
		cr_assert(config_read(table[i].file, listen_to, NULL, &config) != 0, "%s", table[i].file);
		cr_assert(complaints == 1 && strstr(said, table[i].says), "%s", said);
	}
}

Test(config, asks_for_a_size_where_there_is_nothing_to_take_a_percentage_of)
{
	char empty[] = "/tmp/solvent-config-XXXXXX";
	cr_assert(mkdtemp(empty) != NULL);
	proc_open(empty);
	rmdir(empty);
	cr_assert(read_string("account a { limit = 1M }") != 0);
	cr_assert(strstr(said, "write a size instead of a percentage"), "%s", said);
	cr_assert(read_string("pool { limit = 1G }\naccount a { limit = 1M }") == 0, "%s", said);
}

Test(config, does_not_wait_for_a_writer)
{
	char path[] = "/tmp/solvent-config-XXXXXX", fifo[64];
	cr_assert(mkdtemp(path) != NULL);
	snprintf(fifo, sizeof fifo, "%s/fifo", path);
	cr_assert(mkfifo(fifo, 0600) == 0);
	int error = config_read(fifo, listen_to, NULL, &config);
	unlink(fifo);
	rmdir(path);
	cr_assert(error == 0 && config.accounts == 0);
}

/* Whatever it is, it is read or refused; nothing else happens. */
Test(config, survives_garbage)
{
	static const char words[][16] = { "account", "pool", "limit", "users", "{", "}", "=", "\"", "'", ",", "(", ")",
					  "#", "//", "/*", "*/", "\n", " ", "\\", "$", "${HOME}", "1M", "*", "\t", "a", "+=" };
	static char text[4096];
	uint32_t seed = 7;
	for (int round = 0; round < 3000; round++) {
		size_t n = 0;
		for (int word = 0; word < 40; word++) {
			seed = seed * 1664525u + 1013904223u;
			const char *w = words[(seed >> 10) % ARRAY_N(words)];
			n += (size_t)sprintf(text + n, "%s%s", w, seed >> 30 ? " " : "");
		}
		int error = read_text(text, n);
		cr_assert(complaints == (error ? 1 : 0), "round %d: %s", round, text);
	}
}

Test(config, ships_an_example_that_is_fine)
{
	cr_assert(config_read("dist/solvent.conf", listen_to, NULL, &config) == 0, "%s", said);
	cr_assert(config.accounts > 0);
}
