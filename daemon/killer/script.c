/* SPDX-License-Identifier: MIT */
#include "daemon/killer/script.h"

#include <stdarg.h>
#include <stdio.h>

const char *const deed_name[DEED_KIND_N] = { "warn", "notify", "reclaim", "freeze", "thaw", "signal", "kill",
					       "release" };

void script_clear(struct script *s)
{
	s->deeds = s->lines = 0;
}

bool script_do(struct script *s, struct deed deed)
{
	if (s->deeds == SCRIPT_DEEDS)
		return false;
	s->deed[s->deeds++] = deed;
	return true;
}

void script_say(struct script *s, const char *format, ...)
{
	va_list arguments;
	if (s->lines == SCRIPT_LINES)
		return;
	va_start(arguments, format);
	vsnprintf(s->line[s->lines++], SCRIPT_LINE_BYTES, format, arguments);
	va_end(arguments);
}
