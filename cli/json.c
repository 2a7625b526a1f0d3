/* SPDX-License-Identifier: MIT */
/* The conventions of --json, once for all verbs. */
#include "cli/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/text.h"

static void *allocate(size_t bytes)
{
	void *p = malloc(bytes);
	if (!p)
		cli_no_memory();
	return p;
}

__attribute__((constructor)) static void json_begin(void)
{
	json_set_alloc_funcs(allocate, free);
}

json_t *json_count(uint64_t n)
{
	return json_integer((json_int_t)min_u64(n, INT64_MAX));
}

json_t *json_pages(uint64_t pages)
{
	return json_count(bytes_of(min_u64(pages, UINT64_MAX >> PAGE_SHIFT)));
}

json_t *json_limit(uint32_t pages)
{
	return pages == PAGES_MAX ? json_null() : json_pages(pages);
}

json_t *json_clean(const char *from, size_t n)
{
	return json_string(text_clean(from, n).s);
}

json_t *json_name(const char *from, size_t n)
{
	json_t *name = json_stringn(from, strnlen(from, n)); /* NULL: it is no UTF-8 */
	return name ? name : json_clean(from, n);
}

json_t *json_time(uint64_t ns)
{
	return ns ? json_string(text_time(ns).s) : json_null();
}

json_t *json_categories(const uint32_t pages[CATEGORY_N])
{
	json_t *object = json_object();
	for (enum category c = 0; c < CATEGORY_N; c++)
		json_object_set_new(object, category_name(c), json_pages(pages[c]));
	return object;
}

void json_print(json_t *document, size_t flags)
{
	json_dumpf(document, stdout, flags);
	putchar('\n');
	json_decref(document);
}
