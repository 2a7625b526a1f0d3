/* SPDX-License-Identifier: MIT */
/* One refusal in three forms, so that `log`, `log --json` and the summary of a run agree. */
#include "cli/record.h"

#include <stdio.h>
#include <string.h>

#include "cli/json.h"
#include "cli/symbols.h"

/* Why, when it is not that the account's budget is used up. */
static const char *reason_remark(uint32_t reason)
{
	switch (reason) {
	case REASON_NONE:
	case REASON_LIMIT:
		return "";
	case REASON_POOL:
		return "; the pool has no more";
	case REASON_BROKER:
		return "; the grant is used up and no broker answered";
	case REASON_SLOTS:
		return "; the account's ledger is full of members";
	case REASON_OBJECTS:
		return "; the account's ledger is full of shared objects";
	case REASON_TABLE:
		return "; the process's own tables could not grow";
	case REASON_POLICY:
		return "; MAP_GROWSDOWN cannot be charged in advance";
	default:
		return "; for an unknown reason";
	}
}

struct text record_sentence(const struct refusal *r)
{
	struct text line;
	snprintf(line.s, sizeof line.s, "%.15s[%d] %s %s %.20s   budget %.20s, held %.20s%s",
		 text_clean(r->comm, sizeof r->comm).s, r->pid, r->observed ? "would have refused" : "refused",
		 op_name(r->op), text_bytes(r->bytes).s, text_limit(r->limit).s, text_pages(r->used).s,
		 reason_remark(r->reason));
	return line;
}

static uint32_t frame_count(const struct refusal *r)
{
	return r->frames < REFUSAL_FRAMES ? r->frames : REFUSAL_FRAMES;
}

/* NULL: the address lies in no module that was recorded. */
static const struct refusal_module *frame_module(const struct refusal *r, uint32_t frame)
{
	return r->module[frame] < REFUSAL_MODULES ? &r->modules[r->module[frame]] : NULL;
}

void record_print_frames(const struct refusal *r)
{
	for (uint32_t i = 0; i < frame_count(r); i++) {
		const struct refusal_module *module = frame_module(r, i);
		unsigned long long offset = r->offset[i];
		struct symbol symbol;
		if (!module) {
			printf("    #%-2u 0x%llx\n", i, offset);
			continue;
		}
		struct text name = text_clean(module->name, sizeof module->name);
		if (!symbols_find(module, r->pid, r->offset[i], &symbol) || !symbol.function[0])
			printf("    #%-2u %s+0x%llx\n", i, name.s, offset);
		else if (!symbol.source[0])
			printf("    #%-2u %s+0x%llx  (%s)\n", i, symbol.function, (unsigned long long)symbol.into,
			       name.s);
		else
			printf("    #%-2u %s  %s:%d  (%s)\n", i, symbol.function, symbol.source, symbol.line, name.s);
	}
}

static json_t *build_id_json(const uint8_t id[BUILD_ID_BYTES])
{
	static const uint8_t NONE[BUILD_ID_BYTES];
	char hex[2 * BUILD_ID_BYTES + 1];
	if (memcmp(id, NONE, sizeof NONE) == 0)
		return json_null();
	for (size_t i = 0; i < BUILD_ID_BYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	return json_string(hex);
}

static void symbol_json(json_t *o, const struct symbol *symbol)
{
	json_object_set_new(o, "function", symbol->function[0] ? json_string(symbol->function) : json_null());
	json_object_set_new(o, "source", symbol->source[0] ? json_string(symbol->source) : json_null());
	json_object_set_new(o, "line", symbol->source[0] ? json_integer(symbol->line) : json_null());
}

static json_t *frame_json(const struct refusal *r, uint32_t frame, bool symbols)
{
	const struct refusal_module *module = frame_module(r, frame);
	json_t *o = json_object();
	json_object_set_new(o, "module", module ? json_clean(module->name, sizeof module->name) : json_null());
	json_object_set_new(o, "build_id", module ? build_id_json(module->build_id) : json_null());
	json_object_set_new(o, "offset", json_count(r->offset[frame]));
	struct symbol symbol;
	if (symbols && module && symbols_find(module, r->pid, r->offset[frame], &symbol))
		symbol_json(o, &symbol);
	return o;
}

json_t *record_json(const struct refusal *r, const char *account, uint64_t number, bool symbols)
{
	json_t *frames = json_array(), *o = json_object();
	for (uint32_t i = 0; i < frame_count(r); i++)
		json_array_append_new(frames, frame_json(r, i, symbols));
	json_object_set_new(o, "v", json_integer(1));
	json_object_set_new(o, "time", json_time(r->time_ns));
	json_object_set_new(o, "account", json_name(account, ACCOUNT_NAME_BYTES));
	json_object_set_new(o, "number", json_count(number));
	json_object_set_new(o, "pid", json_integer(r->pid));
	json_object_set_new(o, "tid", json_integer(r->tid));
	json_object_set_new(o, "comm", json_clean(r->comm, sizeof r->comm));
	json_object_set_new(o, "op", json_string(op_name(r->op)));
	json_object_set_new(o, "reason", json_string(reason_name(r->reason)));
	json_object_set_new(o, "outcome", json_string(r->observed ? "observed" : "refused"));
	json_object_set_new(o, "bytes", json_count(r->bytes));
	json_object_set_new(o, "limit_bytes", json_limit(r->limit));
	json_object_set_new(o, "used_bytes", json_pages(r->used));
	json_object_set_new(o, "member_used_bytes", json_pages(r->member_used));
	json_object_set_new(o, "frames", frames);
	return o;
}
