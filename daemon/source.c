/* SPDX-License-Identifier: MIT */
/* libconfuse's lexer is good enough for good files. A person who made a mistake needs the
 * right line and a sentence, so the mistakes it lets pass, or counts wrong, are found
 * here. */
#include "daemon/source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int source_fill(int fd, char *text, size_t most)
{
	size_t n = 0;
	while (n <= most) {
		ssize_t r = read(fd, text + n, most + 1 - n);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0) {
			text[n] = '\0';
			return (int)n;
		}
		n += (size_t)r;
	}
	return -EFBIG;
}

int source_load(const char *file, size_t most, char **ret_text, size_t *ret_bytes)
{
	/* A FIFO nobody writes to, or a terminal, must not hold us. */
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	struct stat st;
	char *text = malloc(most + 2);
	int n = !text ? -ENOMEM : fstat(fd, &st) != 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR :
		source_fill(fd, text, most);
	close(fd);
	if (n < 0) {
		free(text);
		return n;
	}
	*ret_text = text;
	*ret_bytes = (size_t)n;
	return 0;
}

struct scan {
	char *at;
	char *end;
	unsigned line;
	unsigned depth, opened; /* sections open, and the line of the outermost */
	bool fresh;             /* a token may begin here, so a comment may too */
};

static void blank(struct scan *s, size_t n)
{
	for (; n > 0 && s->at < s->end; n--, s->at++) {
		s->line += *s->at == '\n';
		if (*s->at != '\n')
			*s->at = ' ';
	}
}

/* At a comment? Then it is gone afterwards. */
static const char *comment_skip(struct scan *s, bool *ret_was)
{
	*ret_was = true;
	if (s->at[0] == '#' || strncmp(s->at, "//", 2) == 0) {
		blank(s, strcspn(s->at, "\n"));
	} else if (strncmp(s->at, "/*", 2) == 0) {
		char *close_ = strstr(s->at + 2, "*/");
		if (!close_)
			return "this comment never ends; write */ after it";
		blank(s, (size_t)(close_ + 2 - s->at));
	} else {
		*ret_was = false;
	}
	return NULL;
}

static const char *string_skip(struct scan *s)
{
	char quote = *s->at;
	for (char *p = s->at + 1; p < s->end && *p != '\n'; p++) {
		if (*p == '\\' && p + 1 < s->end && p[1] != '\n')
			p++;
		else if (*p == quote) {
			s->at = p + 1;
			return NULL;
		}
	}
	return "this quotation mark is never closed in its line; write another one after the text";
}

static const char *plain_skip(struct scan *s)
{
	unsigned char c = (unsigned char)*s->at;
	if (c == '{' && s->depth++ == 0)
		s->opened = s->line;
	if (c == '}' && s->depth-- == 0)
		return "this } closes nothing; remove it";
	if (c >= 0x7f || (c < ' ' && !isspace(c)))
		return "this is not text; a configuration file holds plain text, other alphabets in quotation marks";
	s->line += c == '\n';
	s->fresh = isspace(c) || strchr("{}=,+()", c) != NULL;
	s->at++;
	return NULL;
}

const char *source_prepare(char *text, size_t n, unsigned *ret_line)
{
	struct scan s = { .at = text, .end = text + n, .line = 1, .fresh = true };
	const char *wrong = NULL;
	while (!wrong && s.at < s.end) {
		bool comment = false;
		if (s.fresh)
			wrong = comment_skip(&s, &comment);
		if (wrong || comment)
			continue;
		if (*s.at == '"' || *s.at == '\'')
			wrong = string_skip(&s);
		else
			wrong = plain_skip(&s);
	}
	*ret_line = s.line;
	if (!wrong && s.depth > 0) {
		*ret_line = s.opened;
		wrong = "this section is never closed; write } after its last line";
	}
	return wrong;
}
