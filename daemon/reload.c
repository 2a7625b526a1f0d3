/* SPDX-License-Identifier: MIT */
/* The child shares nothing with the broker but the pipe, so whatever goes wrong in it - a
 * crash, a user database that does not answer - leaves the old configuration in force. */
#include "daemon/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>


static void sentence_keep(void *context, const char *sentence)
{
	struct reload_result *result = context;
	snprintf(result->sentence, sizeof result->sentence, "%s", sentence);
}

void reload_task(const char *file, int to)
{
	static struct reload_result result;
	/* Whoever waits for it gives up, and so does it. */
	alarm((unsigned)(RELOAD_PATIENCE_NS / 1000000000));
	result.ok = config_read(file, sentence_keep, &result, &result.config) == 0;
	const char *at = (const char *)&result;
	for (size_t n = 0; n < sizeof result;) {
		ssize_t w = write(to, at + n, sizeof result - n);
		if (w <= 0)
			return;
		n += (size_t)w;
	}
}

int reload_begin(struct reload *r, const struct helper *h, const char *file, uint64_t now_ns)
{
	int line[2];
	reload_end(r);
	if (pipe2(line, O_CLOEXEC) != 0)
		return -errno;
	memset(&r->result, 0, sizeof r->result);
	int error = helper_ask(h, RELOAD_WORD, file, line[1]);
	close(line[1]);
	if (error) {
		close(line[0]);
		return error;
	}
	fcntl(line[0], F_SETFL, O_NONBLOCK);
	r->under_way = true;
	r->fd = line[0];
	r->since_ns = now_ns;
	r->got = 0;
	return 0;
}

bool reload_hear(struct reload *r)
{
	ssize_t n = read(r->fd, (char *)&r->result + r->got, sizeof r->result - r->got);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR;
	r->got += (size_t)n;
	if (n > 0 && r->got < sizeof r->result)
		return false;
	if (r->got < sizeof r->result) {
		r->result.ok = false;
		snprintf(r->result.sentence, sizeof r->result.sentence, "the process that read it ended early");
	}
	return true;
}

void reload_end(struct reload *r)
{
	if (!r->under_way)
		return;
	close(r->fd);
	r->under_way = false;
}
