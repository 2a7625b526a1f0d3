/* SPDX-License-Identifier: MIT */
/* The reading verbs against a broker that this file plays, so that it can also say what
 * no honest broker says, over ledgers that no honest member writes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "reserve/ledger.h"
#include "reserve/purse.h"
#include "reserve/refusal.h"

TestSuite(verbs, .timeout = 20);

/* --- the broker --- */

enum manners { HONEST, OTHER_VERSION, OTHER_MAGIC, CUT_SHORT, TOO_LONG, HANGS_UP, ENDLESS };

static struct {
	enum manners manners;
	bool damaged;
	char name[64];
	int listener;
	int fd[4]; /* the accounts' ledgers; -1: none is given */
	struct ledger *ledger[4];
	char account[4][ACCOUNT_NAME_BYTES];
	uint32_t n;
	pthread_t thread;
} broker;

static void reply_send(int peer, struct message *head, size_t bytes, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	char padded[1024] = { 0 };
	head->magic = broker.manners == OTHER_MAGIC ? 1 : PROTOCOL_MAGIC;
	head->version = broker.manners == OTHER_VERSION ? PROTOCOL_VERSION + 1 : PROTOCOL_VERSION;
	memcpy(padded, head, bytes);
	struct iovec part = { padded, broker.manners == CUT_SHORT ? bytes - 1 :
				      broker.manners == TOO_LONG ? bytes + 1 : bytes };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	}
	sendmsg(peer, &m, MSG_NOSIGNAL);
}

static void answer_pool(int peer)
{
	struct reply_pool r = { .limit = PAGES_MAX, .granted = 1000, .accounts = broker.n, .broker_pid = 77,
				.start_ns = 1769860800000000000, .version = "9.9" };
	reply_send(peer, &r.head, sizeof r, -1);
}

static void answer_account(int peer, uint32_t index)
{
	struct reply_account r = { .index = index, .damaged = broker.damaged };
	if (index >= broker.n && broker.manners != ENDLESS) {
		r.head.status = STATUS_END;
		reply_send(peer, &r.head, sizeof r, -1);
		return;
	}
	index %= broker.n;
	r.members = index + 1;
	memcpy(r.account, broker.account[index], sizeof r.account);
	reply_send(peer, &r.head, sizeof r, broker.fd[index]);
}

static void *broker_main(void *unused)
{
	union {
		struct message head;
		struct request_account account;
	} request;
	(void)unused;
	for (int peer; (peer = accept(broker.listener, NULL, NULL)) >= 0; close(peer))
		while (recv(peer, &request, sizeof request, 0) > 0 && broker.manners != HANGS_UP) {
			if (request.head.opcode == OPCODE_POOL)
				answer_pool(peer);
			else
				answer_account(peer, request.account.index);
		}
	return NULL;
}

static struct ledger *account_add(const char *name)
{
	uint32_t i = broker.n++;
	broker.fd[i] = ledger_create(name);
	cr_assert_eq(ledger_map(broker.fd[i], true, &broker.ledger[i]), 0);
	strcpy(broker.account[i], name);
	broker.ledger[i]->header.limit = 4096;
	return broker.ledger[i];
}

static void broker_start(void)
{
	struct sockaddr_un address;
	uint32_t length;
	snprintf(broker.name, sizeof broker.name, "@solvent-test-%d", getpid());
	cr_assert_eq(protocol_address(broker.name, &address, &length), 0);
	broker.listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(broker.listener, (struct sockaddr *)&address, length), 0);
	cr_assert_eq(listen(broker.listener, 4), 0);
	cr_assert_eq(pthread_create(&broker.thread, NULL, broker_main, NULL), 0);
	setenv(ENV_SOCKET, broker.name, 1);
}

static void broker_stop(void)
{
	shutdown(broker.listener, SHUT_RDWR);
	pthread_join(broker.thread, NULL);
	close(broker.listener);
	for (uint32_t i = 0; i < broker.n; i++)
		ledger_unmap(broker.ledger[i]);
}

