/* SPDX-License-Identifier: MIT */
/* A refusal, told: as a sentence, as its frames, as JSON. The record comes from a ledger;
 * nothing in it is trusted. */
#pragma once

#include <jansson.h>

#include "cli/text.h"

/* "sort[6888] refused malloc 256.0 MiB   budget 16.0 MiB, held 5.2 MiB", or "would have
 * refused" where it was only observed; other reasons than the limit are named. */
struct text record_sentence(const struct refusal *r);

/* One line a return address to stdout, innermost first, with function and source line
 * where the module is found here, else module and offset. */
void record_print_frames(const struct refusal *r);

/* The line of `solvent log --json`. `symbols`: functions and lines in the frames, too. */
json_t *record_json(const struct refusal *r, const char *account, uint64_t number, bool symbols);
