/* SPDX-License-Identifier: MIT */
/* The account's ledger, which is mapped in every member. */
#pragma once

#include "include/ledger.h"
#include "tests/probes/probe.h"

static inline const struct ledger *ledger_find(void)
{
	char line[512];
	const struct ledger *found = NULL;
	FILE *maps = fopen("/proc/self/maps", "re");
	while (maps && fgets(line, sizeof line, maps)) {
		unsigned long start, end;
		if (sscanf(line, "%lx-%lx rw-s", &start, &end) == 2 && strstr(line, "memfd:solvent-ledger") &&
		    end - start >= LEDGER_BYTES && *(const uint64_t *)start == LEDGER_MAGIC)
			found = (const struct ledger *)start;
	}
	check(found, "no ledger is mapped here");
	fclose(maps);
	return found;
}
