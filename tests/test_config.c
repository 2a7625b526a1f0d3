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

struct mistake {
	const char *text;
	int line; /* 0: none is told */
	const char *says;
};

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

Test(config, reads_watches_and_rules)
{
	cr_assert(read_string("account \"batch/nightly\" { }\n"
			      "watch { warn = 10% act = 1G swap-act = 7% exhaustion = 500ms stall = 40% settle = 50ms }\n"
			      "watch {\n cgroup = /db act = 5%\n}\n"
			      "rule { match-account = \"batch/*\"  action = kill  order = first }\n"
			      "rule { match-exe = \"/usr/sbin/sshd\" match-cgroup = \"/system.slice/*.service\"  action = never }\n"
			      "rule { unmanaged = true  over = 1G  action = kill unit = family signal = SIGINT grace = 5s "
			      "deadline = 250ms order = 7 }\n") == 0, "%s", said);
	const struct watch_policy *machine = &config.watch[0], *db = &config.watch[1];
	cr_assert(config.watches == 2 && config.rules == 3 && machine->line == 2 && db->line == 4);
	cr_assert(threshold_pages(&machine->warn, 1000) == 100 && threshold_pages(&machine->act, 1000) == 1u << 18);
	cr_assert(threshold_pages(&machine->swap_act, 1000) == 70 && threshold_pages(&machine->swap_warn, 1000) == 140);
	cr_assert(machine->exhaustion_ns == 500000000 && machine->settle_ns == 50000000 && machine->stall_ppm == 400000);
	cr_assert(threshold_pages(&db->act, 1000) == 50 && threshold_pages(&db->warn, 1000) == 100);
	cr_assert(db->exhaustion_ns == 0 && db->settle_ns == 100000000 && db->stall_ppm == 0);
	cr_assert_str_eq(db->group, "/db");
	const struct rule *batch = &config.rule[0], *sshd = &config.rule[1], *rest = &config.rule[2];
	cr_assert(batch->action == ACTION_KILL && batch->order == ORDER_FIRST && batch->unit == UNIT_PROCESS);
	cr_assert(batch->signal == 15 && batch->grace_ns == RULE_GRACE_NS && batch->deadline_ns == RULE_DEADLINE_NS);
	cr_assert(sshd->action == ACTION_NEVER && sshd->order == ORDER_MIDDLE && sshd->line == 7);
	cr_assert_str_eq(sshd->exe, "/usr/sbin/sshd");
	cr_assert_str_eq(sshd->cgroup, "/system.slice/*.service");
	cr_assert(rest->managed == MANAGED_NO && rest->cgroup[0] == '\0' && rest->over == 1u << 18 && rest->unit == UNIT_FAMILY);
	cr_assert(rest->signal == 2 && rest->grace_ns == 5000000000ull && rest->deadline_ns == 250000000 && rest->order == 7);
}

static char doubts[4096];

static void doubt_to(void *context, const char *sentence)
{
	(void)context;
	snprintf(doubts + strlen(doubts), sizeof doubts - strlen(doubts), "%s\n", sentence);
}

static uint32_t doubt_string(const char *text)
{
	cr_assert(read_string(text) == 0, "%s", said);
	doubts[0] = '\0';
	return config_doubt("f", &config, doubt_to, NULL);
}

Test(config, doubts_what_makes_no_sense)
{
	static const struct mistake table[] = {
		{ "watch { act = 5% }", 1, "no rule gives anybody up" },
		{ "watch { act = 5% }\nrule { action = never }\n", 1, "no rule gives anybody up" },
		{ "\nrule { action = kill }", 2, "no memory is watched" },
		{ "watch { act = 5% }\nrule { action = kill }\nrule { match-user = 0 action = never }", 3,
		  "never reached: whoever it matches is matched in line 2 before" },
		{ "watch { act = 5% }\nrule { match-exe = \"/usr/bin/*\" action = kill }\n"
		  "rule { match-exe = /usr/bin/make action = never }", 3, "matched in line 2" },
		{ "watch { act = 5% }\nrule { match-cgroup = \"/user.slice/*\" action = kill }\n"
		  "rule { match-cgroup = /user.slice/a match-user = 0 action = never }", 3, "matched in line 2" },
		{ "watch { act = 5% }\nrule { match-account = batch action = kill }", 2, "fits no account" },
		{ "watch { act = 5% }\nrule { match-comm = make action = never }\nrule { action = kill }", 2,
		  "any process can call itself \"make\"" },
	};
	for (size_t i = 0; i < ARRAY_N(table); i++) {
		char line[32];
		cr_assert(doubt_string(table[i].text) == 1, "%s\n%s", table[i].text, doubts);
		snprintf(line, sizeof line, "f:%d: ", table[i].line);
		cr_assert(strstr(doubts, line) && strstr(doubts, table[i].says), "%s\n%s", table[i].text, doubts);
	}
}

