/* SPDX-License-Identifier: MIT */
#include "reserve/size.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

TestSuite(size, .timeout = 20);

#define KIB (1ull << 10)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define TIB (1ull << 40)
#define UNTOUCHED 0xdeadull

Test(size, reads_what_people_write)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} rows[] = {
		{ "0", 0 },
		{ "1", 1 },
		{ "1024", KIB },
		{ "1024B", KIB },
		{ "16b", 16 },
		{ "4K", 4 * KIB },
		{ "4k", 4 * KIB },
		{ "512M", 512 * MIB },
		{ "512m", 512 * MIB },
		{ "8G", 8 * GIB },
		{ "2T", 2 * TIB },
		{ "2t", 2 * TIB },
		{ "3P", 3 * KIB * TIB },
		{ "16MiB", 16 * MIB },
		{ "16mib", 16 * MIB },
		{ "16MIB", 16 * MIB },
		{ "16MB", 16 * MIB },
		{ "16Kb", 16 * KIB },
		{ "1.5G", GIB + GIB / 2 },
		{ "1.5GiB", GIB + GIB / 2 },
		{ "0.5k", 512 },
		{ "0.25T", 256 * GIB },
		{ "1.1K", 1126 },                 /* 1126.4 */
		{ "0.0001K", 0 },                 /* 0.1024 */
		{ "1.0000000000000000001M", MIB },
		{ "000000000000000000000000007K", 7 * KIB },
		{ "9223372036854775807", INT64_MAX },
		{ "8191P", 8191 * KIB * TIB },
		{ "infinity", SIZE_INFINITY },
		{ "20%", 200 },
		{ "12.5%", 125 },
		{ "0%", 0 },
		{ "100%", 1000 },
		{ "100.0%", 1000 },
		{ "33.3333%", 333 },
		{ "99.99%", 999 },
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		uint64_t bytes = UNTOUCHED;
		cr_assert_eq(size_parse(rows[i].text, 1000, &bytes), 0, "\"%s\"", rows[i].text);
		cr_assert_eq(bytes, rows[i].bytes, "\"%s\": %lu, not %lu", rows[i].text, bytes, rows[i].bytes);
	}
}

Test(size, refuses_what_is_not_a_size)
{
	static const char *const rows[] = {
		"", " ", "-1", "+1", "-1M", "16X", "1e99", "1E3", "0x10", "1,5G", "1_000", "M", "B", "%", ".", ".5G",
		"5.G", "1.G", "1..5G", "1.5.5G", "1.5", "1.5B", "0.5", "16iB", "16i", "16MM", "16Mi", "16MiBs", "16MBB",
		"16BM", "16KM", " 16M", "16M ", "16 M", "16M\n", "16\tM", "101%", "100.1%", "100.000000001%",
		"1000000000000000000000000%", "20%%", "20%M", "20M%", "-20%", "infinite", "infinit", "infinityx",
		"Infinity", "inf", "nan", "infinity%", "max", "unlimited", "99999999999999999999999999X", "\xff", "1\xff",
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		uint64_t bytes = UNTOUCHED;
		cr_assert_eq(size_parse(rows[i], 1000, &bytes), -EINVAL, "\"%s\"", rows[i]);
		cr_assert_eq(bytes, UNTOUCHED, "\"%s\" wrote its result", rows[i]);
	}
}

Test(size, refuses_what_is_out_of_range)
{
	static const char *const rows[] = {
		"9223372036854775808", "18446744073709551615", "18446744073709551616", "8192P", "8192.0P",
		"99999999999999999999999999999999999999999999999999", "99999999999999999999999999999999999G",
	};
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		uint64_t bytes = UNTOUCHED;
		cr_assert_eq(size_parse(rows[i], 1000, &bytes), -ERANGE, "\"%s\"", rows[i]);
		cr_assert_eq(bytes, UNTOUCHED, "\"%s\" wrote its result", rows[i]);
	}
}

