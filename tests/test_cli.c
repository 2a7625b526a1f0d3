/* SPDX-License-Identifier: MIT */
/* The pure half of solvent(1): words, numbers, the environment, the private broker's
 * configuration, the closing lines, and the readers of /proc. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <gnu/libc-version.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/preload.h"
#include "cli/private.h"
#include "cli/record.h"
#include "cli/smaps.h"
#include "cli/summary.h"
#include "cli/symbols.h"
#include "cli/text.h"

TestSuite(text, .timeout = 20);
TestSuite(preload, .timeout = 20);
TestSuite(private, .timeout = 20);
TestSuite(summary, .timeout = 20);
TestSuite(record, .timeout = 20);
TestSuite(smaps, .timeout = 20);

/* --- text --- */

Test(text, cleans_what_a_ledger_may_hold)
{
	static const struct {
		const char *from;
		size_t n;
		const char *want;
	} ROWS[] = {
		{ "sort", 16, "sort" },
		{ "not terminated", 3, "not" },
		{ "", 16, "" },
		{ "a\nb\x1b[2J\x7f", 16, "a?b?[2J?" },
		{ "\xc3\xa9t\xc3\xa9", 16, "??t??" },
	};
	for (size_t i = 0; i < ARRAY_N(ROWS); i++)
		cr_expect_str_eq(text_clean(ROWS[i].from, ROWS[i].n).s, ROWS[i].want, "row %zu", i);
}

Test(text, cuts_what_is_too_long)
{
	char long_name[1000];
	memset(long_name, 'x', sizeof long_name);
	cr_assert_eq(strlen(text_clean(long_name, sizeof long_name).s), sizeof(struct text) - 1);
}

Test(text, writes_times_as_rfc_3339)
{
	cr_assert_str_eq(text_time(0).s, "1970-01-01T00:00:00.000Z");
	cr_assert_str_eq(text_time(1769860800123456789).s, "2026-01-31T12:00:00.123Z");
	cr_assert_str_eq(text_time(UINT64_MAX).s, "2554-07-21T23:34:33.709Z");
}

Test(text, writes_infinity_as_a_word)
{
	cr_assert_str_eq(text_limit(PAGES_MAX).s, "infinity");
	cr_assert_str_eq(text_limit(4096).s, "16.0 MiB");
}

Test(text, has_a_word_for_every_number_of_the_contract)
{
	for (uint32_t n = 0; n < 100; n++) {
		bool known = strcmp(mode_name(n), "unknown") != 0;
		cr_expect_eq(known, n < ACCOUNT_MODE_N, "mode %u", n);
		known = strcmp(category_name(n), "unknown") != 0;
		cr_expect_eq(known, n < CATEGORY_N, "category %u", n);
		known = strcmp(object_kind_name(n), "unknown") != 0;
		cr_expect_eq(known, n < OBJECT_KIND_N, "kind %u", n);
		known = strcmp(op_name(n), "unknown") != 0;
		cr_expect_eq(known, n > OP_NONE && n < OP_N, "op %u", n);
		known = strcmp(reason_name(n), "unknown") != 0;
		cr_expect_eq(known, n > REASON_NONE && n < REASON_N, "reason %u", n);
	}
}

/* --- preload --- */

Test(preload, puts_ours_in_front_and_keeps_the_others)
{
	static const struct {
		const char *library, *old, *want;
	} ROWS[] = {
		{ "/o/libsolvent.so", NULL, "/o/libsolvent.so" },
		{ "/o/libsolvent.so", "", "/o/libsolvent.so" },
		{ "/o/libsolvent.so", "liba.so", "/o/libsolvent.so:liba.so" },
		{ "/o/libsolvent.so", "liba.so /b.so:c", "/o/libsolvent.so:liba.so:/b.so:c" },
		{ "/o/libsolvent.so", "/o/libsolvent.so", "/o/libsolvent.so" },
		{ "/o/libsolvent.so", "a:/other/libsolvent.so b", "/o/libsolvent.so:a:b" },
		{ "/o/libsolvent.so", "libsolvent.so", "/o/libsolvent.so" },
		{ "/o/libsolvent.so", "notlibsolvent.so", "/o/libsolvent.so:notlibsolvent.so" },
		{ "/o/libsolvent.so", " : a:: ", "/o/libsolvent.so:a" },
		{ NULL, "/o/libsolvent.so:a", "a" },
		{ NULL, "/o/libsolvent.so", "" },
		{ NULL, NULL, "" },
	};
	for (size_t i = 0; i < ARRAY_N(ROWS); i++) {
		char *value = preload_value(ROWS[i].library, ROWS[i].old);
		cr_expect_str_eq(value, ROWS[i].want, "row %zu", i);
		free(value);
	}
}

Test(preload, knows_which_paths_ld_so_would_split)
{
	cr_assert(preload_can_name("/usr/lib/solvent/libsolvent.so"));
	cr_assert_not(preload_can_name("/home/a b/libsolvent.so"));
	cr_assert_not(preload_can_name("/home/a:b/libsolvent.so"));
}

