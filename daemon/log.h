/* SPDX-License-Identifier: MIT */
/* What the broker says to people: one line an event, a whole sentence that names the
 * thing. To stderr while there is one, to /dev/log afterwards; never waits for a reader
 * and never allocates. */
#pragma once

#include <stdbool.h>

/* The levels of syslog(3). */
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6 };

/* Where lines go from now on. LOG_TO_STDERR: "solventd: line", or "<N>line" when stderr is
 * the journal's (JOURNAL_STREAM, systemd.exec(5)). LOG_TO_SYSLOG: datagrams to /dev/log. */
enum log_target { LOG_TO_STDERR, LOG_TO_SYSLOG };
void log_open(enum log_target target);

/* One line, without its newline; longer than 1 KiB is cut. At most LOG_BURST lines in
 * LOG_INTERVAL_S seconds are written; what was left out is counted in the next line. */
#define LOG_BURST 100
#define LOG_INTERVAL_S 10
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What somebody found who has sentences of his own (config_doubt), as a warning. */
void log_doubt(void *context, const char *sentence);

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
