/* SPDX-License-Identifier: MIT */
/* Shared libraries made while the probe runs, by the C compiler that built it. */
#pragma once

#include <sys/stat.h>

#include "tests/probes/probe.h"

/* Compiles `source` to `dir`/`name` with `options`. The compiler is not under the probe's
 * budget: system(3) starts it without LD_PRELOAD. */
static inline void library_make(const char *dir, const char *name, const char *options, const char *source)
{
	char command[1024];
	char *preload = strdup(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "");
	unsetenv("LD_PRELOAD");
	if (system("cc --version >/dev/null 2>&1") != 0)
		skip("there is no C compiler to make a library with");
	snprintf(command, sizeof command, "cc -shared -fPIC -o %s/%s -x c - -x none %s", dir, name, options);
	FILE *compiler = popen(command, "w");
	check(compiler != NULL && fputs(source, compiler) >= 0 && pclose(compiler) == 0, "%s", command);
	setenv("LD_PRELOAD", preload, 1);
	free(preload);
}

static inline void directory_remove(const char *dir)
{
	char command[256];
	snprintf(command, sizeof command, "rm -r %s", dir);
	check(system(command) == 0);
}