/* --- running a verb --- */

static char output[1 << 22], complaint[4096];

static void take(int fd, int saved, int target, char *text, size_t n)
{
	ssize_t length = pread(fd, text, n - 1, 0);
	text[length > 0 ? length : 0] = '\0';
	dup2(saved, target);
	close(saved);
	close(fd);
}

/* Its exit status; what it wrote is in `output` and `complaint`. */
static int solvent(const char *a, const char *b, const char *c, const char *d)
{
	const char *argv[] = { "solvent", a, b, c, d, NULL };
	int argc = 1;
	while (argv[argc])
		argc++;
	int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
	fflush(NULL);
	int saved_out = dup(STDOUT_FILENO), saved_err = dup(STDERR_FILENO);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	int status = cli_main(argc, (char **)argv);
	fflush(NULL);
	take(out, saved_out, STDOUT_FILENO, output, sizeof output);
	take(err, saved_err, STDERR_FILENO, complaint, sizeof complaint);
	return status;
}

static bool says(const char *text, const char *part)
{
	return strstr(text, part) != NULL;
}

static json_int_t integer(json_t *o, const char *key)
{
	json_t *value = json_object_get(o, key);
	cr_assert(json_is_integer(value), "%s is not an integer", key);
	return json_integer_value(value);
}

static json_t *account_of(json_t *document, size_t index)
{
	return json_array_get(json_object_get(document, "accounts"), index);
}

/* --- ledgers --- */

static void member_put(struct ledger *l, uint32_t s, enum slot_state state, uint32_t granted, uint32_t used,
		       int32_t pid)
{
	l->slot[s].purse.word = PURSE(granted, used);
	l->slot[s].pid = pid;
	l->slot[s].category[CATEGORY_HEAP] = used;
	memcpy(l->slot[s].comm, "sixteen bytes!!!", COMM_BYTES); /* not terminated */
	l->slot[s].state = SLOT_WORD(1, 0, state);
	l->header.slot_top = s >= l->header.slot_top ? s + 1 : l->header.slot_top;
}

static struct refusal refusal_of(uint64_t time_ns, int32_t pid)
{
	return (struct refusal){ .time_ns = time_ns, .pid = pid, .comm = "sort", .op = OP_FORK,
				 .reason = REASON_LIMIT, .bytes = 4096, .limit = 10, .used = 9 };
}

static void refusal_put(struct ledger *l, uint64_t time_ns, int32_t pid)
{
	struct refusal r = refusal_of(time_ns, pid);
	refusal_push(l, &r);
}

/* --- status --- */

Test(verbs, status_without_a_broker_says_so_and_what_to_do)
{
	cr_assert_eq(solvent("status", "--socket", "/no/such/socket", NULL), 1);
	cr_assert_str_eq(complaint, "solvent: no broker answers at /no/such/socket: No such file or directory; "
				    "start solventd or use --socket\n");
	cr_assert_str_eq(output, "");
	cr_assert_eq(solvent("--socket", "@solvent-nobody", "log", NULL), 1);
	cr_assert(says(complaint, "no broker answers at @solvent-nobody: Connection refused"));
	cr_assert_eq(solvent("audit", "--socket", "", NULL), 1);
	cr_assert(says(complaint, "the name is empty"));
	static const char *const others[][2] = { { "log", "--account=pg" }, { "audit", "--account=pg" }, { "rank", "--all" } };
	for (size_t i = 0; i < 3; i++) {
		cr_assert_eq(solvent("--socket", "/no/such/socket", others[i][0], others[i][1]), 1);
		cr_assert(says(complaint, "no broker answers at /no/such/socket"), "%s: %s", others[i][0], complaint);
	}
}

