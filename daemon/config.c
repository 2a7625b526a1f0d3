/* SPDX-License-Identifier: MIT */
/* The only file that knows libconfuse. It gives structure, lines and strings. A value is
 * checked the moment it is read, because only then does libconfuse know its line, and
 * turned into pages when all is read, because a percentage may be of something further
 * down. The first mistake ends it: one good sentence is enough. */
#include "daemon/config.h"

#include <confuse.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/killer/settings.h"
#include "daemon/proc.h"
#include "daemon/source.h"
#include "daemon/value.h"

#define WARN_DEFAULT "80%"
#define SECTIONS 64u /* of one kind, at most */
_Static_assert(SECTIONS >= CONFIG_ACCOUNTS && SECTIONS >= RULES && SECTIONS >= WATCHES, "lines");

static const uint32_t section_most[SECTION_N] = { CONFIG_ACCOUNTS, WATCHES, RULES };

/* libconfuse's callbacks carry no context, and one file is read at a time. */
static struct parsing {
	const char *file;
	config_complain *complain;
	void *context;
	bool complained;
	uint32_t sections[SECTION_N];                  /* finished */
	int line[SECTION_N][SECTIONS + 1][KEY_N];      /* of each key; 0: not given */
	int pool_line;                                 /* of the pool's limit */
	uint64_t machine_bytes, pool_bytes;            /* what percentages are of */
} parsing;

__attribute__((format(printf, 2, 3))) static int complain_at(int line, const char *format, ...)
{
	char what[700], sentence[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	if (line > 0)
		snprintf(sentence, sizeof sentence, "%s:%d: %s", parsing.file, line, what);
	else
		snprintf(sentence, sizeof sentence, "%s: %s", parsing.file, what);
	if (!parsing.complained)
		parsing.complain(parsing.context, sentence);
	parsing.complained = true;
	return -1;
}

static int complain_if(int line, const char *wrong)
{
	return wrong ? complain_at(line, "%s", wrong) : 0;
}

/* --- libconfuse's callbacks --- */

static enum section section_of(const char *name)
{
	enum section kind = 0;
	while (kind < SECTION_N - 1 && strcmp(name, section_kind[kind].name) != 0)
		kind++;
	return kind;
}

static enum key key_of(enum section kind, const cfg_opt_t *option)
{
	enum key key = section_kind[kind].first;
	while (key < section_kind[kind].end - 1 && strcmp(option->name, key_name[key]) != 0)
		key++;
	return key;
}

static int on_value(cfg_t *section, cfg_opt_t *option)
{
	enum section kind = section_of(section->name);
	enum key key = key_of(kind, option);
	int *line = &parsing.line[kind][parsing.sections[kind]][key];
	if (*line != 0 && key != KEY_USERS)
		return complain_at(section->line, "%s is given twice, first in line %d; remove one",
				   key_name[key], *line);
	*line = section->line;
	unsigned n = cfg_opt_size(option);
	return complain_if(section->line, n ? value_wrong(key, cfg_opt_getnstr(option, n - 1), n) : NULL);
}

static int on_pool_value(cfg_t *section, cfg_opt_t *option)
{
	if (parsing.pool_line != 0)
		return complain_at(section->line, "the pool's limit is given twice, first in line %d; remove one",
				   parsing.pool_line);
	parsing.pool_line = section->line;
	return complain_if(section->line, value_wrong(KEY_LIMIT, cfg_opt_getnstr(option, 0), 1));
}

static int on_section(cfg_t *root, cfg_opt_t *option)
{
	enum section kind = section_of(option->name);
	const char *name = kind == SECTION_ACCOUNT ? cfg_title(cfg_opt_getnsec(option, cfg_opt_size(option) - 1)) : NULL;
	int error = complain_if(root->line, name ? value_name_wrong(name) : NULL);
	if (error)
		return error;
	if (parsing.sections[kind] + 1 > section_most[kind])
		return complain_at(root->line, "there are more than %u %s sections; remove some", section_most[kind],
				   section_kind[kind].name);
	parsing.sections[kind]++;
	return 0;
}

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *section, const char *format, va_list arguments)
{
	char what[512];
	vsnprintf(what, sizeof what, format, arguments);
	const char *hint = "write pool { ... }, account \"NAME\" { ... }, watch { ... } or rule { ... }";
	if (strcmp(section->name, "pool") == 0)
		hint = "in a pool write limit = SIZE";
	for (enum section kind = 0; kind < SECTION_N; kind++)
		if (strcmp(section->name, section_kind[kind].name) == 0)
			hint = section_kind[kind].hint;
	complain_at(section->line, "%s; %s", what, hint);
}