Test(config, doubts_nothing_that_makes_sense)
{
	cr_assert(doubt_string("") == 0);
	cr_assert(doubt_string("account \"batch/a\" { }\nwatch { }\nrule { match-account = \"batch/*\" action = kill }\n"
			       "rule { match-exe = /usr/bin/make action = never }\nrule { match-exe = \"/usr/bin/*\" action = kill }\n"
			       "rule { unmanaged = true over = 1G action = kill }\nrule { unmanaged = true over = 1M action = kill }"
			       "rule { match-cgroup = /a action = kill }\nrule { match-cgroup = /b action = kill }\n"
			       "rule { match-user = 0 action = never }\nrule { action = notify }") == 0, "%s", doubts);
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
	{ "account \"/a\" { }", 1, "a slash that is not between two parts" },
	{ "account \"a/\" { }", 1, "a slash that is not between two parts" },
	{ "account \"a//b\" { }", 1, "a slash that is not between two parts" },
	{ "account \"a\\tb\" { }", 1, "control character" },
	{ "account aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa { }", 1, "too long a name" },
	{ "account { }", 1, "missing title" },
	{ "account a {\n memory = 1M }", 2, "no such option 'memory'; in an account write limit, guarantee" },
	{ "budget a { }", 1, "no such option 'budget'; write pool { ... }, account" },
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
	{ "watch {\n act = 0 }", 2, "act = \"0\" never comes" },
	{ "watch {\n act = 100% }", 2, "is always the case" },
	{ "watch {\n act = much }", 2, "is not an amount of memory" },
	{ "watch {\n act = 10%\n\n warn = 5% }", 4, "warn is less than act" },
	{ "watch { swap-act = 10% swap-warn = 5% }", 1, "swap-warn is less than swap-act" },
	{ "watch {\n cgroup = /a\n swap-act = 5% }", 3, "of a control group only memory is watched" },
	{ "watch { cgroup = a }", 1, "is not a path" },
	{ "watch { act = 1% }\nwatch {\n act = 2% }", 3, "watched already" },
	{ "watch { exhaustion = 5 }", 1, "is not a time; write a whole number and ms, s or m" },
	{ "watch { stall = 500ms }", 1, "is no part of the time; write a percentage from 1% to 100%" },
	{ "watch { stall = 0% }", 1, "is no part of the time" },
	{ "watch { settle = 61m }", 1, "is not a time" },
	{ "watch { limit = 5 }", 1, "in a watch write cgroup, warn, act" },
	{ "rule {\n unmanaged = true }", 2, "this rule has no action" },
	{ "rule { action = shoot }", 1, "write never, notify, reclaim, freeze or kill" },
	{ "rule { action = kill\n order = soon }", 2, "write first, last, or a number from 0 to 100" },
	{ "rule { action = kill order = 101 }", 1, "write first, last, or a number" },
	{ "rule { action = kill unit = host }", 1, "write process, family, account or cgroup" },
	{ "rule { action = kill signal = NONE }", 1, "write TERM, or another's name" },
	{ "rule { action = freeze\n grace = 1s }", 2, "grace is for action = kill" },
	{ "rule { action = kill managed = true\n unmanaged = true }", 2, "contradict each other" },
	{ "rule { action = kill match-account = a\n unmanaged = true }", 2, "who is in an account is managed" },
	{ "rule { action = kill unmanaged = true\n unit = account }", 2, "who is not managed has no account" },
	{ "rule { action = kill managed = yes }", 1, "write true or false" },
	{ "rule { action = kill over = 10% }", 1, "over = \"10%\" is not a size" },
	{ "rule { action = kill match-exe = sshd }", 1, "is not a path" },
	{ "rule { action = kill\n match-cgroup = user.slice }", 2, "match-cgroup = \"user.slice\" is not a path; write it from /" },
	{ "rule { action = kill match-cgroup = \"\" }", 1, "match-cgroup is empty; leave it out" },
	{ "rule { action = kill match-comm = \"\" }", 1, "leave it out to match everything" },
	{ "rule { action = kill match-user = nobody-is-called-this }", 1, "no user is called" },
	{ "rule { action = kill match-oom-score-adj = 1001 }", 1, "a number from -1000 to 1000" },
	{ "rule { action = kill\n action = never }", 2, "action is given twice, first in line 1" },
	{ "rule { kill = true }", 1, "in a rule write match-account" },
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
