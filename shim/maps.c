/* SPDX-License-Identifier: MIT */
#include "shim/maps.h"

#include <string.h>

#include "shim/raw.h"

/* A line's beginning, in 256 bytes at most: all fields but the end of a long name. */
static bool line_read(struct maps *m, char *line, size_t n)
{
	size_t length = 0;
	for (;;) {
		if (m->at == m->have) {
			long got = raw_call3(SYS_read, m->fd, m->buffer, sizeof m->buffer);
			if (got <= 0)
				return false;
			m->have = (size_t)got;
			m->at = 0;
		}
		char c = m->buffer[m->at++];
		if (c == '\n')
			break;
		if (length + 1 < n)
			line[length++] = c;
	}
	line[length] = '\0';
	return true;
}

static uintptr_t hex_parse(const char **at)
{
	uintptr_t value = 0;
	for (;; (*at)++) {
		char c = **at;
		if (c >= '0' && c <= '9')
			value = value << 4 | (uintptr_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uintptr_t)(c - 'a' + 10);
		else
			return value;
	}
}

/* "start-end rwxp offset device inode   name": the name, behind three more fields, is
 * compared whole, for a file may be called anything. */
static enum maps_kind kind_parse(const char *at)
{
	for (int field = 0; field < 3; field++) {
		at += strspn(at, " ");
		at += strcspn(at, " ");
	}
	at += strspn(at, " ");
	return strcmp(at, "[stack]") == 0 ? MAPS_STACK : strcmp(at, "[heap]") == 0 ? MAPS_HEAP : MAPS_OTHER;
}

static bool line_parse(const char *at, struct maps_entry *ret)
{
	struct maps_entry e = { .start = hex_parse(&at) };
	if (*at++ != '-')
		return false;
	e.end = hex_parse(&at);
	if (*at++ != ' ' || strnlen(at, 4) < 4 || e.end <= e.start)
		return false;
	e.writable = at[1] == 'w';
	e.private = at[3] == 'p';
	e.kind = kind_parse(at + 4);
	*ret = e;
	return true;
}

bool maps_next(struct maps *m, struct maps_entry *ret)
{
	char line[256];
	while (line_read(m, line, sizeof line))
		if (line_parse(line, ret))
			return true;
	return false;
}