/* --- the whole --- */

static void admission_fill(cfg_t *section, struct admission *a)
{
	const char *cgroup = cfg_getstr(section, "cgroup");
	if (cgroup)
		strncpy(a->cgroup, cgroup, sizeof a->cgroup - 1);
	for (unsigned i = 0; i < cfg_size(section, "users"); i++) {
		const char *value = cfg_getnstr(section, "users", i);
		if (strcmp(value, "*") == 0)
			a->everyone = true;
		else if (value_user(value, &a->user[a->users]))
			a->users++;
	}
}

static void warning_fill(cfg_t *section, struct warning *w)
{
	const char *signal = cfg_getstr(section, "warn-signal"), *command = cfg_getstr(section, "warn-command");
	w->signal = signal ? value_signal(signal) : 0;
	if (command)
		strncpy(w->command, command, sizeof w->command - 1);
}

static bool is_word(cfg_t *section, enum key key, const char *word)
{
	const char *value = cfg_getstr(section, key_name[key]);
	return value && strcmp(value, word) == 0;
}

static int policy_fill(cfg_t *section, const char *name, const int line[KEY_N], struct policy *p)
{
	const char *limit = cfg_getstr(section, "limit"), *guarantee = cfg_getstr(section, "guarantee");
	const char *warn = cfg_getstr(section, "warn"), *fork_ = cfg_getstr(section, "fork");
	p->limit = limit ? value_pages(limit, parsing.pool_bytes) : PAGES_MAX;
	p->guarantee = guarantee ? value_pages(guarantee, parsing.pool_bytes) : 0;
	p->warn = p->limit == PAGES_MAX && (!warn || strchr(warn, '%')) ? PAGES_MAX :
		  value_pages(warn ? warn : WARN_DEFAULT, bytes_of(p->limit));
	p->mode = is_word(section, KEY_MODE, "observe") ? ACCOUNT_OBSERVE : ACCOUNT_ENFORCE;
	p->noreserve_free = is_word(section, KEY_NORESERVE, "free");
	p->fork_percent = 100;
	if (fork_)
		value_percent(fork_, &p->fork_percent);
	if (p->limit == 0)
		return complain_at(line[KEY_LIMIT], "account \"%s\": its limit is less than a page; write more",
				   name);
	if (p->guarantee > p->limit)
		return complain_at(line[KEY_GUARANTEE],
				   "account \"%s\": its guarantee is more than its limit; lower the guarantee or "
				   "raise the limit", name);
	return 0;
}

static int guarantees_check(const struct config *c)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < c->accounts; i++) {
		sum += c->account[i].policy.guarantee;
		if (sum > c->pool)
			return complain_at(parsing.line[SECTION_ACCOUNT][i][KEY_GUARANTEE],
					   "with account \"%s\" the guarantees come to %llu MiB, the pool has %llu MiB; "
					   "lower a guarantee or raise the pool's limit", c->account[i].name,
					   (unsigned long long)(bytes_of(sum) >> 20),
					   (unsigned long long)(bytes_of(c->pool) >> 20));
	}
	return 0;
}

/* --- watch and rule --- */

static void values_get(cfg_t *section, enum section kind, struct values *v)
{
	memset(v, 0, sizeof *v);
	for (enum key key = section_kind[kind].first; key < section_kind[kind].end; key++)
		v->of[key] = cfg_getstr(section, key_name[key]);
}