Test(verbs, status_in_json_adds_up)
{
	struct ledger *l = account_add("pg");
	member_put(l, 0, SLOT_LIVE, 100, 60, 11);
	member_put(l, 4095, SLOT_EMBRYO, 50, 0, 0);
	l->object[3].purse.word = PURSE(7, 7);
	l->object[3].state = OBJECT_WORD(0, 1, OBJECT_SYSV);
	l->object[3].holders[0] = 5;
	l->header.object_top = 4;
	l->header.peak = 200;
	broker_start();
	cr_assert_eq(solvent("status", "--json", NULL, NULL), 0);
	json_t *o = json_loads(output, 0, NULL);
	cr_assert_not_null(o, "not one document: %s", output);
	json_t *pool = json_object_get(o, "pool"), *a = account_of(o, 0);
	cr_assert_eq(integer(o, "v"), 1);
	cr_assert(json_is_null(json_object_get(pool, "limit_bytes")), "infinity");
	cr_assert_eq(integer(pool, "granted_bytes"), 4096000);
	cr_assert_str_eq(json_string_value(json_object_get(pool, "started")), "2026-01-31T12:00:00.000Z");
	cr_assert_str_eq(json_string_value(json_object_get(a, "name")), "pg");
	cr_assert_eq(integer(a, "limit_bytes"), 4096 << 12);
	cr_assert_eq(integer(a, "used_bytes"), (60 + 50 + 7) << 12, "idle slack is not used");
	cr_assert_eq(integer(a, "peak_bytes"), 200 << 12);
	json_t *members = json_object_get(a, "members"), *objects = json_object_get(a, "objects");
	cr_assert_eq(json_array_size(members), 2);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(members, 0), "comm")), "sixteen bytes!!!");
	cr_assert_eq(integer(json_array_get(members, 0), "granted_bytes"), 100 << 12);
	cr_assert_eq(integer(json_array_get(members, 1), "used_bytes"), 50 << 12, "an embryo's grant");
	cr_assert_eq(integer(json_object_get(json_array_get(members, 0), "categories"), "heap"), 60 << 12);
	cr_assert_eq(json_array_size(objects), 1);
	cr_assert_eq(integer(json_array_get(objects, 0), "bytes"), 7 << 12);
	cr_assert_eq(integer(json_array_get(objects, 0), "holders"), 2);
	json_decref(o);
	broker_stop();
}

Test(verbs, status_for_people_has_a_row_for_every_account)
{
	struct ledger *l = account_add("pg");
	account_add("web")->header.limit = PAGES_MAX;
	l->header.mode = ACCOUNT_OBSERVE;
	l->header.observed_count = 1234;
	broker_start();
	cr_assert_eq(solvent("status", NULL, NULL, NULL), 0);
	cr_assert(says(output, "pg                   observe    16.0 MiB"), "%s", output);
	cr_assert(says(output, "1234\n"), "%s", output);
	cr_assert(says(output, "web                  enforce    infinity"), "%s", output);
	broker_stop();
}

Test(verbs, status_shows_an_account_whose_ledger_cannot_be_read)
{
	account_add("broken")->header.magic = 0;
	account_add("good");
	close(broker.fd[1]);
	broker.fd[1] = -1;
	broker_start();
	cr_assert_eq(solvent("status", NULL, NULL, NULL), 0);
	cr_assert(says(output, "broken               its ledger cannot be read"), "%s", output);
	cr_assert_eq(solvent("status", "--json", NULL, NULL), 0);
	json_t *o = json_loads(output, 0, NULL);
	cr_assert(json_is_true(json_object_get(account_of(o, 0), "damaged")));
	cr_assert(json_is_true(json_object_get(account_of(o, 1), "damaged")));
	json_decref(o);
	broker.damaged = true;
	cr_assert_eq(solvent("status", NULL, NULL, NULL), 0);
	cr_assert(says(output, "good                 its ledger was written over"), "%s", output);
	broker_stop();
}

/* --- log --- */

static size_t lines(const char *text)
{
	size_t n = 0;
	for (; (text = strchr(text, '\n')); text++)
		n++;
	return n;
}

