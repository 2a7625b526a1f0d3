/* SPDX-License-Identifier: MIT */
/* solvent status, log, audit and the summary of a run, when the broker answers anything and
 * hands out anything, and the ledgers hold anything. What is printed is printable, and what
 * is called JSON is JSON. */
#include "tests/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "cli/account.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/reason.h"
#include "cli/smaps.h"
#include "cli/summary.h"
#include "cli/symbols.h"
#include "reserve/ledger.h"
#include "reserve/refusal.h"

#define REPLIES 6

/* What the broker says to whoever opens a line: packets in order, each with descriptors. */
static struct reply {
	uint8_t byte[sizeof(struct reply_account) + 8];
	size_t n;
	int fd[3];
	int fds;
} replies[REPLIES];
static uint32_t replies_n;

/* --- in the place of the world outside --- */

int __wrap_client_open(const char *name);
int __wrap_smaps_of(int32_t pid, uint64_t *ret_pages);
int __wrap_statm_of(int32_t pid, uint64_t *ret_pages);
int __wrap_start_ticks_of(int32_t pid, uint64_t *ret_ticks);
const char *__wrap_reason_unattached(int32_t pid);
int __real_nanosleep(const struct timespec *pause, struct timespec *ret_rest);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *ret_rest);
bool __wrap_symbols_find(const struct refusal_module *module, int32_t pid, uint64_t offset, struct symbol *ret);

static void reply_send(int fd, const struct reply *r)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof r->fd)];
	} control = { .room = { 0 } };
	struct iovec part = { (void *)r->byte, r->n };
	struct msghdr m = { .msg_iov = &part, .msg_iovlen = 1 };
	if (r->fds > 0) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)r->fds * sizeof(int));
		*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
						       .cmsg_len = CMSG_LEN((size_t)r->fds * sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), r->fd, (size_t)r->fds * sizeof(int));
	}
	must(sendmsg(fd, &m, MSG_NOSIGNAL) == (ssize_t)r->n);
}

/* Its end is held until the next is opened, so that what is said to it is not refused. */
static int broker = -1;

static void broker_hang_up(void)
{
	if (broker >= 0)
		close(broker);
	broker = -1;
}

int __wrap_client_open(const char *name)
{
	int line[2];
	(void)name;
	must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) == 0);
	for (uint32_t i = 0; i < replies_n; i++)
		reply_send(line[1], &replies[i]);
	must(shutdown(line[1], SHUT_WR) == 0);
	broker_hang_up();
	broker = line[1];
	return line[0];
}

int __wrap_smaps_of(int32_t pid, uint64_t *ret_pages)
{
	*ret_pages = 1000;
	return pid % 3 == 2 ? -EACCES : 0;
}

int __wrap_statm_of(int32_t pid, uint64_t *ret_pages)
{
	*ret_pages = UINT64_MAX;
	return pid % 5 == 4 ? -ESRCH : 0;
}

int __wrap_start_ticks_of(int32_t pid, uint64_t *ret_ticks)
{
	*ret_ticks = 7;
	return pid % 7 == 6 ? -ENOENT : 0;
}

const char *__wrap_reason_unattached(int32_t pid)
{
	return pid % 2 ? "statically linked" : "ended";
}

/* The audit waits for a round of the broker's. libFuzzer has a thread that sleeps, too. */
int __wrap_nanosleep(const struct timespec *pause, struct timespec *ret_rest)
{
	return gettid() == getpid() ? 0 : __real_nanosleep(pause, ret_rest);
}

bool __wrap_symbols_find(const struct refusal_module *module, int32_t pid, uint64_t offset, struct symbol *ret)
{
	(void)module, (void)pid;
	*ret = (struct symbol){ .function = "main", .into = offset, .source = "a.c", .line = 7 };
	return offset % 2;
}

/* --- what is handed out --- */

static struct ledger *ledger; /* ours, to write to */
static int ledger_fd;

static void feed_words(struct feed *f, void *at, size_t bytes, size_t near)
{
	for (uint8_t i = feed_byte(f) % 16; i > 0; i--) {
		size_t where = feed_number(f, 3) / 8 * 8 % (feed_byte(f) & 1 ? near : bytes / 8 * 8);
		uint64_t value = feed_number(f, feed_byte(f) % 9);
		memcpy((char *)at + where, &value, sizeof value);
	}
}

