/* SPDX-License-Identifier: MIT */
/* Description: 40,000 refusals leave no trace in the address space: neither addresses nor
 * mappings grow with them, whatever the size that was refused.
 * Budget: 64M */
#include "tests/probes/probe.h"

static long maps_lines(long *ret_kb)
{
	static char buffer[1 << 16];
	long lines = 0, n;
	int fd = open("/proc/self/maps", O_RDONLY);
	while ((n = read(fd, buffer, sizeof buffer)) > 0)
		for (long i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	fd = open("/proc/self/statm", O_RDONLY);
	n = read(fd, buffer, sizeof buffer - 1);
	close(fd);
	buffer[n] = '\0';
	*ret_kb = atol(buffer) * 4;
	return lines;
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
	long kb_before, kb_after;
	char *most = malloc((size_t)36 << 20);
	check(most);
	refused_round(1000);
	long before = maps_lines(&kb_before);
	refused_round(40000);
	long after = maps_lines(&kb_after);
	check(after <= before + 2, "%ld mappings more", after - before);
	check(kb_after <= kb_before, "%ld KiB of addresses more", kb_after - kb_before);
	check(kb_before < 1 << 20, "%ld KiB of addresses", kb_before);
	check(figures().refusals == 41000, "%lu counted", (unsigned long)figures().refusals);
	free(most);
	check((most = malloc((size_t)36 << 20)) != NULL);
	return 0;
}