Test(verbs, log_merges_the_accounts_by_time)
{
	struct ledger *a = account_add("a"), *b = account_add("b");
	refusal_put(a, 1000000000, 0);
	refusal_put(b, 2000000000, 0);
	refusal_put(a, 3000000000, 1);
	refusal_put(b, 3000000000, 1);
	broker_start();
	cr_assert_eq(solvent("log", NULL, NULL, NULL), 0);
	cr_assert_str_eq(output,
			 "1970-01-01T00:00:01.000Z a sort[0] refused fork 4 KiB   budget 40 KiB, held 36 KiB\n"
			 "1970-01-01T00:00:02.000Z b sort[0] refused fork 4 KiB   budget 40 KiB, held 36 KiB\n"
			 "1970-01-01T00:00:03.000Z a sort[1] refused fork 4 KiB   budget 40 KiB, held 36 KiB\n"
			 "1970-01-01T00:00:03.000Z b sort[1] refused fork 4 KiB   budget 40 KiB, held 36 KiB\n");
	cr_assert_eq(solvent("log", "--account", "b", NULL), 0);
	cr_assert_eq(lines(output), 2);
	broker_stop();
}

Test(verbs, log_in_json_is_one_document_a_line)
{
	struct ledger *l = account_add("a");
	struct refusal r = refusal_of(1500000000, 7);
	r.frames = 1;
	r.module[0] = REFUSAL_NO_MODULE;
	r.offset[0] = 0x1234;
	r.observed = 1;
	refusal_push(l, &r);
	refusal_put(l, 2500000000, 8);
	broker_start();
	cr_assert_eq(solvent("log", "--json", NULL, NULL), 0);
	cr_assert_eq(lines(output), 2);
	json_t *o = json_loads(output, JSON_DISABLE_EOF_CHECK, NULL);
	cr_assert_eq(integer(o, "v"), 1);
	cr_assert_str_eq(json_string_value(json_object_get(o, "time")), "1970-01-01T00:00:01.500Z");
	cr_assert_str_eq(json_string_value(json_object_get(o, "op")), "fork");
	cr_assert_str_eq(json_string_value(json_object_get(o, "reason")), "limit");
	cr_assert_str_eq(json_string_value(json_object_get(o, "outcome")), "observed");
	cr_assert_eq(integer(o, "limit_bytes"), 40960);
	cr_assert_eq(integer(json_array_get(json_object_get(o, "frames"), 0), "offset"), 0x1234);
	json_decref(o);
	broker_stop();
}

Test(verbs, log_keeps_to_what_the_ring_still_holds)
{
	struct ledger *l = account_add("a");
	for (uint32_t n = 0; n < LEDGER_REFUSALS + 10; n++)
		refusal_put(l, n, (int32_t)n);
	l->refusal[20].seq = 2 * (uint64_t)20 + 1; /* being written */
	broker_start();
	cr_assert_eq(solvent("log", NULL, NULL, NULL), 0);
	cr_assert_eq(lines(output), LEDGER_REFUSALS - 1);
	cr_assert(says(output, "sort[521]") && says(output, "sort[10]") && !says(output, "sort[9]"));
	broker_stop();
}

Test(verbs, log_is_not_kept_busy_by_a_nonsense_head)
{
	static const uint64_t HEADS[] = { UINT64_MAX, UINT64_MAX - 5, 1ull << 63, LEDGER_REFUSALS - 1 };
	struct ledger *l = account_add("a");
	broker_start();
	for (size_t i = 0; i < ARRAY_N(HEADS); i++) {
		l->header.refusal_head = HEADS[i];
		cr_assert_eq(solvent("log", NULL, NULL, NULL), 0, "head %zu", i);
		cr_assert_str_eq(output, "", "head %zu", i);
	}
	broker_stop();
}

