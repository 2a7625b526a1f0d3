/* SPDX-License-Identifier: MIT */
/* Names for return addresses: a module known by its build id and an offset in it become
 * a function and a line, when the very same build lies on this machine. */
#pragma once

#include "include/ledger.h"

struct symbol {
	char function[256]; /* empty: no symbol covers the address */
	uint64_t into;      /* bytes from its start */
	char source[256];   /* empty: no line information */
	int line;
};

/* The symbol at `offset` (a return address less the load bias) of `module`, looked for
 * under its name, among what process `pid` has mapped, and in the debug trees. False when
 * no file with that build id is found. Keeps what it opened until symbols_close. */
bool symbols_find(const struct refusal_module *module, int32_t pid, uint64_t offset, struct symbol *ret);

void symbols_close(void);
