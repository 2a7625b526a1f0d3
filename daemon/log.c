/* SPDX-License-Identifier: MIT */
/* syslog(3) takes a lock, may allocate and may wait; a broker that waits for its log
 * keeps every member waiting. So lines are formatted on the stack and sent at once or
 * not at all, and a flood of them is counted instead of written. */
#include "daemon/log.h"

#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOG_FACILITY_DAEMON (3 << 3)
#define LOG_LINE_BYTES 1024

static enum log_target target = LOG_TO_STDERR;
static bool journal;
static int syslog_fd = -1;

/* Two budgets: what strangers can cause (refused joins) must not crowd out what matters. */
static struct burst {
	int64_t since_s;
	unsigned lines, left_out;
} bursts[2];

static void syslog_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "/dev/log" };
	if (syslog_fd < 0)
		syslog_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (syslog_fd >= 0)
		connect(syslog_fd, (struct sockaddr *)&address, sizeof address);
}

void log_open(enum log_target to)
{
	target = to;
	journal = getenv("JOURNAL_STREAM") != NULL;
	if (to == LOG_TO_SYSLOG)
		syslog_connect();
}

/* A pipe that has room at all has room for PIPE_BUF bytes (man 7 pipe), so a write after
 * this does not wait. */
static bool stderr_has_room(void)
{
	struct pollfd p = { .fd = STDERR_FILENO, .events = POLLOUT };
	return poll(&p, 1, 0) == 1 && (p.revents & POLLOUT) != 0;
}

static void line_write(enum log_level level, const char *text)
{
	char line[LOG_LINE_BYTES + 64];
	int n;
	if (target == LOG_TO_SYSLOG) {
		n = snprintf(line, sizeof line, "<%d>solventd[%d]: %s", LOG_FACILITY_DAEMON | (int)level,
			     (int)getpid(), text);
		if (send(syslog_fd, line, (size_t)n, MSG_NOSIGNAL) < 0)
			syslog_connect();
		return;
	}
	n = journal ? snprintf(line, sizeof line, "<%d>%s\n", (int)level, text) :
		      snprintf(line, sizeof line, "solventd: %s\n", text);
	if (stderr_has_room() && write(STDERR_FILENO, line, (size_t)n) < 0)
		return; /* nobody is left to tell */
}

/* May this line be written? A new interval begins with the count of what the last one
 * left out. */
static bool burst_allows(enum log_level level)
{
	struct burst *b = &bursts[level >= LOG_LEVEL_NOTICE];
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec - b->since_s >= LOG_INTERVAL_S || b->lines == 0) {
		char text[64];
		snprintf(text, sizeof text, "%u lines like these were left out", b->left_out);
		if (b->left_out > 0)
			line_write(level, text);
		*b = (struct burst){ .since_s = now.tv_sec };
	}
	if (b->lines >= LOG_BURST) {
		b->left_out++;
		return false;
	}
	b->lines++;
	return true;
}

void log_line(enum log_level level, const char *format, ...)
{
	if (!burst_allows(level))
		return;
	char text[LOG_LINE_BYTES];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	line_write(level, text);
}

void log_doubt(void *context, const char *sentence)
{
	(void)context;
	log_warning("%s", sentence);
}
