/* SPDX-License-Identifier: MIT */
/* What a step of the ladder wants done and said: the broker does and logs it, a dry run only
 * logs it, a replay prints both. */
#pragma once

#include "include/base.h"

enum deed_kind {
	DEED_WARN,    /* tell the members of a watch's accounts that memory is getting short */
	DEED_NOTIFY,  /* tell one candidate */
	DEED_RECLAIM, /* have one candidate's memory given back or paged out */
	DEED_FREEZE,
	DEED_THAW,
	DEED_SIGNAL, /* ask it to end, awake */
	DEED_KILL,
	DEED_RELEASE, /* take its memory, if it does not end by itself */
	DEED_KIND_N
};

extern const char *const deed_name[DEED_KIND_N];

struct deed {
	uint8_t kind;	/* enum deed_kind */
	uint8_t signal; /* of DEED_SIGNAL; of DEED_WARN its enum pressure */
	uint8_t watch;
	uint32_t candidate; /* but for DEED_WARN */
};

#define SCRIPT_DEEDS 1024u /* who finds no room here is met at the next step */
#define SCRIPT_LINES 32u
#define SCRIPT_LINE_BYTES 400

struct script {
	uint32_t deeds, lines;
	struct deed deed[SCRIPT_DEEDS];
	char line[SCRIPT_LINES][SCRIPT_LINE_BYTES];
};

void script_clear(struct script *s);

/* False: there is no room for it now. */
bool script_do(struct script *s, struct deed deed);

/* One sentence. More than there is room for are left out. */
void script_say(struct script *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
