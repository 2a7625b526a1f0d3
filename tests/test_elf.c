/* SPDX-License-Identifier: MIT */
/* What a preload can account: files made here byte by byte, so that every verdict is
 * reached without a musl or a foreign toolchain on the machine. */
#include <criterion/criterion.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"

TestSuite(elf, .timeout = 20);
TestSuite(command, .timeout = 20);

static char directory[] = "/tmp/solvent-test-XXXXXX";

static void make_directory(void)
{
	cr_assert_not_null(mkdtemp(directory));
}

static void remove_directory(void)
{
	char order[128];
	snprintf(order, sizeof order, "rm -r %s", directory);
	cr_assert_eq(system(order), 0);
}

static const char *path_of(const char *name)
{
	static char path[64];
	snprintf(path, sizeof path, "%s/%s", directory, name);
	return path;
}

static void write_file(const char *name, const void *bytes, size_t n, mode_t mode)
{
	int fd = open(path_of(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
	cr_assert_eq(fchmod(fd, mode), 0);
	close(fd);
}

static void write_script(const char *name, const char *text)
{
	write_file(name, text, strlen(text), 0755);
}

/* The smallest file the kernel would look at twice. */
struct image {
	ElfW(Ehdr) eh;
	ElfW(Phdr) ph[2];
	char loader[64];
};

static struct image image_make(const char *loader)
{
	struct image i = { .eh = { .e_ident = ELFMAG, .e_type = ET_DYN, .e_version = EV_CURRENT } };
	i.eh.e_ident[EI_CLASS] = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
	i.eh.e_ident[EI_DATA] = __BYTE_ORDER == __LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB;
	i.eh.e_ident[EI_VERSION] = EV_CURRENT;
#if defined(__x86_64__)
	i.eh.e_machine = EM_X86_64;
#else
	i.eh.e_machine = EM_AARCH64;
#endif
	i.eh.e_phoff = offsetof(struct image, ph);
	i.eh.e_phentsize = sizeof(ElfW(Phdr));
	i.eh.e_phnum = loader ? 2 : 1;
	i.ph[0].p_type = PT_LOAD;
	i.ph[1].p_type = PT_INTERP;
	i.ph[1].p_offset = offsetof(struct image, loader);
	i.ph[1].p_filesz = loader ? strlen(loader) + 1 : 0;
	snprintf(i.loader, sizeof i.loader, "%s", loader ? loader : "");
	return i;
}

static int inspect(const char *name, struct command_report *report)
{
	return command_inspect(path_of(name), report);
}

static enum elf_verdict verdict_of(const char *name)
{
	struct command_report report;
	int error = inspect(name, &report);
	cr_assert_eq(error, 0, "%s: %s", name, strerror(-error));
	return report.verdict;
}

/* --- one file --- */

Test(elf, accounts_what_our_own_loader_starts)
{
	struct command_report report;
	cr_assert_eq(command_inspect("/proc/self/exe", &report), 0);
	cr_assert_eq(report.verdict, ELF_ACCOUNTABLE);
	cr_assert_eq(command_inspect("/bin/sh", &report), 0);
	cr_assert_eq(report.verdict, ELF_ACCOUNTABLE);
}

Test(elf, accounts_the_loader_itself_as_a_command)
{
	struct command_report shell, loader;
	cr_assert_eq(command_inspect("/bin/sh", &shell), 0);
	cr_assert_eq(command_inspect(shell.loader, &loader), 0);
	cr_assert_eq(loader.verdict, ELF_ACCOUNTABLE);
}

Test(elf, refuses_a_program_without_a_loader, .init = make_directory, .fini = remove_directory)
{
	struct image i = image_make(NULL);
	write_file("static", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("static"), ELF_STATIC);
	i.eh.e_type = ET_EXEC;
	write_file("static", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("static"), ELF_STATIC);
}

Test(elf, refuses_a_program_of_another_loader, .init = make_directory, .fini = remove_directory)
{
	char loader[64];
	struct command_report report;
	write_script("ld-musl", "any file will do\n");
	snprintf(loader, sizeof loader, "%s", path_of("ld-musl"));
	struct image i = image_make(loader);
	write_file("musl", &i, sizeof i, 0755);
	cr_assert_eq(inspect("musl", &report), 0);
	cr_assert_eq(report.verdict, ELF_OTHER_LOADER);
	cr_assert_str_eq(report.loader, loader);
}

Test(elf, knows_our_loader_by_another_name, .init = make_directory, .fini = remove_directory)
{
	char loader[64];
	struct command_report shell;
	cr_assert_eq(command_inspect("/bin/sh", &shell), 0);
	snprintf(loader, sizeof loader, "%s", path_of("ld-link"));
	cr_assert_eq(symlink(shell.loader, loader), 0);
	struct image i = image_make(loader);
	write_file("relinked", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("relinked"), ELF_ACCOUNTABLE);
}

Test(elf, names_a_loader_that_is_missing, .init = make_directory, .fini = remove_directory)
{
	struct command_report report;
	struct image i = image_make("/no/such/loader.so");
	write_file("orphan", &i, sizeof i, 0755);
	cr_assert_eq(inspect("orphan", &report), -ENOENT);
	cr_assert_str_eq(report.loader, "/no/such/loader.so");
}

Test(elf, refuses_other_machines_and_word_sizes, .init = make_directory, .fini = remove_directory)
{
	struct image i = image_make(NULL);
	i.eh.e_machine = EM_RISCV;
	write_file("other", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("other"), ELF_OTHER_MACHINE);
	i = image_make(NULL);
	i.eh.e_ident[EI_CLASS] ^= ELFCLASS64 ^ ELFCLASS32;
	write_file("other", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("other"), ELF_OTHER_MACHINE);
	i = image_make(NULL);
	i.eh.e_ident[EI_DATA] ^= ELFDATA2LSB ^ ELFDATA2MSB;
	write_file("other", &i, sizeof i, 0755);
	cr_assert_eq(verdict_of("other"), ELF_OTHER_MACHINE);
}

/* Each row breaks one thing in a good image. */
static void break_type(struct image *i) { i->eh.e_type = ET_REL; }
static void break_entry_size(struct image *i) { i->eh.e_phentsize = 1; }
static void break_count(struct image *i) { i->eh.e_phnum = 0; }
static void break_place(struct image *i) { i->eh.e_phoff = 1u << 30; }
static void break_place_far(struct image *i) { i->eh.e_phoff = UINT64_MAX - 8; }
static void break_many(struct image *i) { i->eh.e_phnum = UINT16_MAX; i->ph[1].p_type = PT_NULL; }
static void break_loader_end(struct image *i) { i->ph[1].p_filesz -= 1; }
static void break_loader_short(struct image *i) { i->ph[1].p_filesz = 1; }
static void break_loader_long(struct image *i) { i->ph[1].p_filesz = PATH_MAX + 1; }
static void break_loader_place(struct image *i) { i->ph[1].p_offset = UINT64_MAX - 1; }

Test(elf, refuses_broken_files, .init = make_directory, .fini = remove_directory)
{
	static const struct {
		const char *name;
		void (*break_it)(struct image *);
	} ROWS[] = {
		{ "relocatable", break_type },         { "entry size", break_entry_size },
		{ "no headers", break_count },         { "headers past the end", break_place },
		{ "headers wrap around", break_place_far }, { "more headers than file", break_many },
		{ "loader not terminated", break_loader_end }, { "loader too short", break_loader_short },
		{ "loader too long", break_loader_long }, { "loader past the end", break_loader_place },
	};
	for (size_t row = 0; row < ARRAY_N(ROWS); row++) {
		struct command_report report;
		struct image i = image_make("/lib/loader.so");
		ROWS[row].break_it(&i);
		write_file("broken", &i, sizeof i, 0755);
		cr_expect_eq(inspect("broken", &report), -ENOEXEC, "row: %s", ROWS[row].name);
	}
}

Test(elf, refuses_every_truncation, .init = make_directory, .fini = remove_directory)
{
	struct image i = image_make("/no/such/loader.so");
	size_t whole = offsetof(struct image, loader) + strlen(i.loader) + 1;
	for (size_t n = SELFMAG; n < whole; n++) {
		struct command_report report;
		write_file("cut", &i, n, 0755);
		cr_expect_eq(inspect("cut", &report), -ENOEXEC, "cut to %zu bytes", n);
	}
}

Test(elf, foresees_who_becomes_privileged)
{
	static const struct {
		const char *name;
		struct elf_caller caller;
		struct stat st;
		bool capabilities, nosuid;
		enum elf_verdict want;
	} ROWS[] = {
		{ "plain", { 1000, 1000, false }, { .st_mode = 0755 }, false, false, ELF_ACCOUNTABLE },
		{ "set-uid root", { 1000, 1000, false }, { .st_mode = 04755 }, false, false, ELF_PRIVILEGED },
		{ "set-uid to oneself", { 1000, 1000, false }, { .st_mode = 04755, .st_uid = 1000 }, false, false,
		  ELF_ACCOUNTABLE },
		{ "set-uid, root calls", { 0, 0, false }, { .st_mode = 04755, .st_uid = 33 }, false, false,
		  ELF_PRIVILEGED },
		{ "set-gid", { 1000, 1000, false }, { .st_mode = 02755, .st_gid = 42 }, false, false,
		  ELF_PRIVILEGED },
		{ "mandatory locking", { 1000, 1000, false }, { .st_mode = 02745, .st_gid = 42 }, false, false,
		  ELF_ACCOUNTABLE },
		{ "nosuid mount", { 1000, 1000, false }, { .st_mode = 06755 }, true, true, ELF_ACCOUNTABLE },
		{ "no new privileges", { 1000, 1000, true }, { .st_mode = 06755 }, true, false, ELF_ACCOUNTABLE },
		{ "capabilities", { 1000, 1000, false }, { .st_mode = 0755 }, true, false, ELF_CAPABLE },
		{ "capabilities, root calls", { 0, 0, false }, { .st_mode = 0755 }, true, false, ELF_ACCOUNTABLE },
	};
	for (size_t i = 0; i < ARRAY_N(ROWS); i++)
		cr_expect_eq(elf_privilege(&ROWS[i].caller, &ROWS[i].st, ROWS[i].capabilities, ROWS[i].nosuid),
			     ROWS[i].want, "row: %s", ROWS[i].name);
}

/* --- the way to it --- */

Test(command, follows_scripts_to_their_interpreter, .init = make_directory, .fini = remove_directory)
{
	struct command_report report;
	struct image i = image_make(NULL);
	char text[PATH_MAX + 16];
	write_file("static", &i, sizeof i, 0755);
	snprintf(text, sizeof text, "#! \t%s -x\n", path_of("static"));
	write_script("outer", text);
	cr_assert_eq(inspect("outer", &report), 0);
	cr_assert_eq(report.verdict, ELF_STATIC);
	cr_assert_str_eq(report.file, path_of("static"));
}

Test(command, gives_what_has_no_format_to_the_shell, .init = make_directory, .fini = remove_directory)
{
	static const char *const TEXTS[] = { "", "echo\n", "#", "#!", "#!\necho\n", "#! \t \necho\n" };
	for (size_t i = 0; i < ARRAY_N(TEXTS); i++) {
		struct command_report report;
		write_script("plain", TEXTS[i]);
		cr_expect_eq(inspect("plain", &report), 0, "text %zu", i);
		cr_expect_str_eq(report.file, "/bin/sh", "text %zu", i);
	}
}

Test(command, stops_where_the_kernel_stops_following_scripts, .init = make_directory, .fini = remove_directory)
{
	struct command_report report;
	char text[PATH_MAX + 16], name[8];
	write_script("s0", "#!/bin/sh\n");
	for (int n = 1; n <= 5; n++) {
		snprintf(name, sizeof name, "s%d", n - 1);
		snprintf(text, sizeof text, "#!%s\n", path_of(name));
		snprintf(name, sizeof name, "s%d", n);
		write_script(name, text);
	}
	cr_assert_eq(inspect("s4", &report), 0);
	cr_assert_eq(report.verdict, ELF_ACCOUNTABLE);
	cr_assert_eq(inspect("s5", &report), -ELOOP);
}

Test(command, names_an_interpreter_that_is_missing, .init = make_directory, .fini = remove_directory)
{
	struct command_report report;
	write_script("script", "#!/no/such/interpreter -w\n");
	cr_assert_eq(inspect("script", &report), -ENOENT);
	cr_assert_str_eq(report.file, "/no/such/interpreter");
}

Test(command, refuses_what_is_not_executable, .init = make_directory, .fini = remove_directory)
{
	struct command_report report;
	char found[PATH_MAX];
	write_file("data", "x", 1, 0644);
	cr_assert_eq(inspect("data", &report), -EACCES);
	cr_assert_eq(command_find(path_of("data"), found), -EACCES);
	cr_assert_eq(command_find(directory, found), -EACCES, "a directory");
	cr_assert_eq(command_find(path_of("none"), found), -ENOENT);
}

Test(command, searches_the_path_as_execvp_does, .init = make_directory, .fini = remove_directory)
{
	char found[PATH_MAX], path[3 * PATH_MAX];
	write_file("tool", "x", 1, 0644);
	setenv("PATH", directory, 1);
	cr_assert_eq(command_find("tool", found), -EACCES, "found, but not executable");
	cr_assert_eq(command_find("no-such-tool", found), -ENOENT);
	cr_assert_eq(command_find("", found), -ENOENT);
	cr_assert_eq(mkdir(path_of("bin"), 0755), 0);
	write_script("bin/tool", "#!/bin/sh\n");
	snprintf(path, sizeof path, "/no/such:%s:%s/bin", directory, directory);
	setenv("PATH", path, 1);
	cr_assert_eq(command_find("tool", found), 0, "a later directory has it");
	cr_assert_str_eq(found, path_of("bin/tool"));
	setenv("PATH", "", 1);
	cr_assert_eq(chdir(path_of("bin")), 0);
	cr_assert_eq(command_find("tool", found), 0, "an empty entry is the current directory");
	cr_assert_str_eq(found, "tool");
	unsetenv("PATH");
	cr_assert_eq(command_find("sh", found), 0, "without PATH, the system's own");
	cr_assert_eq(chdir("/"), 0);
}

Test(command, explains_every_verdict_by_naming_the_file)
{
	for (enum elf_verdict v = 0; v < ELF_VERDICT_N; v++) {
		struct command_report report = { .verdict = v, .file = "./server", .loader = "/lib/ld-other.so" };
		char text[256];
		command_explain(&report, text, sizeof text);
		cr_expect_eq(strncmp(text, "./server ", 9), 0, "verdict %d: %s", v, text);
		cr_expect_eq(strstr(text, "ld-other") != NULL, v == ELF_OTHER_LOADER, "verdict %d: %s", v, text);
	}
}
