/* SPDX-License-Identifier: MIT */
/* What the shim takes for a mapping (shim/maps.c), beside what scanf(3) does, however the
 * file is cut into pieces. */
#include "tests/fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "shim/maps.h"

#define PACKETS 12 /* a pipe has room for 16 */
#define LINES 4096

/* A descriptor from which each read(2) gets one piece. */
static int pieces_of(const uint8_t *text, size_t n, size_t piece)
{
	int line[2];
	must(pipe2(line, O_CLOEXEC | O_DIRECT | O_NONBLOCK) == 0);
	for (size_t i = 0; i < PACKETS && n > 0; i++) {
		size_t some = n < piece ? n : piece;
		must(write(line[1], text, some) == (ssize_t)some);
		text += some;
		n -= some;
	}
	close(line[1]);
	return line[0];
}

static size_t all_of(int fd, struct maps_entry *ret)
{
	size_t n = 0;
	struct maps m = { .fd = fd };
	while (n < LINES && maps_next(&m, &ret[n]))
		n++;
	close(fd);
	return n;
}

static void entry_check(const struct maps_entry *e)
{
	must(e->start < e->end && e->kind <= MAPS_STACK);
}

/* A line as the kernel writes it is understood. */
static void line_check(struct feed *f)
{
	static const char *const names[] = { "", "[stack]", "[heap]", "/a [stack]", "/x/[heap]", "[stack]x" };
	uint64_t start = feed_number(f, 6), end = start + 1 + feed_number(f, 4);
	uint8_t mode = feed_byte(f), name = feed_byte(f) % 6;
	char text[256];
	struct maps_entry e[2];
	int n = snprintf(text, sizeof text, "%08lx-%08lx %c%c%c%c %08x %02x:%02x %-26u%s\n", start, end,
			 mode & 1 ? 'r' : '-', mode & 2 ? 'w' : '-', mode & 4 ? 'x' : '-', mode & 8 ? 'p' : 's',
			 feed_byte(f), feed_byte(f), feed_byte(f), (unsigned)feed_number(f, 4), names[name]);
	must(all_of(pieces_of((uint8_t *)text, (size_t)n, 1 + (size_t)n / 7), e) == 1);
	must(e->start == start && e->end == end && e->writable == !!(mode & 2) && e->private == !!(mode & 8));
	must(e->kind == (name == 1 ? MAPS_STACK : name == 2 ? MAPS_HEAP : MAPS_OTHER));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
	static struct maps_entry whole[LINES], cut[LINES];
	struct feed f = feed_of(input, n);
	line_check(&f);
	size_t rest = (size_t)(f.end - f.at), piece = rest / PACKETS + 1 + feed_byte(&f);
	rest = (size_t)(f.end - f.at);
	if (rest > 4096)
		return 0;
	size_t a = all_of(pieces_of(f.at, rest, 4096), whole), c = all_of(pieces_of(f.at, rest, piece), cut);
	must(a == c && memcmp(whole, cut, a * sizeof *whole) == 0);
	for (size_t i = 0; i < a; i++)
		entry_check(&whole[i]);
	return 0;
}
