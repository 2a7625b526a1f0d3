/* SPDX-License-Identifier: MIT */
/* Membership is handed down in the environment, and env -i, sudo, cron and pg_ctlcluster
 * hand down an empty one. So what we were given is kept, and given on whatever the caller
 * says; what the caller changed on purpose (another account) stays changed. */
#include "shim/environment.h"

#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "include/protocol.h"
#include "shim/raw.h"

#define PRELOAD "LD_PRELOAD"
#define ENVIRONMENT_MOST 16384 /* variables: 128 KiB of pointers */

/* "NAME=value" each; empty: was not there. */
static char preload[sizeof PRELOAD + PATH_MAX];
static char variable_socket[sizeof ENV_SOCKET + sizeof((struct sockaddr_un *)0)->sun_path];
static char variable_account[sizeof ENV_ACCOUNT + ACCOUNT_NAME_BYTES];
static char variable_no_broker[sizeof ENV_NO_BROKER + 16];

static const struct variable {
	const char *name;
	char *text;
	size_t bytes;
} variables[] = {
	{ ENV_SOCKET, variable_socket, sizeof variable_socket },
	{ ENV_ACCOUNT, variable_account, sizeof variable_account },
	{ ENV_NO_BROKER, variable_no_broker, sizeof variable_no_broker },
};

static char *value_in(char *const envp[], const char *name)
{
	size_t n = strlen(name);
	for (; envp && *envp; envp++)
		if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
			return *envp + n + 1;
	return NULL;
}

/* Where the kernel put argc and argv, and behind them the environment (System V ABI, AMD64, 3.4.1). */
extern const void *__libc_stack_end;

static char *const *environment_given(void)
{
	const long *argc = __libc_stack_end;
	return (char *const *)(argc + 1) + *argc + 1;
}

char *environment_early(const char *name)
{
	return getauxval(AT_SECURE) ? NULL : value_in(environ ? environ : environment_given(), name);
}

/* --- which library we are --- */

static const char *base_name(const char *path, size_t length, size_t *ret_length)
{
	const char *slash = memrchr(path, '/', length);
	const char *base = slash ? slash + 1 : path;
	*ret_length = (size_t)(path + length - base);
	return base;
}

/* Our own file name, without its directory; the string is the loader's and stays. */
static const char *own_name;
static size_t own_name_length;

static void own_name_find(void)
{
	Dl_info us;
	if (dladdr(preload, &us) && us.dli_fname)
		own_name = base_name(us.dli_fname, strlen(us.dli_fname), &own_name_length);
}

/* The entry of an LD_PRELOAD value (separated by spaces or colons, ld.so(8)) that has our
 * file name, in whatever directory. NULL: we are not in it. */
static const char *preload_find(const char *list, size_t *ret_length)
{
	if (!list || !own_name)
		return NULL;
	for (; *list; list += *list != '\0') {
		size_t length = strcspn(list, ": "), base_length;
		const char *base = base_name(list, length, &base_length);
		if (base_length == own_name_length && memcmp(base, own_name, base_length) == 0) {
			*ret_length = length;
			return list;
		}
		list += length;
	}
	return NULL;
}

/* --- remembering --- */

static void text_append(char *to, size_t bytes, const char *from, size_t length)
{
	size_t used = strlen(to);
	if (used + length + 1 > bytes)
		return;
	memcpy(to + used, from, length);
	to[used + length] = '\0';
}

/* A relative path would be wrong after a chdir. */
static void preload_remember(const char *entry, size_t length)
{
	char here[PATH_MAX] = "";
	strcpy(preload, PRELOAD "=");
	if (entry[0] != '/' && memchr(entry, '/', length) &&
	    !raw_failed(raw_call2(SYS_getcwd, here, sizeof here - 1)))
		strcat(here, "/");
	text_append(preload, sizeof preload, here, strlen(here));
	text_append(preload, sizeof preload, entry, length);
}

void environment_remember(void)
{
	size_t length;
	own_name_find();
	const char *entry = preload_find(value_in(environ, PRELOAD), &length);
	if (entry)
		preload_remember(entry, length);
	for (size_t i = 0; i < ARRAY_N(variables); i++) {
		const struct variable *v = &variables[i];
		const char *value = value_in(environ, v->name);
		if (!value || strlen(v->name) + strlen(value) + 2 > v->bytes)
			continue;
		strcpy(v->text, v->name);
		strcat(v->text, "=");
		strcat(v->text, value);
	}
}

/* --- putting back --- */

static bool preload_is_missing(char *const envp[])
{
	size_t length;
	return preload[0] != '\0' && !preload_find(value_in(envp, PRELOAD), &length);
}

static bool variable_is_missing(char *const envp[], const struct variable *v)
{
	return v->text[0] != '\0' && !value_in(envp, v->name);
}

static size_t environment_count(char *const envp[])
{
	size_t n = 0;
	while (envp && envp[n])
		n++;
	return n;
}

/* Pointers for all there is and all we may add, and the NULL. */
static size_t pointers_bytes(char *const envp[])
{
	return (environment_count(envp) + 1 + ARRAY_N(variables) + 1) * sizeof(char *);
}

size_t environment_missing(char *const envp[])
{
	bool preload_missing = preload_is_missing(envp), missing = preload_missing;
	for (size_t i = 0; i < ARRAY_N(variables); i++)
		missing |= variable_is_missing(envp, &variables[i]);
	if (!missing || environment_count(envp) > ENVIRONMENT_MOST)
		return 0;
	const char *others = preload_missing ? value_in(envp, PRELOAD) : NULL;
	return pointers_bytes(envp) + (others ? strlen(preload) + 1 + strlen(others) + 1 : 0);
}

/* Ours first, as `solvent run` puts it, then what the caller asks for. */
static char *preload_join(const char *others, char *room)
{
	strcpy(room, preload);
	strcat(room, ":");
	return strcat(room, others);
}

char **environment_complete(char *const envp[], void *room)
{
	size_t n = 0;
	char **result = room;
	bool preload_missing = preload_is_missing(envp);
	const char *others = preload_missing ? value_in(envp, PRELOAD) : NULL;
	if (preload_missing)
		result[n++] = others ? preload_join(others, (char *)room + pointers_bytes(envp)) : preload;
	for (size_t i = 0; i < ARRAY_N(variables); i++)
		if (variable_is_missing(envp, &variables[i]))
			result[n++] = variables[i].text;
	for (; envp && *envp; envp++)
		if (!others || *envp + sizeof PRELOAD != others)
			result[n++] = *envp;
	result[n] = NULL;
	return result;
}