Test(size, takes_a_percentage_only_of_something)
{
	uint64_t bytes = UNTOUCHED;
	cr_assert_eq(size_parse("20%", 0, &bytes), -EINVAL);
	cr_assert_eq(bytes, UNTOUCHED);
	cr_assert_eq(size_parse("20M", 0, &bytes), 0);
	cr_assert_eq(size_parse("100%", UINT64_MAX, &bytes), 0);
	cr_assert_eq(bytes, UINT64_MAX, "no overflow on the way");
	cr_assert_eq(size_parse("50%", UINT64_MAX, &bytes), 0);
	cr_assert_eq(bytes, UINT64_MAX / 2);
	cr_assert_eq(size_parse("50%", 1, &bytes), 0);
	cr_assert_eq(bytes, 0, "rounded down");
}

/* Every text of up to four of these letters: nothing is read past the end, what is accepted
 * is no larger than allowed, and what is refused is left alone. */
Test(size, reads_any_short_text)
{
	static const char letters[] = { '\0', '0', '1', '9', '.', 'k', 'T', 'i', 'B', '%', '-', ' ', 'e', 'n' };
	size_t n = ARRAY_N(letters), accepted = 0;
	for (size_t i = 0; i < n * n * n * n; i++) {
		char *text = strndup((char[]){ letters[i % n], letters[i / n % n], letters[i / n / n % n],
					       letters[i / n / n / n], '\0' }, 4);
		uint64_t bytes = UNTOUCHED;
		int r = size_parse(text, 1000, &bytes);
		cr_assert(r == 0 ? bytes <= SIZE_MAX_BYTES : r == -EINVAL && bytes == UNTOUCHED, "\"%s\": %d, %lu", text,
			  r, bytes);
		accepted += r == 0;
		free(text);
	}
	cr_assert(accepted > 500, "only %zu", accepted);
}

Test(size, writes_what_people_read)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" },
		{ 1, "1 B" },
		{ 1023, "1023 B" },
		{ KIB, "1 KiB" },
		{ KIB + 511, "1 KiB" },
		{ KIB + 512, "2 KiB" },
		{ 22 * KIB, "22 KiB" },
		{ 1023 * KIB, "1023 KiB" },
		{ MIB - 513, "1023 KiB" },
		{ MIB - 512, "1.0 MiB" },
		{ MIB, "1.0 MiB" },
		{ 16 * MIB, "16.0 MiB" },
		{ 16 * MIB + MIB / 20, "16.0 MiB" },
		{ 16 * MIB + MIB / 20 + 1, "16.1 MiB" },
		{ GIB - MIB / 10, "1023.9 MiB" },
		{ GIB - MIB / 20, "1.0 GiB" },
		{ GIB - 1, "1.0 GiB" },
		{ GIB + GIB / 2, "1.5 GiB" },
		{ 24 * GIB, "24.0 GiB" },
		{ 14 * TIB + 717 * GIB, "14.7 TiB" },
		{ KIB * TIB, "1.0 PiB" },
		{ INT64_MAX, "8.0 EiB" },
		{ UINT64_MAX - 1, "16.0 EiB" },
		{ SIZE_INFINITY, "infinity" },
	};
	char buffer[SIZE_FORMAT_BYTES];
	for (size_t i = 0; i < ARRAY_N(rows); i++) {
		cr_assert_eq(size_format(buffer, sizeof(buffer), rows[i].bytes), buffer);
		cr_assert_str_eq(buffer, rows[i].text, "%lu bytes: \"%s\", not \"%s\"", rows[i].bytes, buffer,
				 rows[i].text);
	}
}

Test(size, cuts_what_does_not_fit)
{
	const char *whole = "1023.9 MiB";
	for (size_t n = 0; n < SIZE_FORMAT_BYTES; n++) {
		char buffer[SIZE_FORMAT_BYTES + 1];
		memset(buffer, '#', sizeof(buffer));
		size_format(buffer, n, GIB - MIB / 10);
		if (n) {
			size_t length = n - 1 < strlen(whole) ? n - 1 : strlen(whole);
			cr_assert_eq(strlen(buffer), length, "%zu bytes of room", n);
			cr_assert_eq(strncmp(buffer, whole, length), 0, "%zu bytes of room", n);
		}
		cr_assert_eq(buffer[n], '#', "%zu bytes of room: one too many written", n);
	}
}