Test(verbs, log_and_audit_name_the_accounts_when_asked_for_another)
{
	account_add("pg");
	account_add("web");
	broker_start();
	cr_assert_eq(solvent("log", "--account", "nginx", NULL), 1);
	cr_assert(says(complaint, "no account \"nginx\"; it has pg, web"), "%s", complaint);
	cr_assert_eq(solvent("audit", "--account", "nginx", NULL), 1);
	cr_assert(says(complaint, "no account \"nginx\"; it has pg, web"), "%s", complaint);
	broker_stop();
}

/* --- audit --- */

Test(verbs, audit_ends_with_1_when_a_member_is_under)
{
	struct ledger *l = account_add("a");
	member_put(l, 7, SLOT_LIVE, 1u << 20, 1u << 20, getpid());
	l->slot[7].peak = 1;
	broker_start();
	cr_assert_eq(solvent("audit", NULL, NULL, NULL), 0);
	cr_assert(!says(output, "UNDER"), "%s", output);
	l->slot[7].purse.word = PURSE(1, 1);
	cr_assert_eq(solvent("audit", NULL, NULL, NULL), 1);
	cr_assert(says(output, "UNDER"), "%s", output);
	cr_assert_eq(solvent("audit", "--json", NULL, NULL), 1);
	json_t *o = json_loads(output, 0, NULL);
	json_t *m = json_array_get(json_object_get(account_of(o, 0), "members"), 0);
	cr_assert_eq(integer(o, "under"), 1);
	cr_assert_str_eq(json_string_value(json_object_get(m, "verdict")), "under");
	cr_assert_eq(integer(m, "charge_bytes"), 4096);
	cr_assert_eq(integer(m, "difference_bytes"), 4096 - integer(m, "kernel_bytes"));
	json_decref(o);
	broker_stop();
}

/* --- bad company --- */

Test(verbs, believe_only_a_broker_of_this_version)
{
	static const struct {
		enum manners manners;
		const char *want;
	} ROWS[] = {
		{ OTHER_VERSION, "another version of the protocol" },
		{ OTHER_MAGIC, "not a broker" },
		{ CUT_SHORT, "not a broker" },
		{ TOO_LONG, "not a broker" },
		{ HANGS_UP, "closed the connection" },
	};
	account_add("a");
	broker_start();
	for (size_t i = 0; i < ARRAY_N(ROWS); i++) {
		broker.manners = ROWS[i].manners;
		cr_assert_eq(solvent("status", NULL, NULL, NULL), 1, "row %zu", i);
		cr_assert(says(complaint, ROWS[i].want), "row %zu: %s", i, complaint);
	}
	broker_stop();
}

Test(verbs, survive_a_ledger_full_of_random_bytes)
{
	struct ledger *l = account_add("a");
	broker_start();
	srand(20260131);
	for (int round = 0; round < 20; round++) {
		unsigned char *from = (unsigned char *)&l->header + offsetof(struct ledger_header, limit);
		for (unsigned char *at = from; at < (unsigned char *)(l + 1); at++)
			*at = (unsigned char)rand();
		/* Some look more like a ledger than others. */
		for (uint32_t s = 0; s < LEDGER_SLOTS; s++)
			l->slot[s].pid = round % 2 ? l->slot[s].pid : 1 << 30;
		cr_assert_eq(solvent("status", NULL, NULL, NULL), 0, "round %d", round);
		cr_assert_eq(solvent("status", "--json", NULL, NULL), 0, "round %d", round);
		json_t *o = json_loads(output, 0, NULL);
		cr_assert_not_null(o, "round %d: %.200s", round, output);
		json_decref(o);
		cr_assert_eq(solvent("log", "--json", "--frames", NULL), 0, "round %d", round);
		cr_assert_eq(solvent("audit", "--json", NULL, NULL) & ~1, 0, "round %d", round);
	}
	broker_stop();
}

/* --- the command line --- */

