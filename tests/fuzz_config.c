/* SPDX-License-Identifier: MIT */
/* A configuration that is any bytes: in force only if everything in it makes sense, and
 * otherwise one sentence says where it does not. */
#include "tests/fuzz.h"

#include <pwd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/proc.h"

static unsigned complaints;
static char file[32];

static void complain(void *context, const char *sentence)
{
	(void)context;
	complaints++;
	must(strncmp(sentence, file, strlen(file)) == 0 && strlen(sentence) > strlen(file) + 2);
}

/* The user database is not asked. */
struct passwd *__wrap_getpwnam(const char *name);
struct passwd *__wrap_getpwnam(const char *name)
{
	static struct passwd postgres = { .pw_uid = 105 };
	return strcmp(name, "postgres") == 0 ? &postgres : NULL;
}

static bool is_terminated(const char *text, size_t n)
{
	return memchr(text, '\0', n) != NULL;
}

static void account_check(const struct config *c, const struct config_account *a)
{
	must(is_terminated(a->name, sizeof a->name) && a->name[0] != '\0');
	for (const struct config_account *other = c->account; other < a; other++)
		must(strcmp(other->name, a->name) != 0);
	must(a->policy.limit > 0 && a->policy.guarantee <= a->policy.limit);
	must(a->policy.mode < ACCOUNT_MODE_N && a->policy.noreserve_free <= 1);
	must(a->policy.fork_percent >= 1 && a->policy.fork_percent <= 100);
	must(a->admission.users <= CONFIG_USERS && is_terminated(a->admission.cgroup, sizeof a->admission.cgroup));
	must(a->admission.cgroup[0] == '\0' || a->admission.cgroup[0] == '/');
}

static void rule_check(const struct rule *r)
{
	must(is_terminated(r->account, sizeof r->account) && is_terminated(r->comm, sizeof r->comm));
	must(is_terminated(r->cgroup, sizeof r->cgroup) && is_terminated(r->exe, sizeof r->exe));
	must(r->cgroup[0] == '\0' || r->cgroup[0] == '/' || r->cgroup[0] == '*');
	must(r->action < ACTION_N && r->unit < UNIT_N && r->order <= ORDER_LAST && r->signal > 0);
}

static void config_check(const struct config *c)
{
	uint64_t guaranteed = 0;
	must(c->pool > 0 && c->accounts <= CONFIG_ACCOUNTS);
	for (uint32_t i = 0; i < c->accounts; i++) {
		account_check(c, &c->account[i]);
		guaranteed += c->account[i].policy.guarantee;
	}
	must(guaranteed <= c->pool);
	must(c->rules <= RULES);
	for (uint32_t i = 0; i < c->rules; i++)
		rule_check(&c->rule[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	static struct config c;
	int fd = memfd_create("fuzz-config", MFD_CLOEXEC);
	must(fd >= 0 && write(fd, input, n) == (ssize_t)n);
	must(proc_descriptor() >= 0 || proc_open("/proc") == 0);
	snprintf(file, sizeof file, "/proc/self/fd/%d", fd);
	complaints = 0;
	int error = config_read(file, complain, NULL, &c);
	must(complaints == (error != 0));
	if (error == 0)
		config_check(&c);
	close(fd);
	return 0;
}
