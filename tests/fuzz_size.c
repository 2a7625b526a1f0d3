/* SPDX-License-Identifier: MIT */
/* Sizes from a person: whatever is typed, an answer within the documented range, and what
 * was understood, written and read again, is the same to the last unit shown. */
#include "tests/fuzz.h"

#include <errno.h>

#include "daemon/value.h"
#include "reserve/size.h"

static void parse_check(const char *text, uint64_t whole)
{
	uint64_t bytes = 4711;
	int error = size_parse(text, whole, &bytes);
	must(error == 0 || error == -EINVAL || error == -ERANGE);
	must(error == 0 || bytes == 4711);
	must(error != 0 || bytes == SIZE_INFINITY || bytes <= SIZE_MAX_BYTES);
	must(error != 0 || !strchr(text, '%') || bytes <= whole);
}

static void format_check(uint64_t bytes, size_t room)
{
	char text[SIZE_FORMAT_BYTES], cut[SIZE_FORMAT_BYTES];
	memset(cut, 'x', sizeof cut);
	must(size_format(text, sizeof text, bytes) == text && memchr(text, '\0', sizeof text));
	must(strlen(text) < sizeof text - 1);
	size_format(cut, room, bytes);
	must(room == 0 || (strlen(cut) < room && strncmp(cut, text, strlen(cut)) == 0));
	must(room == sizeof cut || cut[room] == 'x');
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	struct feed f = feed_of(input, n);
	uint64_t bytes = feed_number(&f, 8), whole = feed_number(&f, 8) & SIZE_MAX_BYTES;
	char text[64] = "";
	uint32_t percent;
	format_check(bytes, feed_byte(&f) % (SIZE_FORMAT_BYTES + 1));
	feed_bytes(&f, text, sizeof text - 1);
	parse_check(text, whole);
	must(value_percent(text, &percent) != 0 || (percent >= 1 && percent <= 100));
	must(value_pages(text, whole) <= PAGES_MAX);
	return 0;
}