Test(preload, finds_files_beside_the_program_first)
{
	char self[PATH_MAX], found[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	cr_assert(n > 0);
	self[n] = '\0';
	cr_assert_eq(preload_locate(strrchr(self, '/') + 1, "/usr/bin", found), 0);
	cr_assert_str_eq(found, self);
	cr_assert_eq(preload_locate("env", "/usr/bin", found), 0, "else in the directory given");
	cr_assert_str_eq(found, "/usr/bin/env");
	cr_assert_eq(preload_locate("no-such-file", "/usr/bin", found), -ENOENT);
}

/* --- the private broker --- */

Test(private, names_the_account_after_the_command)
{
	static const struct {
		const char *command, *want;
	} ROWS[] = {
		{ "sort", "sort" },
		{ "/usr/bin/python3.11", "python3.11" },
		{ "./a \"b\"\n{}", "a__b____" },
		{ "dir/", "run" },
		{ "\xc3\xa9", "__" },
	};
	for (size_t i = 0; i < ARRAY_N(ROWS); i++) {
		char name[ACCOUNT_NAME_BYTES];
		private_account_name(ROWS[i].command, name);
		cr_expect_str_eq(name, ROWS[i].want, "row %zu", i);
	}
}

Test(private, cuts_a_long_name_to_an_account_s)
{
	char command[1000] = { 0 }, name[ACCOUNT_NAME_BYTES];
	memset(command, 'x', sizeof command - 1);
	private_account_name(command, name);
	cr_assert_eq(strlen(name), (size_t)ACCOUNT_NAME_BYTES - 1);
}

Test(private, writes_the_configuration_that_was_wished)
{
	char text[512];
	struct private_wish wish = { "sort", 4096, "observe", "30%" };
	int n = private_config(&wish, text, sizeof text);
	cr_assert_eq((size_t)n, strlen(text));
	cr_assert_not_null(strstr(text, "account \"sort\""));
	cr_assert_not_null(strstr(text, "limit = 16384K"));
	cr_assert_not_null(strstr(text, "mode = observe"));
	cr_assert_not_null(strstr(text, "fork = \"30%\""));
	wish.limit_pages = PAGES_MAX;
	private_config(&wish, text, sizeof text);
	cr_assert_null(strstr(text, "4294967295"));
	cr_assert_not_null(strstr(text, "\tlimit = infinity"));
}

/* --- the closing lines --- */

Test(summary, says_how_it_ended)
{
	cr_assert_str_eq(summary_end(0).s, "exited 0");
	cr_assert_str_eq(summary_end(37 << 8).s, "exited 37");
	cr_assert_str_eq(summary_end(SIGKILL).s, "killed by signal 9 (Killed)");
	cr_assert_str_eq(summary_end(SIGSEGV | 0x80).s, "killed by signal 11 (Segmentation fault)");
}

Test(summary, writes_a_common_unit_once)
{
	cr_assert_str_eq(summary_peak(3917, 4096).s, "15.3 of 16.0 MiB");
	cr_assert_str_eq(summary_peak(10, 4096).s, "40 KiB of 16.0 MiB");
	cr_assert_str_eq(summary_peak(4096, PAGES_MAX).s, "16.0 MiB");
}

/* --- a refusal --- */

static struct refusal refusal_make(void)
{
	struct refusal r = { .pid = 6888, .comm = "sort", .op = OP_MALLOC, .reason = REASON_LIMIT,
			     .bytes = 256 << 20, .limit = 4096, .used = 1331 };
	return r;
}

Test(record, is_told_as_a_sentence)
{
	struct refusal r = refusal_make();
	cr_assert_str_eq(record_sentence(&r).s,
			 "sort[6888] refused malloc 256.0 MiB   budget 16.0 MiB, held 5.2 MiB");
	r.observed = 1;
	r.limit = PAGES_MAX;
	r.reason = REASON_POOL;
	cr_assert_str_eq(record_sentence(&r).s, "sort[6888] would have refused malloc 256.0 MiB   budget infinity, "
						"held 5.2 MiB; the pool has no more");
}

Test(record, survives_any_bytes)
{
	struct refusal r;
	for (int byte = 0; byte < 256; byte++) {
		memset(&r, byte, sizeof r);
		struct text line = record_sentence(&r);
		for (const char *at = line.s; *at; at++)
			cr_assert(*at >= ' ' && *at <= '~', "bytes %d: %s", byte, line.s);
		json_t *o = record_json(&r, "a", 1, false);
		cr_assert(json_array_size(json_object_get(o, "frames")) <= REFUSAL_FRAMES, "bytes %d", byte);
		cr_assert_eq(json_object_size(o), 15, "bytes %d: a key is missing", byte);
		json_decref(o);
	}
}

/* The C library as the loader sees it: the module of a refusal, and a function in it. */
struct found {
	struct refusal_module module;
	uint64_t offset;
};

static int find_libc(struct dl_phdr_info *info, size_t n, void *context)
{
	struct found *f = context;
	(void)n;
	if (!strstr(info->dlpi_name, "/libc.so"))
		return 0;
	for (size_t i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Nhdr) *note = (const void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
		if (info->dlpi_phdr[i].p_type == PT_NOTE && note->n_type == NT_GNU_BUILD_ID)
			memcpy(f->module.build_id, (const char *)(note + 1) + 4, BUILD_ID_BYTES);
	}
	f->offset = (uint64_t)(uintptr_t)gnu_get_libc_version - info->dlpi_addr;
	/* Recorded names are cut at the front. */
	strncpy(f->module.name, info->dlpi_name + 3, sizeof f->module.name - 1);
	return 1;
}

static const char *function_of(const struct refusal *r, size_t frame)
{
	static char name[256];
	json_t *o = record_json(r, "a", 1, true);
	json_t *function = json_object_get(json_array_get(json_object_get(o, "frames"), frame), "function");
	snprintf(name, sizeof name, "%s", json_is_string(function) ? json_string_value(function) : "");
	json_decref(o);
	return name;
}

Test(record, names_the_functions_of_a_build_that_is_here)
{
	struct refusal r = refusal_make();
	struct found libc = { 0 };
	cr_assert_eq(dl_iterate_phdr(find_libc, &libc), 1);
	r.pid = getpid();
	r.frames = 2;
	r.modules[0] = libc.module;
	r.offset[0] = libc.offset + 4;
	r.module[1] = REFUSAL_NO_MODULE;
	cr_assert_str_eq(function_of(&r, 0), "gnu_get_libc_version");
	cr_assert_str_eq(function_of(&r, 1), "", "an address in no module");
	r.modules[0].build_id[3] ^= 1;
	cr_assert_str_eq(function_of(&r, 0), "", "another build is another file");
	symbols_close();
}

/* --- /proc --- */

static int accountable(const char *text, uint64_t *ret)
{
	FILE *f = fmemopen((void *)text, strlen(text), "r");
	int error = smaps_accountable(f, ret);
	fclose(f);
	return error;
}

Test(smaps, sums_the_mappings_with_the_flag_ac)
{
	uint64_t pages = 99;
	cr_assert_eq(accountable("7f0-7f1 rw-p 0 00:00 0 \nSize: 132 kB\nRss: 8 kB\nVmFlags: rd wr mr mw me ac sd \n"
				 "7f1-7f2 rw-p 0 00:00 0 \nSize: 1024 kB\nVmFlags: rd wr nr \n"
				 "7f2-7f3 rw-p 0 00:00 0 \nSize: 4 kB\nVmFlags: ac\n", &pages), 0);
	cr_assert_eq(pages, 34);
}

Test(smaps, is_not_misled_by_names)
{
	uint64_t pages = 99;
	cr_assert_eq(accountable("7f0-7f1 rw-p 0 00:00 0  /tmp/VmFlags: ac\nSize: 4 kB\nVmFlags: rd xac acx \n",
				 &pages), 0);
	cr_assert_eq(pages, 0);
	cr_assert_eq(accountable("", &pages), 0, "a process without memory");
	cr_assert_eq(pages, 0);
}

Test(smaps, refuses_what_is_not_smaps)
{
	static const char *const ROWS[] = { "Size: many kB\n", "Size: 4 kB\n", "VmFlags: ac\n",
					    "Size: 4 kB\nSize: 4 kB\nVmFlags: ac\n" };
	for (size_t i = 0; i < ARRAY_N(ROWS); i++) {
		uint64_t pages = 99;
		cr_expect_eq(accountable(ROWS[i], &pages), -EBADMSG, "row %zu", i);
		cr_expect_eq(pages, 99, "row %zu", i);
	}
}

Test(smaps, sees_a_private_mapping_come_and_go)
{
	uint64_t before, with, statm_before, statm_with;
	cr_assert_eq(smaps_of(getpid(), &before), 0);
	cr_assert_eq(statm_of(getpid(), &statm_before), 0);
	char *block = malloc(64 << 20);
	cr_assert_not_null(block);
	block[0] = 1;
	cr_assert_eq(smaps_of(getpid(), &with), 0);
	cr_assert_eq(statm_of(getpid(), &statm_with), 0);
	free(block);
	cr_assert(with - before >= (64 << 20) / PAGE_BYTES && with - before < (65 << 20) / PAGE_BYTES);
	cr_assert(statm_with - statm_before >= (64 << 20) / PAGE_BYTES);
}

Test(smaps, says_what_is_wrong_with_a_pid)
{
	uint64_t n;
	cr_assert_eq(smaps_of(INT32_MAX, &n), -ENOENT);
	cr_assert_eq(statm_of(INT32_MAX, &n), -ENOENT);
	cr_assert_eq(start_ticks_of(INT32_MAX, &n), -ENOENT);
}

Test(smaps, tells_when_a_process_started)
{
	uint64_t init, self;
	char uptime[64];
	FILE *f = fopen("/proc/uptime", "r");
	cr_assert_not_null(fgets(uptime, sizeof uptime, f));
	fclose(f);
	cr_assert_eq(start_ticks_of(1, &init), 0);
	cr_assert_eq(start_ticks_of(getpid(), &self), 0);
	cr_assert(self > init);
	cr_assert((double)self / (double)sysconf(_SC_CLK_TCK) <= atof(uptime) + 1);
}
