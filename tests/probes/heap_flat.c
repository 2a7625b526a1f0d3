/* SPDX-License-Identifier: MIT */
/* Description: 40,000 refusals leave no trace in the address space: neither addresses nor
 * mappings grow with them, whatever the size that was refused.
 * Budget: 64M */
#include "tests/probes/probe.h"

/* Addresses of this process. */
static long address_kb(void)
{
	char text[256];
	int fd = open("/proc/self/statm", O_RDONLY);
	long n = read(fd, text, sizeof text - 1);
	check(n > 0);
	close(fd);
	text[n] = '\0';
	return atol(text) * 4;
}

/* Ever larger, in every size class up to sixteen times the budget. */
static void refused_round(long n)
{
	for (long i = 0; i < n; i++) {
		size_t bytes = ((size_t)40 << 20) + (size_t)(i % 1000) * ((size_t)1 << 20);
		check(malloc(bytes) == NULL, "%zu", bytes);
	}
}

int main(void)
{
	char *most = malloc((size_t)36 << 20);
	check(most);
	refused_round(1000);
	long before = mappings(), kb_before = address_kb();
	refused_round(40000);
	long after = mappings(), kb_after = address_kb();
	check(after <= before + 2, "%ld mappings more", after - before);
	check(kb_after <= kb_before, "%ld KiB of addresses more", kb_after - kb_before);
	check(kb_before < 1 << 20, "%ld KiB of addresses", kb_before);
	check(figures().refusals == 41000, "%lu counted", (unsigned long)figures().refusals);
	free(most);
	check((most = malloc((size_t)36 << 20)) != NULL);
	return 0;
}
