/* SPDX-License-Identifier: MIT */
/* Why not strtod and snprintf: they ask the locale what a decimal point is, they read signs,
 * spaces, hexadecimal and exponents that nobody means in a configuration, and a refusal is
 * formatted where only async-signal-safe code may run. */
#include "reserve/size.h"

#include <errno.h>

#define NANO 1000000000ull /* fractions are read to nine digits and rounded down there */

/* whole.nano, as written. */
struct decimal {
	uint64_t whole; /* UINT64_MAX when it is more than a size can be */
	uint64_t nano;
	bool has_fraction;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Digits, or digits.digits. Returns what follows, or NULL when there is no number. */
static const char *decimal_read(const char *at, struct decimal *ret)
{
	struct decimal d = { 0 };
	if (!is_digit(*at))
		return NULL;
	for (; is_digit(*at); at++)
		d.whole = d.whole > SIZE_MAX_BYTES / 10 ? UINT64_MAX : d.whole * 10 + (uint64_t)(*at - '0');
	if (*at == '.') {
		if (!is_digit(*++at))
			return NULL;
		d.has_fraction = true;
		for (uint64_t place = NANO / 10; is_digit(*at); at++, place /= 10)
			d.nano += place * (uint64_t)(*at - '0');
	}
	*ret = d;
	return at;
}

/* K, KB or KiB and so on; B or nothing for bytes. Returns its power of two, or -1. */
static int unit_read(const char *at)
{
	static const char letters[] = "kmgtp";
	int shift = 0;
	for (int i = 0; letters[i] && !shift; i++)
		if (lower(*at) == letters[i])
			shift = 10 * (i + 1);
	if (shift)
		at++;
	if (shift && lower(at[0]) == 'i' && lower(at[1]) == 'b')
		at++;
	if (lower(*at) == 'b')
		at++;
	return *at ? -1 : shift;
}

static bool text_is(const char *text, const char *word)
{
	while (*word && *text == *word)
		text++, word++;
	return *text == *word;
}

static int percent_of(struct decimal d, uint64_t whole_bytes, uint64_t *ret_bytes)
{
	if (whole_bytes == 0 || d.whole > 100 || (d.whole == 100 && d.nano))
		return -EINVAL;
	unsigned __int128 nanos = (unsigned __int128)d.whole * NANO + d.nano;
	*ret_bytes = (uint64_t)(nanos * whole_bytes / (100 * NANO));
	return 0;
}

int size_parse(const char *text, uint64_t whole_bytes, uint64_t *ret_bytes)
{
	if (text_is(text, "infinity")) {
		*ret_bytes = SIZE_INFINITY;
		return 0;
	}
	struct decimal d;
	const char *rest = decimal_read(text, &d);
	if (!rest)
		return -EINVAL;
	if (text_is(rest, "%"))
		return percent_of(d, whole_bytes, ret_bytes);
	int shift = unit_read(rest);
	if (shift < 0 || (shift == 0 && d.has_fraction))
		return -EINVAL;
	unsigned __int128 bytes = (unsigned __int128)d.whole << shift, nanos = (unsigned __int128)d.nano << shift;
	bytes += nanos / NANO;
	if (bytes > SIZE_MAX_BYTES)
		return -ERANGE;
	*ret_bytes = (uint64_t)bytes;
	return 0;
}

/* Room that is filled from the front. */
struct line {
	char *at, *end; /* end: the place of the last NUL */
};

static void line_put(struct line *l, const char *text)
{
	while (*text && l->at < l->end)
		*l->at++ = *text++;
}

static void line_put_number(struct line *l, uint64_t number)
{
	char digits[21], *at = &digits[20];
	*at = '\0';
	do {
		*--at = (char)('0' + number % 10);
	} while (number /= 10);
	line_put(l, at);
}

char *size_format(char *buffer, size_t n, uint64_t bytes)
{
	/* Tenths from a mebibyte on, whole numbers below, where nobody wants more. */
	static const struct {
		const char *name;
		int shift;
		uint64_t parts;
	} units[] = { { " B", 0, 1 },     { " KiB", 10, 1 },  { " MiB", 20, 10 }, { " GiB", 30, 10 },
		      { " TiB", 40, 10 }, { " PiB", 50, 10 }, { " EiB", 60, 10 } };
	if (n == 0)
		return buffer;
	struct line line = { buffer, buffer + n - 1 };
	size_t u = 0;
	unsigned __int128 parts = bytes;
	/* The unit is chosen after rounding, so that 1023.99 MiB is 1.0 GiB; 2^64 is 16 EiB. */
	while (parts >= 1024 * units[u].parts) {
		u++;
		parts = (((unsigned __int128)bytes * units[u].parts << 1 >> units[u].shift) + 1) >> 1;
	}
	if (bytes == SIZE_INFINITY) {
		line_put(&line, "infinity");
	} else {
		line_put_number(&line, (uint64_t)(parts / units[u].parts));
		if (units[u].parts > 1) {
			line_put(&line, ".");
			line_put_number(&line, (uint64_t)(parts % units[u].parts));
		}
		line_put(&line, units[u].name);
	}
	*line.at = '\0';
	return buffer;
}