static void feed_member(struct feed *f)
{
	struct slot *s = &ledger->slot[feed_byte(f) % 4];
	s->state = SLOT_WORD(feed_byte(f), feed_byte(f), feed_byte(f) % 4);
	s->pid = (int32_t)feed_number(f, 4);
	s->flags = feed_byte(f) % 4;
	s->purse.word = feed_number(f, 8);
	s->joined_ns = feed_number(f, 8);
	feed_bytes(f, s->comm, sizeof s->comm);
	s->category[feed_byte(f) % CATEGORY_N] = (uint32_t)feed_number(f, 4);
	ledger->header.slot_top = 4;
}

static void feed_object(struct feed *f)
{
	struct object *o = &ledger->object[feed_byte(f) % 4];
	o->state = feed_number(f, 8);
	o->purse.word = feed_number(f, 8);
	memset(o->holders, feed_byte(f), sizeof o->holders);
	ledger->header.object_top = 4;
}

static void feed_refusal(struct feed *f)
{
	struct refusal r;
	memset(&r, 0, sizeof r);
	feed_bytes(f, &r, offsetof(struct refusal, offset));
	r.op = (uint16_t)(r.op % (OP_N + 2));
	r.reason = (uint16_t)(r.reason % (REASON_N + 2));
	r.frames = (uint16_t)(r.frames % (REFUSAL_FRAMES + 8));
	for (uint32_t i = 0; i < 4; i++) {
		r.offset[i] = feed_number(f, 2);
		r.module[i] = feed_byte(f) % 10;
	}
	feed_bytes(f, r.modules[0].name, feed_byte(f) % (sizeof r.modules[0].name + 1));
	feed_bytes(f, r.modules[0].build_id, feed_byte(f) % BUILD_ID_BYTES);
	refusal_push(ledger, &r);
}

static void feed_ledger(struct feed *f)
{
	ledger_fd = ledger_create("x");
	must(ledger_fd >= 0 && ledger_map(ledger_fd, true, &ledger) == 0);
	uint8_t head = feed_byte(f);
	ledger->header.refusal_head = head < 128 ? head : feed_number(f, 8);
	for (uint8_t i = feed_byte(f) % 4; i > 0; i--)
		feed_member(f);
	for (uint8_t i = feed_byte(f) % 4; i > 0; i--)
		feed_object(f);
	for (uint8_t i = feed_byte(f) % 4; i > 0; i--)
		feed_refusal(f);
	feed_words(f, ledger, LEDGER_BYTES, sizeof ledger->header);
}

