/* SPDX-License-Identifier: MIT */
/* The documents of --json: {"v":1, ...}; quantities are integers in bytes, times RFC 3339
 * in UTC. Values made here are new references, given away to the array or object that
 * takes them (json_object_set_new and friends). */
#pragma once

#include <jansson.h>

#include "include/ledger.h"

/* A quantity in pages as bytes; a limit is null for infinity; a counter is cut to what
 * a JSON reader can hold exactly in 64 signed bits. */
json_t *json_pages(uint64_t pages);
json_t *json_limit(uint32_t pages);
json_t *json_count(uint64_t n);

/* Text from a ledger, made clean (text_clean). */
json_t *json_clean(const char *from, size_t n);

/* The same for the name of an account, as it is where that can be said: it may be asked for. */
json_t *json_name(const char *from, size_t n);

/* CLOCK_REALTIME; null for 0. */
json_t *json_time(uint64_t ns);

/* {"image": bytes, ...}, one key a category. */
json_t *json_categories(const uint32_t pages[CATEGORY_N]);

/* Prints the document and a newline to stdout and releases it. `flags` are jansson's:
 * JSON_COMPACT for a line of a stream, JSON_INDENT(2) for a document. Errors stay in
 * stdout's error flag, for cli_finish. Without memory none of these returns: half a document
 * would be taken for the truth. */
void json_print(json_t *document, size_t flags);