/* Where a section stands: its first key that was given; or the file. */
static int section_line(enum section kind, uint32_t i)
{
	int first = 0;
	for (enum key key = section_kind[kind].first; key < section_kind[kind].end; key++) {
		int line = parsing.line[kind][i][key];
		if (line != 0 && (first == 0 || line < first))
			first = line;
	}
	return first;
}

/* `wrong` about a key that may not have been given. */
static int section_complain(enum section kind, uint32_t i, enum key key, const char *wrong)
{
	int line = parsing.line[kind][i][key];
	return complain_if(line ? line : section_line(kind, i), wrong);
}

static int watch_check(const struct config *c, uint32_t i)
{
	for (uint32_t other = 0; other < i; other++)
		if (strcmp(c->watch[other].group, c->watch[i].group) == 0)
			return section_complain(SECTION_WATCH, i, KEY_WATCH_CGROUP,
						"this is watched already; remove one of the two sections");
	return 0;
}

static int watches_fill(cfg_t *root, struct config *c)
{
	struct values v;
	enum key key;
	c->watches = cfg_size(root, "watch");
	for (uint32_t i = 0; i < c->watches; i++) {
		values_get(cfg_getnsec(root, "watch", i), SECTION_WATCH, &v);
		c->watch[i].line = section_line(SECTION_WATCH, i);
		const char *wrong = watch_fill(&v, &c->watch[i], &key);
		int error = section_complain(SECTION_WATCH, i, key, wrong);
		error = error ? error : watch_check(c, i);
		if (error)
			return error;
	}
	return 0;
}

static int rules_fill(cfg_t *root, struct config *c)
{
	struct values v;
	enum key key;
	c->rules = cfg_size(root, "rule");
	for (uint32_t i = 0; i < c->rules; i++) {
		values_get(cfg_getnsec(root, "rule", i), SECTION_RULE, &v);
		c->rule[i].line = section_line(SECTION_RULE, i);
		const char *wrong = rule_fill(&v, &c->rule[i], &key);
		int error = section_complain(SECTION_RULE, i, key, wrong);
		if (error)
			return error;
	}
	return 0;
}

static int config_fill(cfg_t *root, struct config *c)
{
	const char *limit = cfg_getstr(cfg_getsec(root, "pool"), "limit");
	c->pool = value_pages(limit ? limit : CONFIG_DEFAULT_POOL, parsing.machine_bytes);
	if (c->pool == 0 && parsing.machine_bytes == 0)
		return complain_at(parsing.pool_line,
				   "the pool's limit is a part of RAM and swap, but /proc/meminfo does not tell how "
				   "much there is; write a size instead of a percentage");
	if (c->pool == 0)
		return complain_at(parsing.pool_line, "the pool's limit is less than a page; write more");
	parsing.pool_bytes = c->pool == PAGES_MAX ? parsing.machine_bytes : bytes_of(c->pool);
	c->accounts = cfg_size(root, "account");
	for (uint32_t i = 0; i < c->accounts; i++) {
		cfg_t *section = cfg_getnsec(root, "account", i);
		struct config_account *a = &c->account[i];
		strncpy(a->name, cfg_title(section), sizeof a->name - 1);
		admission_fill(section, &a->admission);
		warning_fill(section, &a->warning);
		int error = policy_fill(section, a->name, parsing.line[SECTION_ACCOUNT][i], &a->policy);
		if (error)
			return error;
	}
	int error = guarantees_check(c);
	error = error ? error : watches_fill(root, c);
	return error ? error : rules_fill(root, c);
}

/* All keys of a kind of section are strings. */
static void options_make(enum section kind, cfg_opt_t options[KEY_N + 1])
{
	uint32_t n = 0;
	for (enum key key = section_kind[kind].first; key < section_kind[kind].end; key++) {
		cfg_opt_t one = CFG_STR(key_name[key], NULL, CFGF_NODEFAULT), many = CFG_STR_LIST(key_name[key], NULL, CFGF_NODEFAULT);
		options[n++] = key == KEY_USERS ? many : one;
	}
	cfg_opt_t end = CFG_END();
	options[n] = end;
}