static int feed_descriptor(struct feed *f)
{
	char path[32];
	int fd;
	switch (feed_byte(f) % 8) {
	case 0:
		return memfd_create("empty", MFD_CLOEXEC);
	case 1:
		fd = memfd_create("unsealed", MFD_CLOEXEC);
		must(ftruncate(fd, LEDGER_BYTES) == 0);
		return fd;
	case 2:
		fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		must(ftruncate(fd, 5000) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
		return fd;
	case 3:
		return eventfd(0, EFD_CLOEXEC);
	case 4:
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	default:
		snprintf(path, sizeof path, "/proc/self/fd/%d", ledger_fd);
		return open(path, O_RDONLY | O_CLOEXEC);
	}
}

static void feed_pool(struct feed *f, struct reply *r)
{
	struct reply_pool p = { .head = { PROTOCOL_MAGIC, PROTOCOL_VERSION, OPCODE_POOL, 0, 0 } };
	feed_bytes(f, &p.limit, sizeof p - offsetof(struct reply_pool, limit));
	memcpy(r->byte, &p, r->n = sizeof p);
}

static void feed_account(struct feed *f, struct reply *r)
{
	struct reply_account a = { .head = { PROTOCOL_MAGIC, PROTOCOL_VERSION, OPCODE_ACCOUNT, 0, 0 } };
	feed_bytes(f, &a.index, offsetof(struct reply_account, account) - offsetof(struct reply_account, index));
	feed_bytes(f, a.account, feed_byte(f) % (sizeof a.account + 1));
	memcpy(r->byte, &a, r->n = sizeof a);
	r->fds = feed_byte(f) % 8 < 6 ? 1 : feed_byte(f) % 4;
	for (int i = 0; i < r->fds; i++)
		r->fd[i] = feed_descriptor(f);
}

/* The last account, as an honest broker says it. */
static void reply_end(struct reply *r)
{
	struct reply_account a = { .head = { PROTOCOL_MAGIC, PROTOCOL_VERSION, OPCODE_ACCOUNT, STATUS_END, 0 } };
	memcpy(r->byte, &a, r->n = sizeof a);
}

static void feed_replies(struct feed *f)
{
	uint8_t odd = feed_byte(f), accounts = feed_byte(f) % (REPLIES - 1);
	memset(replies, 0, sizeof replies);
	feed_pool(f, &replies[0]);
	for (uint8_t i = 0; i < accounts; i++)
		feed_account(f, &replies[1 + i]);
	replies_n = 1 + accounts;
	if (replies_n < REPLIES)
		reply_end(&replies[replies_n++]);
	struct reply *r = &replies[odd % replies_n];
	if (odd >= 200)
		r->n = 1 + feed_byte(f) % sizeof r->byte;
	if (odd >= 150)
		feed_words(f, r->byte, sizeof(struct message), sizeof(struct message));
}

/* --- what is printed --- */

static void printed_check(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++)
		must(text[i] == '\n' || (text[i] >= ' ' && text[i] <= '~'));
}

static void json_check(const char *text, size_t n)
{
	json_error_t error;
	for (const char *at = text; at < text + n;) {
		json_t *document = json_loadb(at, (size_t)(text + n - at), JSON_DISABLE_EOF_CHECK, &error);
		must(document);
		json_decref(document);
		at += error.position;
		at += strspn(at, "\n");
	}
}

static void run(const char *verb, const char *option)
{
	char *text = NULL, *complaint = NULL;
	size_t n = 0, complaint_n = 0;
	FILE *out = stdout, *err = stderr;
	char *argv[] = { (char *)"solvent", (char *)verb, (char *)option, NULL };
	stdout = open_memstream(&text, &n);
	stderr = open_memstream(&complaint, &complaint_n);
	int status = cli_main(option ? 3 : 2, argv);
	fclose(stdout);
	fclose(stderr);
	stdout = out;
	stderr = err;
	must(status == CLI_OK || status == CLI_NO);
	must(status == CLI_OK || n > 0 || complaint_n > 0);
	printed_check(text, n);
	printed_check(complaint, complaint_n);
	if (option && strcmp(option, "--json") == 0)
		json_check(text, n);
	free(text);
	free(complaint);
}

/* The end of a run whose account it is. */
static void summary_run(struct feed *f)
{
	char *complaint = NULL;
	size_t n = 0;
	FILE *err = stderr;
	struct account a = { .name = "x" };
	struct summary s;
	if (ledger_map(ledger_fd, false, &a.ledger) != 0)
		return;
	summary_begin(&s, "/bin/command", &a, feed_byte(f) & 1, true);
	feed_words(f, ledger, LEDGER_BYTES, sizeof ledger->header);
	stderr = open_memstream(&complaint, &n);
	summary_print(&s, (int)feed_number(f, 2));
	fclose(stderr);
	stderr = err;
	/* strsignal(3) may say it in the language of the place. */
	must(n > 0);
	free(complaint);
	account_close(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	unsigned before = descriptors();
	feed_ledger(&f);
	feed_replies(&f);
	run("status", NULL);
	run("status", "--json");
	run("log", NULL);
	run("log", "--json");
	run("log", "--frames");
	run("log", "--account=x");
	run("audit", NULL);
	run("audit", "--json");
	summary_run(&f);
	for (uint32_t i = 0; i < replies_n; i++)
		for (int k = 0; k < replies[i].fds; k++)
			close(replies[i].fd[k]);
	ledger_unmap(ledger);
	close(ledger_fd);
	broker_hang_up();
	must(descriptors() == before);
	return 0;
}