Test(verbs, refuse_a_wrong_command_line_with_their_own_status)
{
	static const struct {
		const char *a, *b, *c;
		int status;
		const char *want;
	} ROWS[] = {
		{ NULL, NULL, NULL, 2, "a verb is missing" },
		{ "nonsense", NULL, NULL, 2, "there is no verb \"nonsense\"" },
		{ "--nonsense", NULL, NULL, 2, "--nonsense" },
		{ "--socket", NULL, NULL, 2, "--socket needs a value" },
		{ "status", "extra", NULL, 2, "extra" },
		{ "status", "--jsn", NULL, 2, "--jsn" },
		{ "status", "--json=yes", NULL, 2, "--json=yes" },
		{ "status", "-x", NULL, 2, "-x" },
		{ "log", "--account", NULL, 2, "--account needs a value" },
		{ "audit", "--follow", NULL, 2, "--follow" },
		{ "run", NULL, NULL, 125, "a command to run is missing" },
		{ "run", "--nonsense", "true", 125, "--nonsense" },
		{ "run", "--budget=16X", "true", 125, "--budget 16X is not a size" },
		{ "run", "--budget=-1", "true", 125, "--budget -1 is not a size" },
		{ "run", "--budget=1e99", "true", 125, "--budget 1e99 is not a size" },
		{ "run", "--budget=0", "true", 125, "leaves no room" },
		{ "run", "--mode=observe", "true", 125, "--mode goes with --budget" },
		{ "run", "--fork=30%", "true", 125, "--fork goes with --budget" },
		{ "run", "--no-broker=maybe", "true", 125, "neither strict nor open" },
		{ "run", "--account=", "true", 125, "1 to 63 characters" },
	};
	for (size_t i = 0; i < ARRAY_N(ROWS); i++) {
		cr_expect_eq(solvent(ROWS[i].a, ROWS[i].b, ROWS[i].c, NULL), ROWS[i].status, "row %zu", i);
		cr_expect(says(complaint, ROWS[i].want), "row %zu: %s", i, complaint);
		cr_expect_str_eq(output, "", "row %zu", i);
	}
}

Test(verbs, refuse_options_that_exclude_each_other)
{
	cr_assert_eq(solvent("run", "--account=pg", "--budget=5M", "true"), 125);
	cr_assert(says(complaint, "--budget and --account exclude each other"), "%s", complaint);
	cr_assert_eq(solvent("run", "--account=pg", "--mode=observe", "true"), 125);
	cr_assert(says(complaint, "--mode and --account exclude each other"), "%s", complaint);
	cr_assert_eq(solvent("run", "--budget=5M", "--mode=lax", "true"), 125);
	cr_assert(says(complaint, "--mode lax is neither"), "%s", complaint);
	cr_assert_eq(solvent("run", "--budget=5M", "--fork=0%", "true"), 125);
	cr_assert(says(complaint, "--fork 0% is neither"), "%s", complaint);
	cr_assert_eq(solvent("run", "--budget=5M", "--fork=101%", "true"), 125);
	cr_assert(says(complaint, "--fork 101% is neither"), "%s", complaint);
	cr_assert_eq(solvent("run", "--budget=5M", "--socket=/x", "true"), 125);
	cr_assert(says(complaint, "--budget and --socket exclude each other"), "%s", complaint);
}

Test(verbs, explain_themselves_on_stdout)
{
	static const char *const VERBS[] = { "run", "status", "log", "audit" };
	for (size_t i = 0; i < ARRAY_N(VERBS); i++) {
		char usage[64];
		snprintf(usage, sizeof usage, "Usage: solvent %s ", VERBS[i]);
		cr_assert_eq(solvent(VERBS[i], "--help", NULL, NULL), 0);
		cr_assert(says(output, usage), "%s", VERBS[i]);
		cr_assert_str_eq(complaint, "");
	}
	cr_assert_eq(solvent("--help", NULL, NULL, NULL), 0);
	for (size_t i = 0; i < ARRAY_N(VERBS); i++)
		cr_assert(says(output, VERBS[i]), "%s", VERBS[i]);
	cr_assert_eq(solvent("--version", NULL, NULL, NULL), 0);
	cr_assert_eq(strncmp(output, "solvent ", 8), 0);
}