static void callbacks_set(cfg_t *root)
{
	char path[64];
	cfg_set_error_function(root, on_error);
	cfg_set_validate_func(root, "pool|limit", on_pool_value);
	for (enum section kind = 0; kind < SECTION_N; kind++) {
		cfg_set_validate_func(root, section_kind[kind].name, on_section);
		for (enum key key = section_kind[kind].first; key < section_kind[kind].end; key++) {
			snprintf(path, sizeof path, "%s|%s", section_kind[kind].name, key_name[key]);
			cfg_set_validate_func(root, path, on_value);
		}
	}
}

static int text_parse(char *text, size_t n, struct config *c)
{
	cfg_opt_t account[KEY_N + 1], watch[KEY_N + 1], rule[KEY_N + 1];
	options_make(SECTION_ACCOUNT, account);
	options_make(SECTION_WATCH, watch);
	options_make(SECTION_RULE, rule);
	cfg_opt_t pool[] = { CFG_STR("limit", NULL, CFGF_NODEFAULT), CFG_END() };
	cfg_opt_t options[] = { CFG_SEC("pool", pool, CFGF_NONE),
				CFG_SEC("account", account, CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES),
				CFG_SEC("watch", watch, CFGF_MULTI), CFG_SEC("rule", rule, CFGF_MULTI), CFG_END() };
	cfg_t *root = cfg_init(options, CFGF_NONE);
	FILE *file = n ? fmemopen(text, n, "r") : NULL;
	callbacks_set(root);
	int error = n == 0 ? 0 : !file ? -1 : cfg_parse_fp(root, file) != CFG_SUCCESS ? -1 : 0;
	if (error)
		complain_at(root->line, "this cannot be read; see solvent.conf(5)");
	else
		error = config_fill(root, c);
	if (file)
		fclose(file);
	cfg_free(root);
	return error;
}

static const char *load_explain(int error)
{
	switch (error) {
	case -ENOENT:
		return "there is no such file; write one (solvent.conf(5)) or name another with --config";
	case -EISDIR:
		return "this is a directory; name a file in it";
	case -EFBIG:
		return "this is larger than 1 MiB, which no configuration is; name another file";
	case -EACCES:
		return "it may not be read by this user; change its mode or start solventd as its owner";
	default:
		return strerror(-error);
	}
}

/* The whole of a file; `c` is empty. */
static int file_parse(const char *file, struct config *c)
{
	char *text;
	size_t n;
	unsigned line;
	int error = source_load(file, CONFIG_FILE_BYTES, &text, &n);
	if (error)
		return complain_at(0, "%s", load_explain(error));
	const char *wrong = source_prepare(text, n, &line);
	error = wrong ? complain_at((int)line, "%s", wrong) : text_parse(text, n, c);
	free(text);
	return error;
}

int config_read(const char *file, config_complain *complain, void *context, struct config *ret)
{
	struct config *c = calloc(1, sizeof *c);
	parsing = (struct parsing){ .file = file, .complain = complain, .context = context,
				    .machine_bytes = proc_memory_bytes() };
	int error = c ? file_parse(file, c) : complain_at(0, "there is no memory to read it");
	if (!error)
		*ret = *c;
	free(c);
	return error ? -EINVAL : 0;
}

struct doubter {
	const char *file;
	config_complain *complain;
	void *context;
};

static void doubt_say(void *context, int line, const char *sentence)
{
	const struct doubter *d = context;
	char whole[1024];
	snprintf(whole, sizeof whole, "%s:%d: %s", d->file, line, sentence);
	d->complain(d->context, whole);
}

uint32_t config_doubt(const char *file, const struct config *c, config_complain *complain, void *context)
{
	struct doubter d = { file, complain, context };
	return settings_doubt(c, doubt_say, &d);
}

bool admission_allows(const struct admission *a, uid_t uid)
{
	if (a->everyone)
		return true;
	for (uint32_t i = 0; i < a->users && i < CONFIG_USERS; i++)
		if (a->user[i] == uid)
			return true;
	return false;
}
